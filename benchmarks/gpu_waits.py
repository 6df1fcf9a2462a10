"""Find where a training step waits for the GPU."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import w2v2_mt.losses.ctc


def find_waits(device: torch.device, step: Callable[[], Tensor]) -> dict[str, Any]:
    """Return whether a step waits for the GPU, and where.

    The CTC loss of torch copies lengths between host and device, which waits; it may.
    """
    if device.type != "cuda":
        return {}
    with ctc_may_wait():
        try:
            torch.cuda.set_sync_debug_mode("error")
            step()
            return {"waits_for_gpu": False}
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize(device)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
    places = sorted({f"{Path(each.filename).name}:{each.lineno}" for each in caught})
    return {"waits_for_gpu": True, "first_wait": first, "waits_at": places}


class _MayWait(torch.autograd.Function):
    """A function of one tensor that may wait for the GPU, forward and backward."""

    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], argument: Tensor) -> Tensor:
        with waiting_allowed(), torch.enable_grad():
            ctx.argument = argument.detach().requires_grad_()
            ctx.output = function(ctx.argument)
        return ctx.output.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        with waiting_allowed():
            (gradient,) = torch.autograd.grad(ctx.output, ctx.argument, gradients)
            return None, gradient


@contextmanager
def waiting_allowed() -> Iterator[None]:
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("default")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


class _CtcThatMayWait:
    """The functions of torch, with a CTC loss that may wait."""

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)

    @staticmethod
    def ctc_loss(log_probabilities: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return _MayWait.apply(
            lambda argument: F.ctc_loss(argument, *arguments, **options), log_probabilities
        )


@contextmanager
def ctc_may_wait() -> Iterator[None]:
    """Let the CTC loss wait within the context, whatever the mode is."""
    module: Any = w2v2_mt.losses.ctc
    module.F = _CtcThatMayWait()
    try:
        yield
    finally:
        module.F = F
