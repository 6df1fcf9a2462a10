"""One question of speaker verification: do these two utterances have the same speaker?"""

from dataclasses import dataclass
from typing import Literal

ScoreNormalisation = Literal["none", "s_norm", "as_norm"]
"""Whether, and how, the score of a trial is put in relation to scores against other speakers."""


@dataclass(frozen=True)
class Trial:
    """Two utterances, named by their keys, and the true answer."""

    same_speaker: bool
    left_key: str
    right_key: str
