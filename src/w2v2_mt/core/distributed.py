"""Communication between the processes of a run: every process must call each of these functions."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Item = TypeVar("Item")


def num_processes() -> int:
    """Return the number of processes of the run, 1 outside of a process group."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def sum_over_processes(values: Shaped[Tensor, " *shape"]) -> Shaped[Tensor, " *shape"]:
    """Sum a tensor of the same shape in all processes, without gradient."""
    if num_processes() == 1:
        return values.detach()
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total


def mean_over_processes(values: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """Average a tensor of the same shape in all processes, without gradient."""
    return sum_over_processes(values) / num_processes()


def sum_counts(counts: Sequence[int]) -> list[int]:
    """Sum numbers of all processes on the CPU, so that no process waits for its GPU."""
    total = torch.tensor(counts)
    torch.distributed.all_reduce(total, group=_cpu_group(torch.distributed.group.WORLD))
    return [int(each) for each in total]


@cache
def _cpu_group(world: Any) -> Any:
    """Return a group of all processes of `world` that exchanges tensors on the CPU."""
    if torch.distributed.get_backend(world) == "gloo":
        return world
    return torch.distributed.new_group(backend="gloo")


def gather_from_processes(item: Item) -> list[Item]:
    """Return the item of each process, in the order of their ranks.

    The items are exchanged on the CPU, since they may not fit on a GPU.
    """
    if num_processes() == 1:
        return [item]
    group = torch.distributed.new_group(backend="gloo")
    items: list[Any] = [None] * num_processes()
    torch.distributed.all_gather_object(items, item, group=group)
    torch.distributed.destroy_process_group(group)
    return items
