"""The settings of networks, the flat keys of `network`, and how networks are built from them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from w2v2_mt.core.constraints import PositiveInt
from w2v2_mt.core.registry import loadable
from w2v2_mt.core.samples import TokenStatistics
from w2v2_mt.core.symbols import describe_difference
from w2v2_mt.models.ctc_symbols import load_ctc_symbols
from w2v2_mt.models.heads import SpeakerHead, SpeechHead, compute_token_prior
from w2v2_mt.models.networks import MultiTaskNetwork, SpeakerNetwork, SpeechNetwork
from w2v2_mt.models.pooling import POOLINGS, Pooling
from w2v2_mt.models.trunk import FramePermutation, Trunk
from w2v2_mt.models.trunk_settings import TrunkSettings
from w2v2_mt.models.upstream import load_ctc_head

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SpeechHeadSettings(TrunkSettings):
    """The settings of a CTC head."""

    speech_head_huggingface_id: str | None
    ctc_bias_init: Literal["zero", "letter_prior"]

    def __post_init__(self) -> None:
        """Refuse two initial biases."""
        super().__post_init__()
        if self.ctc_bias_init != "zero" and self.speech_head_huggingface_id is not None:
            raise ValueError(
                f"network.ctc_bias_init ({self.ctc_bias_init}) would replace the bias of "
                f"network.speech_head_huggingface_id ({self.speech_head_huggingface_id}). Set the "
                "former to zero or the latter to null."
            )

    def build_speech_head(
        self,
        trunk: Trunk,
        *,
        num_tokens: int,
        token_statistics: Callable[[], TokenStatistics] | None = None,
        symbols: Sequence[str] | None = None,
    ) -> SpeechHead:
        """Build the CTC head of a trunk; statistics of the training data are read if needed.

        The tokens of a pretrained head are brought into the order of `symbols`.
        """
        prior = None
        if self.ctc_bias_init == "letter_prior":
            assert token_statistics is not None
            frame_samples = trunk.backbone.num_samples_per_frame
            prior = compute_token_prior(token_statistics(), num_samples_per_frame=frame_samples)
        dim, dropout = trunk.head_dims["speech"], self.regularisation.final_dropout
        head = SpeechHead(dim=dim, num_tokens=num_tokens, dropout=dropout, prior=prior)
        if self.speech_head_huggingface_id is not None:
            self._load_head(head, symbols)
        return head

    def _load_head(self, head: SpeechHead, symbols: Sequence[str] | None) -> None:
        huggingface_id = self.speech_head_huggingface_id
        assert huggingface_id is not None
        pretrained, (num_tokens, dim) = load_ctc_head(huggingface_id), head.linear.weight.shape
        weight, bias = pretrained.weight.detach(), pretrained.bias.detach()
        # An exported head that reads the last dimensions has weights of zero for the others.
        num_unread = max(pretrained.in_features - dim, 0)
        if not weight[:, :num_unread].any():
            weight = weight[:, num_unread:]
        if weight.shape != head.linear.weight.shape:
            raise ValueError(
                f"network.speech_head_huggingface_id ({huggingface_id}) maps "
                f"{pretrained.in_features} dimensions to {pretrained.out_features} tokens, "
                f"this network needs {dim} to {num_tokens}. Choose a matching model or null."
            )
        index_of = None if symbols is None else load_ctc_symbols(huggingface_id)
        if symbols is not None and index_of is None:
            log.warning(
                f"network.speech_head_huggingface_id ({huggingface_id}) has no vocab.json of one "
                "language: its tokens are taken in the order of speech.tokenizer. Compare the two."
            )
        elif symbols is not None and index_of is not None:
            if problem := describe_difference(sorted(index_of), sorted(symbols)):
                raise ValueError(
                    f"network.speech_head_huggingface_id ({huggingface_id}) does not have the "
                    f"symbols of speech.tokenizer: it {problem}. Set "
                    "speech.tokenizer.vocabulary_path to its vocab.json, or choose null."
                )
            rows = [index_of[symbol] for symbol in symbols]
            if sorted(rows) != list(range(num_tokens)):
                raise ValueError(
                    f"The indices in vocab.json of network.speech_head_huggingface_id "
                    f"({huggingface_id}) must be 0 to {num_tokens - 1}. Choose another model or "
                    "null."
                )
            weight, bias = weight[rows], bias[rows]
        head.linear.load_state_dict({"weight": weight, "bias": bias})


@dataclass(frozen=True, kw_only=True)
class SpeakerHeadSettings(TrunkSettings):
    """The settings of a speaker head."""

    stat_pooling_type: str
    use_cosine_linear: bool
    num_subcentres: PositiveInt
    explicit_num_speakers: PositiveInt | None

    def __post_init__(self) -> None:
        """Check the pooling and the classifier."""
        super().__post_init__()
        self.check_options(self.pooling)
        for way in self.ways:
            way.check_pooling(self.stat_pooling_type, self.pooling)
        if self.pooling.needs_all_layers and any(way.merges_layers for way in self.ways):
            raise ValueError(
                f"network.stat_pooling_type ({self.stat_pooling_type}) reads all layers and must "
                "not be combined with a way that merges them. Set network.layer_weights=last."
            )
        if self.num_subcentres > 1 and not self.use_cosine_linear:
            raise ValueError(
                f"network.num_subcentres ({self.num_subcentres}) needs a cosine classifier. Set it "
                "to 1 or set network.use_cosine_linear=true."
            )

    @cached_property
    def pooling(self) -> type[Pooling]:
        """Return the class of the pooling."""
        return POOLINGS.find(self.stat_pooling_type)

    def build_speaker_head(self, trunk: Trunk, *, num_speakers: int) -> SpeakerHead:
        """Build the speaker head of a trunk for this number of training speakers."""
        explicit = self.explicit_num_speakers
        if explicit is not None and explicit < num_speakers:
            raise ValueError(
                f"network.explicit_num_speakers ({explicit}) is less than the {num_speakers} "
                "speakers of the training data. Raise it or set it to null."
            )
        sizes = [trunk.head_dims["speaker"]]
        if self.pooling.needs_all_layers:
            sizes.append(trunk.shape.num_layers)
        return SpeakerHead(
            pooling=self.pooling(*sizes, **self.check_options(self.pooling)),
            num_speakers=explicit or num_speakers,
            classifier="cosine" if self.use_cosine_linear else "linear",
            num_subcentres=self.num_subcentres,
            dropout=self.regularisation.final_dropout,
        )


@loadable
@dataclass(frozen=True, kw_only=True)
class SpeechNetworkSettings(SpeechHeadSettings):
    """The settings of a network with a CTC head."""

    tasks = ("speech",)

    def build(self, **sizes: Any) -> SpeechNetwork:
        """Build the network with the arguments of `build_speech_head`."""
        trunk = self.build_trunk()
        return SpeechNetwork(trunk=trunk, head=self.build_speech_head(trunk, **sizes))


@loadable
@dataclass(frozen=True, kw_only=True)
class SpeakerNetworkSettings(SpeakerHeadSettings):
    """The settings of a network with a speaker head."""

    tasks = ("speaker",)

    random_permutation_mode: Literal["before", "after"] | None

    def build(self, *, num_speakers: int) -> SpeakerNetwork:
        """Build the network for this number of training speakers."""
        trunk = self.build_trunk(permute_frames=self.random_permutation_mode == "before")
        head = self.build_speaker_head(trunk, num_speakers=num_speakers)
        permutation = None
        if self.random_permutation_mode == "after":
            permutation = FramePermutation(num_class_tokens=trunk.num_class_tokens)
        return SpeakerNetwork(trunk=trunk, head=head, permutation=permutation)


@loadable
@dataclass(frozen=True, kw_only=True)
class MultiTaskNetworkSettings(SpeechHeadSettings, SpeakerHeadSettings):
    """The settings of a network with a CTC head and a speaker head."""

    tasks = ("speech", "speaker")

    def build(self, *, num_speakers: int, **sizes: Any) -> MultiTaskNetwork:
        """Build the network with the arguments of `build_speech_head` and `build_speaker_head`."""
        trunk = self.build_trunk()
        return MultiTaskNetwork(
            trunk=trunk,
            speech_head=self.build_speech_head(trunk, **sizes),
            speaker_head=self.build_speaker_head(trunk, num_speakers=num_speakers),
        )
