"""What one process of a run asks of the others that train or test the same network beside it."""

from typing import Any, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Item = TypeVar("Item")


def num_processes() -> int:
    """How many processes train together; 1 outside of a process group."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def sum_over_processes(values: Shaped[Tensor, " *shape"]) -> Shaped[Tensor, " *shape"]:
    """Without gradient. Every process calls it, with a tensor of the same shape."""
    if num_processes() == 1:
        return values.detach()
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total


def mean_over_processes(values: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """As `sum_over_processes`, over their number."""
    return sum_over_processes(values) / num_processes()


def gathered_from_processes(item: Item) -> list[Item]:
    """The item of each process, in the order of their numbers. Every process calls it.

    It takes the way over the CPU, where what is too large for a GPU has room.
    """
    if num_processes() == 1:
        return [item]
    group = torch.distributed.new_group(backend="gloo")
    items: list[Any] = [None] * num_processes()
    torch.distributed.all_gather_object(items, item, group=group)
    torch.distributed.destroy_process_group(group)
    return items
