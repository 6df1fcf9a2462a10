"""Find the utterances of a batch for which a network returned NaN or infinity."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.core.padding import padding_mask


def find_non_finite(
    values: Float[Tensor, "batch *shape"], num_frames: Int[Tensor, " batch"] | None = None
) -> list[int]:
    """Return the rows with a value that is NaN or infinite in their first `num_frames` frames."""
    is_finite = values.isfinite().flatten(start_dim=2 if num_frames is not None else 1).all(dim=-1)
    if num_frames is not None:
        is_padding = ~padding_mask(num_frames.to(values.device), values.shape[1])
        is_finite = (is_finite | is_padding).all(dim=1)
    return [row for row, is_good in enumerate(is_finite.tolist()) if not is_good]


def check_finite(
    values: Float[Tensor, "batch *shape"],
    num_frames: Int[Tensor, " batch"] | None = None,
    *,
    what: str,
    keys: Sequence[str],
) -> None:
    """Raise a ValueError that names the utterances with NaN or infinity, by their `keys`."""
    if rows := find_non_finite(values, num_frames):
        names = ", ".join(keys[row] for row in rows[:5])
        rest = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise ValueError(
            f"The {what} of {names}{rest} must be finite, but contain NaN or infinity. "
            "Look for them in the weights, or train with a lower learning rate."
        )
