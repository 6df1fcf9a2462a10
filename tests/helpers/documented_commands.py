"""The commands of the README and the pages under docs/, split into the runs they start."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
README = PROJECT_FOLDER / "README.md"
DOCS_FOLDER = PROJECT_FOLDER / "docs"
PAPER_EXPERIMENTS = DOCS_FOLDER / "paper_experiments.md"

EXTENDING = DOCS_FOLDER / "extending.md"

_FENCED_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
_CONFIG_NAME = re.compile(r'launch\("(\w+)"\)')
_LAUNCHER = "hydra/launcher="
_COMMAND = re.compile(r"((?:[A-Z_]+=\S+ )*)(python run_.*)")
"""Variables for one command, and the command."""
_LEARNING_RATES = re.compile(r"(?<= optim\.algo\.lr=)([^ ,]+),[^ ]+")


@dataclass(frozen=True)
class Command:
    """A command on one line with single spaces, and the variables that are set for it."""

    text: str
    variables: str = ""

    def __str__(self) -> str:
        """Return its script and its tags, as the name of a test."""
        tags = [word for word in self._words if word.startswith("tag=")]
        return " ".join([self.script, *tags])

    @property
    def script(self) -> str:
        return self._words[1]

    @property
    def is_sweep(self) -> bool:
        return "-m" in self._words

    @property
    def overrides(self) -> list[str]:
        """Return the settings of the command line, the launcher included."""
        return [word for word in self._words[2:] if word != "-m"]

    @property
    def local_arguments(self) -> list[str]:
        """Return the arguments without the launcher, for a machine without SLURM."""
        return [word for word in self._words[2:] if not word.startswith(_LAUNCHER)]

    @property
    def config_name(self) -> str:
        """Return the name of the script's file in the folder config."""
        found = _CONFIG_NAME.search((PROJECT_FOLDER / self.script).read_text())
        assert found, f"{self.script} launches nothing"
        return found.group(1)

    @property
    def with_first_rate(self) -> "Command":
        """Return the command with only the first of its learning rates."""
        return Command(_LEARNING_RATES.sub(r"\1", self.text), self.variables)

    @property
    def jobs(self) -> list[list[str]]:
        """Return the overrides of each run, in the order in which Hydra's sweeper starts them."""
        parsed = OverridesParser.create().parse_overrides(self.overrides)
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        return [job for batch in batches for job in batch]

    @property
    def _words(self) -> list[str]:
        return shlex.split(self.text)


def documents() -> list[Path]:
    """Return the README and every page under docs/."""
    return [README, *sorted(DOCS_FOLDER.rglob("*.md"))]


def fenced_blocks(markdown: str, language: str = "") -> list[str]:
    """Return the text of each fenced block, of all languages or of one."""
    return [
        text
        for block_language, text in _FENCED_BLOCK.findall(markdown)
        if language in ("", block_language)
    ]


def experiment_commands(markdown: str) -> list[Command]:
    """Return each `python run_*.py` with an experiment in a fenced block, in order.

    A command with a placeholder such as <folder> cannot be run and is skipped, as is one with a
    folder of settings that an earlier command of its page makes.
    """
    lines = [
        " ".join(line.split())
        for block in fenced_blocks(markdown)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    found = (match for line in lines if (match := _COMMAND.fullmatch(line)))
    return [
        Command(text, variables)
        for variables, text in (match.groups() for match in found)
        if "+experiment=" in text and "<" not in text and "--config-dir" not in text
    ]


def documented_commands(script: str | None = None) -> list[Command]:
    """Return the experiment commands of all documents, each once, or those of one script.

    Commands with variables of their own, such as of the demo's data, are not among those of one.
    """
    commands = dict.fromkeys(
        command
        for document in documents()
        for command in experiment_commands(document.read_text(encoding="utf-8"))
    )
    if script is None:
        return list(commands)
    return [each for each in commands if each.script == script and not each.variables]


def documented_module(page: Path) -> str:
    """Return the first class of a page as a module outside of this project."""
    blocks = fenced_blocks(page.read_text(encoding="utf-8"), "python")
    imports = next(block for block in blocks if "import" in block)
    return imports + re.sub(r"^@\w+\.register.*\n", "\n\n", blocks[0], flags=re.MULTILINE)


def paper_commands() -> list[Command]:
    """Return the commands of the paper's experiments."""
    return experiment_commands(PAPER_EXPERIMENTS.read_text(encoding="utf-8"))
