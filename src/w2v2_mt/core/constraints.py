"""Number types of constructor arguments, which pydantic checks when settings are read.

A class that is made from settings annotates its parameters with these types, for example
`margin: AngularMargin`. Python itself ignores the bounds.
"""

import math
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
SeveralInt = Annotated[int, Ge(2)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
"""A seed that numpy accepts."""

PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Probability = Annotated[float, Ge(0), Le(1)]
ShrinkingFactor = Annotated[float, Gt(0), Lt(1)]
DecayRate = Annotated[float, Ge(0), Lt(1)]
AngularMargin = Annotated[float, Ge(0), Le(math.pi / 2)]
"""An angle in radians."""
