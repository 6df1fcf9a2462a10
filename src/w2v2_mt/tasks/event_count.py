"""How often something rare has happened since a run began."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from w2v2_mt.core.processes import sum_over_processes


class EventCount(nn.Module):
    """Over all processes, and on through checkpoints.

    What happens rarely would hardly ever meet a step that is logged; what has happened so far does.
    """

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.tensor(0))

    def add(self, number: Int[Tensor, ""]) -> None:
        """Every process adds its own, 0 where nothing happened."""
        self.total += sum_over_processes(number)
