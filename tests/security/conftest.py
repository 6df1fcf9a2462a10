"""What all files of the catalogue share: a checkpoint to change, and a watch over commands.

Each module of this folder is one kind of file that somebody else may have written. It lists what
such a file can hold, runs every command that reads it inside `watched`, and asserts that the
command answers with one sentence.
"""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from tests.helpers.small_networks import save_architecture
from w2v2_mt.app.commands import main
from w2v2_mt.core.registry import EVERYTHING, trusting
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.settings.instantiation import instantiate
from w2v2_mt.settings.validation import without_assembly
from w2v2_mt.training.checkpoints import RECORD_KEY

MULTI_TASK = "train_mt_speaker_speech"
_MAX_GROWTH_BYTES = 2**30


def write_zeros(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(6 << 30)


PAYLOADS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "6 GiB": write_zeros,
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\xe9\n"),
    "no text": lambda path: path.write_bytes(bytes(3)),
    "depth": lambda path: path.write_text("[" * 100_000),
    "a long number": lambda path: path.write_text("1" * 5_000),
    "a long cell": lambda path: path.write_text("x" * 200_000 + "\n" + "x" * 200_000 + "\n"),
    "other rows": lambda path: path.write_text("a\tb\tc\n1\n1\t2\t3\t4\n"),
    "objects": lambda path: path.write_text(
        '{"test_wer_a": {"a": 1}, "test_eer_o": [1], "packages": 3, "loss": "x"}'
    ),
    "large numbers": lambda path: path.write_text(
        '{"test_wer_a": 1' + "0" * 400 + ', "val_wer_a": 1e999, "packages": {"a": {"b": 1}}}'
    ),
}
"""What somebody else may have put in the place of a file: each is written to a path."""


class Traps:
    """A folder in which a payload that runs leaves a file, and which must not change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.victim = folder / "thesis.txt"
        self.victim.write_text("precious\n")

    @property
    def command(self) -> str:
        """A command of the shell that leaves a file."""
        return f"touch {self.folder / 'ran'}"

    def check(self) -> None:
        """Assert that nothing ran and nothing was written or removed."""
        assert [path.name for path in self.folder.iterdir()] == [self.victim.name]
        assert self.victim.read_text() == "precious\n"


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    folder = tmp_path / "somewhere_else"
    folder.mkdir()
    return Traps(folder)


@pytest.fixture
def watched(traps: Traps) -> Callable[[], AbstractContextManager[None]]:
    """A context in which memory is limited, and after which the traps are untouched."""

    @contextmanager
    def watch() -> Iterator[None]:
        # An allocation beyond the limit fails instead of ending this process.
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * os.sysconf("SC_PAGE_SIZE") + _MAX_GROWTH_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
            traps.check()

    return watch


@pytest.fixture
def refusal(
    watched: Callable[[], AbstractContextManager[None]], capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run `w2v2-mt` with arguments under watch; return its one sentence on stderr."""

    def run(*arguments: object) -> str:
        capfd.readouterr()
        with watched():
            code = main(list(map(str, arguments)))
        sentence = capfd.readouterr().err
        assert code == 1, sentence
        assert sentence.startswith("Error: "), sentence
        assert len(sentence.splitlines()) == 1, sentence
        return sentence

    return run


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a checkpoint of both tasks, as a run writes it but for its training."""
    import hydra

    from w2v2_mt.settings.environment import PROJECT_FOLDER
    from w2v2_mt.settings.validation import check_settings

    folder = save_architecture(str(tmp_path_factory.mktemp("architecture")), "base")
    overrides = [f"network.wav2vec_huggingface_id={folder}", "network.reset_weights=true"]
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        config = without_assembly(check_settings(hydra.compose(MULTI_TASK, overrides)))
    tokenizer = LetterTokenizer(vocabulary_path=None)
    with trusting(EVERYTHING):
        settings = instantiate(config["network"])
    network = settings.build(num_tokens=tokenizer.num_tokens, num_speakers=5)
    return {
        "state_dict": {f"network.{name}": value for name, value in network.state_dict().items()},
        "global_step": 2,
        "pytorch-lightning_version": "2.6.0",
        RECORD_KEY: {
            "config_name": MULTI_TASK,
            "config": config,
            "metrics": {"val_eer_threshold": 0.5},
            "num_speakers": 5,
            "architecture": network.trunk.architecture,
            "vocabulary": tokenizer.symbols,
        },
    }


@pytest.fixture
def write_checkpoint(content: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Write the checkpoint after a change of its record or of all its content."""

    def write(
        change: Callable[[dict[str, Any]], object] = lambda record: None,
        change_all: Callable[[dict[str, Any]], object] = lambda content: None,
    ) -> Path:
        changed = {**content, RECORD_KEY: deepcopy(content[RECORD_KEY])}
        change(changed[RECORD_KEY])
        change_all(changed)
        path = tmp_path / "theirs.ckpt"
        torch.save(changed, path)
        return path

    return write


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """An audio file for `predict`."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, [0.1, -0.1] * 4_000, 16_000)
    return path


@pytest.fixture
def within_a_minute():
    """A command that waits for a pipe is interrupted, and then shows a traceback."""

    def interrupt(*_: object) -> None:
        raise TimeoutError("the command hangs")

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)
