"""The options of Speech Commands."""

from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Annotated

from typer import Option

from w2v2_mt.prepare.corpus_options import CorpusOptions
from w2v2_mt.prepare.options import Options


@dataclass(frozen=True, kw_only=True)
class SpeechCommandsOptions(Options):
    """The options of Speech Commands; its sets are given, and its tokens are the default ones."""

    archive: Annotated[
        Path | None,
        Option(
            "--archive",
            metavar="FILE",
            help="A .tar.gz or .zip (default: the one in <data_folder>/speech_commands).",
        ),
    ] = None
    num_trials: Annotated[int, "An even number of trials for each of val and test, at most."] = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.corpus_options()  # checks the number of trials

    def corpus_options(self) -> CorpusOptions:
        """Return the options of splits, trials and transcripts."""
        shared = {field.name: getattr(self, field.name) for field in fields(Options)}
        vocabulary = resources.files("w2v2_mt.data") / "vocabulary.json"
        return CorpusOptions(
            **shared,
            tasks="both",
            split_by="speaker",
            num_trials=self.num_trials,
            vocabulary=Path(str(vocabulary)),
        )
