"""The ways in which tasks share an encoder; any that do not exclude each other combine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt
from w2v2_mt.core.padding import padding_mask
from w2v2_mt.core.registry import Registry
from w2v2_mt.core.units import count
from w2v2_mt.models.encoder import Encoder
from w2v2_mt.models.pooling import POOLINGS, Pooling
from w2v2_mt.models.shapes import FrameMask, Frames, HeadFrames, LayerFrames


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """The width and number of layers of an encoder, and the tasks that share it."""

    dim: int
    num_layers: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SharingWay:
    """A way in which tasks share an encoder.

    A way is a frozen dataclass whose fields are its settings, keys of `network`. It registers a
    name, or is named by its dotted path in `network.sharing_ways`, and overrides the steps of a
    network that it changes. It has no effect on the other steps, so that ways combine in any order.
    """

    excludes: ClassVar[tuple[str, ...]] = ()
    """The names of ways that cannot be combined with this one."""

    merges_layers: ClassVar[bool] = False
    """Call `merge_layers`, which replaces the output of the last layer. One way at most does."""

    needs_several_tasks: ClassVar[bool] = True
    """Refuse a network of one task."""

    export_problem: ClassVar[str | None] = (
        "its heads do not read the plain output of its encoder. Export a network without a way of "
        "sharing of your own."
    )
    """Reason that no model of transformers computes the same; None if one does."""

    @property
    def name(self) -> str:
        """Return the class name in snake case, which names the modules of the way."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def is_chosen(self) -> bool:
        """Return True if the settings choose this way, without `network.sharing_ways`."""
        return False

    def check_pooling(self, name: str, pooling: type[Pooling]) -> None:
        """Raise ValueError if the way does not combine with a pooling."""

    def check_shape(self, shape: NetworkShape) -> None:
        """Raise ValueError if the encoder does not fit the settings."""

    def change_encoder(self, encoder: Encoder, shape: NetworkShape) -> None:
        """Change the encoder in place, before anything else is built."""

    def build_module(self, task: str, shape: NetworkShape) -> nn.Module | None:
        """Return a module that is trained for one task, or None if it needs none.

        `shape.dim` is the width of the frames that `adapt_frames` receives for this task.
        """
        return None

    def merge_layers(self, layers: Sequence[Frames], module: Any) -> Frames:
        """Merge the input of the first layer and the outputs of all layers into frames."""
        raise NotImplementedError

    def head_dim(self, task: str, dim: int) -> int:
        """Return the number of values of a frame that `adapt_frames` returns, given `dim`."""
        return dim

    def adapt_frames(self, frames: LayerFrames, *, task: str, module: Any) -> HeadFrames:
        """Return what the head of a task reads; `module` is that of `build_module`."""
        return frames

    def guide_of(self, task: str) -> str | None:
        """Return the task whose output selects the frames that this task pools, or None."""
        return None

    def keeps_guide_graph(self) -> bool:
        """Return True if a guide that is not trained itself is run with gradient."""
        return False

    def select_frames(self, guide: Any) -> FrameMask:
        """Return the frames to pool, True where one is pooled, from the output of the guide."""
        raise NotImplementedError

    def describe_head(self, task: str) -> dict[str, Any]:
        """Return what a description of an exported head needs to add."""
        return {}


SHARING_WAYS = Registry[type[SharingWay]]("way of sharing", setting="network.sharing_ways")


@SHARING_WAYS.register("branched")
@dataclass(frozen=True, kw_only=True)
class Branched(SharingWay):
    """Each task has its own copy of the layers after the first `num_shared_transformers`."""

    export_problem = None

    use_multi_branch_encoder: bool
    num_shared_transformers: NonNegativeInt

    @property
    def is_chosen(self) -> bool:
        return self.use_multi_branch_encoder

    def check_shape(self, shape: NetworkShape) -> None:
        if self.num_shared_transformers >= shape.num_layers:
            raise ValueError(
                f"network.num_shared_transformers ({self.num_shared_transformers}) must be below "
                f"the {count(shape.num_layers, 'layer')} of the encoder, as it leaves no layer for "
                f"the branches. Choose 0 to {shape.num_layers - 1}."
            )

    def change_encoder(self, encoder: Encoder, shape: NetworkShape) -> None:
        encoder.branch(shape.tasks, num_shared_layers=self.num_shared_transformers)


