"""The experiment commands of a README: found in its text and taken apart into jobs."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
README = PROJECT_FOLDER / "README.md"

_FENCED_BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
_CONFIG_NAME = re.compile(r'launch\("(\w+)"\)')
_LAUNCHER = "hydra/launcher="
_LEARNING_RATES = re.compile(r"(?<= optim\.algo\.lr=)([^ ,]+),[^ ]+,([^ ,]+)")


@dataclass(frozen=True)
class Command:
    """One command, written on one line with single spaces."""

    text: str

    def __str__(self) -> str:
        """Its script and its tags, for the name of a test."""
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
        """What is set on the command line, the launcher included."""
        return [word for word in self._words[2:] if word != "-m"]

    @property
    def local_arguments(self) -> list[str]:
        """The arguments without the launcher: on a machine without SLURM."""
        return [word for word in self._words[2:] if not word.startswith(_LAUNCHER)]

    @property
    def config_name(self) -> str:
        """Which file in the folder config the script starts from."""
        found = _CONFIG_NAME.search((PROJECT_FOLDER / self.script).read_text())
        assert found, f"{self.script} launches nothing"
        return found.group(1)

    @property
    def with_outer_rates(self) -> "Command":
        """The same with the first and the last of its learning rates, and all else."""
        return Command(_LEARNING_RATES.sub(r"\1,\2", self.text))

    @property
    def jobs(self) -> list[list[str]]:
        """The overrides of each job, in the order in which Hydra's sweeper starts them."""
        parsed = OverridesParser.create().parse_overrides(self.overrides)
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        return [job for batch in batches for job in batch]

    @property
    def _words(self) -> list[str]:
        return shlex.split(self.text)


def experiment_commands(markdown: str) -> list[Command]:
    """Every `python run_*.py` with an experiment that stands in a fenced block, in order."""
    blocks = _FENCED_BLOCK.findall(markdown)
    lines = [
        " ".join(line.split())
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [
        Command(line) for line in lines if line.startswith("python run_") and "+experiment=" in line
    ]


def readme_commands(script: str | None = None) -> list[Command]:
    """The experiment commands of this project's README, or those of one script."""
    commands = experiment_commands(README.read_text(encoding="utf-8"))
    return [command for command in commands if script in (None, command.script)]
