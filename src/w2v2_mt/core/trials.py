"""One question of speaker verification: do these two utterances have the same speaker?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """Two utterances, named by their keys, and the true answer."""

    same_speaker: bool
    left_key: str
    right_key: str