@SHARING_WAYS.register("split")
@dataclass(frozen=True, kw_only=True)
class Split(SharingWay):
    """The speaker head reads the first dimensions of a frame, and the other heads the rest."""

    export_problem = None

    num_speaker_dimensions: PositiveInt | None

    @property
    def is_chosen(self) -> bool:
        return self.num_speaker_dimensions is not None

    def check_shape(self, shape: NetworkShape) -> None:
        if self.num_speaker_dimensions is None or self.num_speaker_dimensions >= shape.dim:
            raise ValueError(
                f"network.num_speaker_dimensions ({self.num_speaker_dimensions}) leaves no "
                f"dimension for speech. Choose 1 to {shape.dim - 1} for this encoder, or null for "
                "no split."
            )

    def head_dim(self, task: str, dim: int) -> int:
        num_speaker = self.num_speaker_dimensions or 0
        return num_speaker if task == "speaker" else dim - num_speaker

    def adapt_frames(self, frames: LayerFrames, *, task: str, module: Any) -> HeadFrames:
        num_speaker = self.num_speaker_dimensions
        return frames[..., :num_speaker] if task == "speaker" else frames[..., num_speaker:]

    def describe_head(self, task: str) -> dict[str, Any]:
        return {"frame_dimensions": [0, self.num_speaker_dimensions]} if task == "speaker" else {}


@SHARING_WAYS.register("ctc_pool")
@dataclass(frozen=True, kw_only=True)
class CtcPool(SharingWay):
    """CTC-guided pooling: heads pool only the frames whose best token is not the blank.

    With `ctc_pool_on_blank_embeddings`, only those where it is. `enable_ctc_pool_no_grad` finds the
    tokens without keeping a graph, which nothing needs: the best token of a frame has no gradient.
    It saves memory and changes no result.
    """

    export_problem = None

    enable_ctc_pool_speaker_embedding: bool
    enable_ctc_pool_no_grad: bool
    ctc_pool_on_blank_embeddings: bool
    ctc_blank_idx: NonNegativeInt

    @property
    def is_chosen(self) -> bool:
        return self.enable_ctc_pool_speaker_embedding

    def check_pooling(self, name: str, pooling: type[Pooling]) -> None:
        if not pooling.accepts_selection:
            names = [each for each, kind in POOLINGS.items() if kind.accepts_selection]
            raise ValueError(
                f"network.stat_pooling_type ({name}) cannot be guided by tokens. Choose one of "
                f"{', '.join(names)} or set network.enable_ctc_pool_speaker_embedding=false."
            )

    def guide_of(self, task: str) -> str | None:
        return None if task == "speech" else "speech"

    def keeps_guide_graph(self) -> bool:
        return not self.enable_ctc_pool_no_grad

    def select_frames(self, guide: Any) -> FrameMask:
        is_blank = guide.logits.argmax(dim=-1) == self.ctc_blank_idx
        selected = is_blank if self.ctc_pool_on_blank_embeddings else ~is_blank
        return selected & padding_mask(guide.num_frames, selected.shape[1])

    def describe_head(self, task: str) -> dict[str, Any]:
        on_blank, blank = self.ctc_pool_on_blank_embeddings, self.ctc_blank_idx
        frames = {"best_letter_is_blank": on_blank, "blank_index": blank}
        return {"pools_frames_with": frames} if task == "speaker" else {}


class LayerSum(nn.Module):
    """A weighted sum of the frames of all layers; the weights are positive and sum to 1.

    All weights are equal at first. Source: SUPERB, arXiv 2105.01051, section 3.
    """

    def __init__(self, num_outputs: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, outputs: Sequence[Frames]) -> Frames:
        weights = self.logits.softmax(dim=0).to(outputs[0].dtype)
        # One by one, as a stack would hold all outputs twice.
        return sum(weight * frames for weight, frames in zip(weights, outputs, strict=True))


@SHARING_WAYS.register("layer_weights")
@dataclass(frozen=True, kw_only=True)
class LayerWeights(SharingWay):
    """Each head reads a learned weighted sum of all layers (`learned`) or the last one (`last`)."""

    merges_layers = True
    needs_several_tasks = False
    export_problem = (
        "its heads read a learned weighted sum of layers, which the CTC models of transformers do "
        "not; export a network with network.layer_weights=last."
    )

    layer_weights: Literal["last", "learned"]

    @property
    def is_chosen(self) -> bool:
        return self.layer_weights == "learned"

    def build_module(self, task: str, shape: NetworkShape) -> nn.Module:
        return LayerSum(shape.num_layers + 1)

    def merge_layers(self, layers: Sequence[Frames], module: Any) -> Frames:
        return module(layers)
