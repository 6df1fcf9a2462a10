"""The options of the command that labels utterances."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """The options of the command that labels utterances.

    Args:
        source: A manifest or a folder of shards.
        output: The new manifest, JSON lines.
        root: The folder that holds all audio of a manifest; None is that of the manifest.
        transcripts: A file with the transcripts of another system, which are used instead of those
            of the network.
        relabel: True replaces the labels that utterances have.
        speaker_threshold: The mean cosine above which two clusters are one speaker. None: the
            threshold of the equal error rate of the validation trials of the network.
        within_sessions: True clusters the utterances of each session alone.
        min_confidence: Transcripts with a lower confidence are skipped.
        min_sec: Shorter utterances are skipped.
        max_sec: Longer utterances are skipped.
        windows: The arguments of `Predictor` about windows and batches.
    """

    source: Path
    output: Path
    root: Path | None
    transcripts: Path | None
    relabel: bool
    speaker_threshold: float | None
    within_sessions: bool
    min_confidence: float
    min_sec: float
    max_sec: float
    windows: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"--min_confidence ({self.min_confidence:g}) must be from 0 to 1.")
        if not 0 <= self.min_sec < self.max_sec:
            raise ValueError(
                f"--min_sec ({self.min_sec:g}) must be from 0 to --max_sec ({self.max_sec:g})."
            )
        if self.speaker_threshold is not None and not -1 <= self.speaker_threshold <= 1:
            raise ValueError(
                f"--speaker_threshold ({self.speaker_threshold:g}) must be a cosine, from -1 to 1."
            )
