"""Packed frames: the utterances of a batch one after the other, without padding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from w2v2_mt.core.padding import padding_mask
from w2v2_mt.models.shapes import PackedFrames


@dataclass(frozen=True)
class Packing:
    """The places of utterances with these lengths in packed frames, `[1, total, ...]`.

    The lengths are plain numbers: they decide the shapes of tensors, which a device cannot. What is
    computed over time runs on neighbours of equal length at once, as `split` returns them.
    """

    lengths: tuple[int, ...]

    @property
    def total(self) -> int:
        """Return the number of frames of all utterances."""
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        """Return the number of frames of the longest utterance."""
        return max(self.lengths, default=0)

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Return the size and the length of each run of neighbours of equal length, but 0."""
        runs = [(len(list(run)), length) for length, run in groupby(self.lengths)]
        return [(size, length) for size, length in runs if length > 0]

    def split(
        self, packed: Shaped[Tensor, "1 total *rest"]
    ) -> list[Shaped[Tensor, "_run _time *rest"]]:
        """Return the utterances of each run, without padding."""
        parts = packed.squeeze(0).split([size * length for size, length in self.runs])
        return [part.unflatten(0, run) for part, run in zip(parts, self.runs, strict=True)]

    def map(
        self,
        function: Callable[[Shaped[Tensor, "_run _time *rest"]], Shaped[Tensor, "_run _time *out"]],
        packed: Shaped[Tensor, "1 total *rest"],
    ) -> Shaped[Tensor, "1 total *out"]:
        """Apply a function, which returns as many frames, to the utterances of each run."""
        if not self.runs:
            return packed
        return join([function(utterances) for utterances in self.split(packed)])

    def pack(self, padded: Shaped[Tensor, "batch time *rest"]) -> Shaped[Tensor, "1 total *rest"]:
        """Pack the valid frames of a padded batch."""
        if self.total == padded.shape[0] * padded.shape[1]:
            return padded.flatten(end_dim=1)[None]
        places = self._places_in_padding(padded.shape[1]).to(padded.device)
        return padded.flatten(end_dim=1).index_select(0, places)[None]

    def unpack(self, packed: Shaped[Tensor, "1 total *rest"]) -> Shaped[Tensor, "batch time *rest"]:
        """Return a batch that is padded with zeros to the longest utterance."""
        sizes = len(self.lengths), self.longest
        if self.total == sizes[0] * sizes[1]:
            return packed.squeeze(0).unflatten(0, sizes)
        padded = packed.new_zeros(sizes[0] * sizes[1], *packed.shape[2:])
        places = self._places_in_padding(self.longest).to(packed.device)
        return padded.index_copy(0, places, packed.squeeze(0)).unflatten(0, sizes)

    def select(
        self, packed: Shaped[Tensor, "1 total *rest"], rows: Sequence[int]
    ) -> Shaped[Tensor, "1 total_of_rows *rest"]:
        """Return the packed frames of these utterances only."""
        ends = list(accumulate(self.lengths))
        places = [torch.arange(ends[row] - self.lengths[row], ends[row]) for row in rows]
        return packed.index_select(1, torch.cat(places).to(packed.device))

    def rows(self, rows: Sequence[int]) -> "Packing":
        """Return the packing of these utterances only."""
        return Packing(tuple(self.lengths[row] for row in rows))

    def repeat(self, values: Shaped[Tensor, "batch *rest"]) -> Shaped[Tensor, "1 total *rest"]:
        """Return the values of each utterance at each of its frames."""
        counts = torch.tensor(self.lengths, device=values.device)
        return values.repeat_interleave(counts, dim=0, output_size=self.total)[None]

    def prepend(
        self, frame: Float[Tensor, " dim"], packed: PackedFrames
    ) -> Float[Tensor, "1 longer_total dim"]:
        """Put one frame before those of each utterance."""
        parts = [
            part
            for utterance in packed.squeeze(0).split(list(self.lengths))
            for part in (frame[None], utterance)
        ]
        return torch.cat(parts)[None]

    def _places_in_padding(self, time: int) -> Int[Tensor, " total"]:
        is_valid: Bool[Tensor, "batch time"] = padding_mask(torch.tensor(self.lengths), time)
        return is_valid.flatten().nonzero().squeeze(1)


def join(
    parts: Sequence[Shaped[Tensor, "_run _time *rest"]],
) -> Shaped[Tensor, "1 total *rest"]:
    """Pack the utterances of all runs, one run after the other."""
    return torch.cat([part.flatten(end_dim=1) for part in parts])[None]
