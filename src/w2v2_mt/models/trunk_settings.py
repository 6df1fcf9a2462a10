"""The settings that all networks share, keys of `network`, and how a trunk is built from them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from inspect import signature
from itertools import permutations
from typing import Any, ClassVar

from w2v2_mt.core.arguments import check_arguments, unknown_key
from w2v2_mt.core.constraints import NonNegativeInt
from w2v2_mt.core.registry import parameters_of
from w2v2_mt.models.backbone import Backbone
from w2v2_mt.models.encoder import ClassToken, Encoder
from w2v2_mt.models.onednn_linear import use_onednn
from w2v2_mt.models.pooling import POOLINGS, Pooling
from w2v2_mt.models.regularisation import Regularisation, SpecAugment
from w2v2_mt.models.sharing import SHARING_WAYS, NetworkShape, SharingWay
from w2v2_mt.models.trunk import FramePermutation, Trunk
from w2v2_mt.models.upstream import find_kind, load_config, load_upstream
from w2v2_mt.models.upstream_kinds import UPSTREAMS, UpstreamKind


@dataclass(frozen=True, kw_only=True)
class TrunkSettings:
    """The settings of every network, keys of `network`.

    `options` are the settings that the pooling and the ways of sharing declare.
    """

    tasks: ClassVar[tuple[str, ...]]

    wav2vec_huggingface_id: str
    upstream_kind: str | None = None
    reset_weights: bool
    wav2vec_initially_frozen: bool
    num_frozen_steps: NonNegativeInt | None
    completely_freeze_feature_extractor: bool
    use_gradient_checkpointing: bool
    pack_frames: bool = False
    regularisation: Regularisation
    sharing_ways: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError if settings are unknown, wrong or in conflict."""
        poolings = [self.pooling, *(kind for _, kind in POOLINGS.items())] if self.pooling else []
        owners: list[type] = [*self._known_ways, *poolings]
        declared = [name for owner in owners for name in parameters_of(owner)]
        for name in self.options:
            if name not in declared:
                known = [each.name for each in fields(self) if each.name != "options"]
                raise ValueError(unknown_key(f"network.{name}", "network", [*known, *declared]))
        for one, other in permutations(self.ways, 2):
            if other.name in one.excludes or (one.merges_layers and other.merges_layers):
                pair = f"{one.name} and {other.name}"
                raise ValueError(f"The ways of sharing {pair} exclude each other. Choose one.")
        _ = self.kind

    # Names are looked up once, in `__post_init__`: a dotted path may not be trusted later.
    @cached_property
    def kind(self) -> type[UpstreamKind] | None:
        """Return the named kind of the pretrained model."""
        return None if self.upstream_kind is None else UPSTREAMS.find(self.upstream_kind)

    @cached_property
    def pooling(self) -> type[Pooling] | None:
        """Return the class of the pooling, which may ask for a class token, of a speaker head."""
        return None

    @cached_property
    def ways(self) -> list[SharingWay]:
        """Return the ways of sharing that the settings choose."""
        ways = []
        for kind in self._known_ways:
            is_named = kind in self._named_ways
            if is_named or parameters_of(kind).keys() & self.options.keys():
                way = kind(**self.check_options(kind))
                if is_named or way.is_chosen:
                    ways.append(way)
        return ways

    @cached_property
    def _named_ways(self) -> list[type[SharingWay]]:
        return [SHARING_WAYS.find(name) for name in self.sharing_ways]

    @property
    def _known_ways(self) -> list[type[SharingWay]]:
        kinds = dict.fromkeys([*(kind for _, kind in SHARING_WAYS.items()), *self._named_ways])
        return [kind for kind in kinds if len(self.tasks) > 1 or not kind.needs_several_tasks]

    def check_options(self, kind: type) -> dict[str, Any]:
        """Return the options of a pooling or way of sharing; refuse missing and wrong ones."""
        declared = parameters_of(kind)
        options = {name: value for name, value in self.options.items() if name in declared}
        sizes = signature(kind).parameters.keys() - declared.keys()
        check_arguments(kind, options, owner="network", pending=sizes)
        return options

    def build_trunk(self, *, permute_frames: bool = False) -> Trunk:
        """Build the pretrained part; `permute_frames` shuffles the frames before the encoder."""
        name, reset_weights = self.wav2vec_huggingface_id, self.reset_weights
        config = load_config(name, reset_weights=reset_weights, kind=self.kind)
        kind = find_kind(config, self.kind)
        dim, num_layers = config.hidden_size, config.num_hidden_layers
        shape = NetworkShape(dim=dim, num_layers=num_layers, tasks=self.tasks)
        for way in self.ways:  # Before weights are loaded, which is slow.
            way.check_shape(shape)
        config.update(asdict(self.regularisation))
        upstream = load_upstream(name, config, kind, reset_weights=reset_weights)
        use_onednn(upstream)
        token = None if self.pooling is None else self.pooling.class_token
        class_token = ClassToken(dim, learnable=token == "learned") if token else None
        is_frozen = self.completely_freeze_feature_extractor
        recompute = self.use_gradient_checkpointing
        backbone = Backbone(upstream, kind, freeze_convolutions=is_frozen, recompute=recompute)
        encoder = Encoder(upstream, kind, class_token=class_token, recompute=recompute)
        for way in self.ways:
            way.change_encoder(encoder, shape)
        masked_frame = getattr(upstream, "masked_spec_embed", None)
        num_frozen_steps = math.inf if self.num_frozen_steps is None else self.num_frozen_steps
        return Trunk(
            architecture=json.loads(upstream.config.to_json_string(use_diff=False)),
            backbone=backbone,
            spec_augment=SpecAugment(regularisation=self.regularisation, masked_frame=masked_frame),
            encoder=encoder,
            ways=self.ways,
            shape=shape,
            num_frozen_steps=num_frozen_steps if self.wav2vec_initially_frozen else 0,
            # The class token precedes the frames only after this.
            permutation=FramePermutation(num_class_tokens=0) if permute_frames else None,
            pack_frames=self.pack_frames,
        )
