"""What one process of a training asks of the others that train the same network beside it."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


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
