"""The options of a corpus for which splits, trials, vocabulary and settings are made."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from w2v2_mt.core.text_files import read_text
from w2v2_mt.prepare.options import Options
from w2v2_mt.prepare.text_normalisation import (
    Case,
    Punctuation,
    TextNormalisation,
    read_replacements,
)

Task = Literal["speech", "speaker"]
SplitBy = Literal["speaker", "session", "file"]
RESERVED_NAMES = ("librispeech", "vox1", "vox2", "speech_commands", "val")
"""Names of folders of other corpora, and of the trials of validation in metrics."""


@dataclass(frozen=True, kw_only=True)
class CorpusOptions(Options):
    """The options of splits, trials and transcripts."""

    tasks: Annotated[
        Literal["speech", "speaker", "both"] | None,
        "Prepare these, and fail if the labels do not allow them (default: what they allow).",
    ] = None
    split_by: Annotated[
        SplitBy | None,
        "What sets must not share (default: the first for which there are enough recordings).",
    ] = None
    val_fraction: Annotated[float, "Share of recordings for validation, at least."] = 0.1
    test_fraction: Annotated[float, "Share of recordings for the test, at least."] = 0.1
    num_trials: Annotated[int, "An even number of trials for each of val and test, at most."] = 5000
    case: Annotated[Case, "The case of transcripts."] = "upper"
    punctuation: Annotated[Punctuation, "Punctuation and symbols in transcripts."] = "remove"
    kept_characters: Annotated[str, 'Characters that are not punctuation, such as "-".'] = ""
    replacements: Annotated[
        Path | None, "A file whose lines are a text, a tab, and what replaces it in transcripts."
    ] = None
    vocabulary: Annotated[
        Path | None, "Use this vocabulary of characters, and reject texts with other ones."
    ] = None
    bpe: Annotated[int | None, "Learn a vocabulary of N subwords."] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(
                    f"--{name} is {getattr(self, name)}; it must be above 0 and below 0.5."
                )
        if self.num_trials < 2 or self.num_trials % 2:
            raise ValueError(
                f"--num_trials is {self.num_trials}; it must be an even number of at least 2, "
                "since half of the trials are of each kind."
            )
        if self.bpe is not None and self.vocabulary is not None:
            raise ValueError(
                "--bpe makes a vocabulary and --vocabulary names one; leave out one of them."
            )

    @property
    def wanted_tasks(self) -> list[Task]:
        """Return the tasks that may be prepared."""
        if self.tasks is None or self.tasks == "both":
            return ["speech", "speaker"]
        return [self.tasks]

    def normalisation(self) -> TextNormalisation:
        """Return the rules of transcripts; raise ValueError if they are wrong."""
        return TextNormalisation(
            case=self.case,
            punctuation=self.punctuation,
            kept_characters=self.kept_characters,
            replacements={} if self.replacements is None else read_replacements(self.replacements),
        )

    def corpus_metadata(self) -> dict[str, object]:
        """Return what decides splits, trials and transcripts."""
        names = ("tasks", "split_by", "val_fraction", "test_fraction", "num_trials", "bpe")
        vocabulary = None if self.vocabulary is None else read_text(self.vocabulary)
        return (
            {name: getattr(self, name) for name in names}
            | self.normalisation().metadata()
            | {"vocabulary": vocabulary}
        )


@dataclass(frozen=True, kw_only=True)
class ManifestOptions(CorpusOptions):
    """The options of a corpus that a manifest describes."""

    manifest: Annotated[
        Path, Argument(metavar="FILE", help="A manifest, or a folder with one, of recordings.")
    ]
    limit: Annotated[int | None, "Prepare at most N recordings of each set."] = None
    delete_originals: Annotated[bool, Option("--delete_originals", hidden=True)] = False
    root: Annotated[
        Path | None,
        "The folder with all audio (default: that of the manifest); paths count from there.",
    ] = None
    name: Annotated[str, "The corpus becomes <data_folder>/<name>_shards."]
    config_folder: Annotated[
        Path | None,
        Option(
            "--config_folder",
            help="Write the data configs here too, for --config-dir (they are in the shards).",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name) or self.name in RESERVED_NAMES:
            raise ValueError(
                f"--name is {self.name!r}; it must be letters, digits, '_' and '-', and none of "
                f"{', '.join(RESERVED_NAMES)}."
            )
        if self.delete_originals:
            raise ValueError(
                "--delete_originals removes archives, and a manifest names none. Leave it out."
            )
