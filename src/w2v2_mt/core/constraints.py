"""What a number in a signature may be; the check of a config reads these annotations."""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The allowed range of a number: `at_least <= value <= at_most`, or `value > above`."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf

    def __contains__(self, value: float) -> bool:
        return self.at_least <= value <= self.at_most and value > self.above

    def __str__(self) -> str:
        bounds = []
        if self.above > -math.inf:
            bounds.append(f"above {self.above:g}")
        if self.at_least > -math.inf:
            bounds.append(f"at least {self.at_least:g}")
        if self.at_most < math.inf:
            bounds.append(f"at most {self.at_most:g}")
        return " and ".join(bounds)


PositiveInt = Annotated[int, Interval(at_least=1)]
NonNegativeInt = Annotated[int, Interval(at_least=0)]
PositiveFloat = Annotated[float, Interval(above=0)]
NonNegativeFloat = Annotated[float, Interval(at_least=0)]
Probability = Annotated[float, Interval(at_least=0, at_most=1)]
