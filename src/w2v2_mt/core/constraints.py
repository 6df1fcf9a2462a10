"""What a number in a signature may be; the check of a config reads these annotations."""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The allowed range of a number: `at_least <= value <= at_most`, `above < value < below`."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        # At the infinite bounds nothing is asked: they would refuse infinity itself.
        return (
            self.at_least <= value <= self.at_most
            and (value > self.above or self.above == -math.inf)
            and (value < self.below or self.below == math.inf)
        )

    def __str__(self) -> str:
        bounds = {
            "above": self.above,
            "at least": self.at_least,
            "at most": self.at_most,
            "below": self.below,
        }
        # As many digits as a seed may have.
        return " and ".join(
            f"{words} {bound:.10g}" for words, bound in bounds.items() if math.isfinite(bound)
        )


PositiveInt = Annotated[int, Interval(at_least=1)]
NonNegativeInt = Annotated[int, Interval(at_least=0)]
PositiveFloat = Annotated[float, Interval(above=0)]
NonNegativeFloat = Annotated[float, Interval(at_least=0)]
Probability = Annotated[float, Interval(at_least=0, at_most=1)]
SeveralInt = Annotated[int, Interval(at_least=2)]
ShrinkingFactor = Annotated[float, Interval(above=0, below=1)]
DecayRate = Annotated[float, Interval(at_least=0, below=1)]
AngularMargin = Annotated[float, Interval(at_least=0, at_most=math.pi / 2)]
Seed = Annotated[int, Interval(at_least=0, at_most=2**32 - 1)]
"""What numpy takes."""
