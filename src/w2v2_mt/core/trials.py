"""Trials of speaker verification: pairs of utterances with or without a common speaker."""

from dataclasses import dataclass
from typing import Literal

ScoreNormalisation = Literal["none", "s_norm", "as_norm"]
"""Normalization of a trial's score by the scores against a cohort of other speakers."""


@dataclass(frozen=True)
class Trial:
    """A pair of utterances, named by their keys; a target trial if `same_speaker` is True."""

    same_speaker: bool
    left_key: str
    right_key: str
