"""Counts of rare events in training."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from w2v2_mt.core.distributed import num_processes, sum_over_processes


class EventCounter(nn.Module):
    """A count over all processes and resumed runs.

    A rare event would hardly ever meet a step that is logged; its count so far does.
    """

    total: Tensor
    unshared: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.tensor(0))
        self.register_buffer("unshared", torch.tensor(0), persistent=False)

    def add(self, number: Int[Tensor, ""]) -> None:
        """Add a number of events in this process."""
        self.total += number
        self.unshared += number

    def share(self) -> None:
        """Add the events in other processes since the last call; every process calls it."""
        if num_processes() > 1:
            self.total += sum_over_processes(self.unshared) - self.unshared
        self.unshared.zero_()


def rename_old_counts(task: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Give the counts of a state dict of version 0.1 their present keys, before it is loaded.

    A speaker run of that version counted nothing.
    """
    present = task.state_dict()
    for objective, counter in (("speech", "unalignable"), ("speaker", "without_selection")):
        count = state_dict.pop(f"{prefix}{counter}.total", torch.tensor(0))
        if (key := f"objectives.{objective}.{counter}.total") in present:
            state_dict.setdefault(prefix + key, count)
