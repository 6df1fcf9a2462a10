"""Networks from the flat settings of the `network` config group."""

from collections.abc import Sequence
from typing import Literal

from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt
from w2v2_mt.core.letters import LetterStatistics
from w2v2_mt.models.backbone import Backbone
from w2v2_mt.models.combinations import (
    check_branches,
    check_guided_pooling,
    check_letter_head,
    check_num_speakers,
    check_split,
    check_subcentres,
)
from w2v2_mt.models.encoder import ClassToken, Encoder
from w2v2_mt.models.heads import SpeakerHead, SpeechHead
from w2v2_mt.models.layer_weights import LayerWeights
from w2v2_mt.models.letter_prior import letter_prior
from w2v2_mt.models.linear import use_onednn
from w2v2_mt.models.networks import (
    LetterGuidedPooling,
    MultiTaskNetwork,
    SpeakerNetwork,
    SpeechNetwork,
)
from w2v2_mt.models.permutation import FramePermutation
from w2v2_mt.models.pooling import PoolingName, build_pooling
from w2v2_mt.models.regularisation import Regularisation
from w2v2_mt.models.spec_augment import SpecAugment
from w2v2_mt.models.trunk import FreezeSchedule, Trunk
from w2v2_mt.models.upstream import (
    load_letter_head,
    load_upstream,
    plain_settings,
    upstream_config,
)

CtcBiasInit = Literal["zero", "letter_prior"]

_CLASS_TOKENS: dict[str, bool] = {"first+cls": False, "first+cls+learnable": True}
"""Poolings that read a class token, and whether it is trained."""

LayerWeighting = Literal["last", "learned"]
"""What a head reads: the output of the last layer, or a learned weighted sum over all layers."""


def _trunk(
    *,
    wav2vec_huggingface_id: str,
    reset_weights: bool,
    wav2vec_initially_frozen: bool,
    num_frozen_steps: int | None,
    completely_freeze_feature_extractor: bool,
    use_gradient_checkpointing: bool,
    regularisation: Regularisation,
    layer_weights: LayerWeighting,
    tasks: Sequence[str],
    stat_pooling_type: str | None,
    num_shared_transformers: int | None,
    permute_frames: bool,
) -> Trunk:
    """`num_shared_transformers` None means a plain encoder without branches."""
    upstream = load_upstream(
        wav2vec_huggingface_id, reset_weights=reset_weights, regularisation=regularisation
    )
    use_onednn(upstream)
    class_token = None
    if stat_pooling_type in _CLASS_TOKENS:
        class_token = ClassToken(
            upstream.config.hidden_size, learnable=_CLASS_TOKENS[stat_pooling_type]
        )
    return Trunk(
        architecture=plain_settings(upstream.config),
        backbone=Backbone(
            upstream,
            freeze_convolutions=completely_freeze_feature_extractor,
            use_gradient_checkpointing=use_gradient_checkpointing,
        ),
        spec_augment=SpecAugment(
            regularisation=regularisation,
            masked_frame=upstream.masked_spec_embed if regularisation.mask_time_prob > 0 else None,
        ),
        encoder=Encoder(
            upstream,
            class_token=class_token,
            branch_names=() if num_shared_transformers is None else tasks,
            num_shared_layers=num_shared_transformers or 0,
            use_gradient_checkpointing=use_gradient_checkpointing,
        ),
        layer_weights={
            task: LayerWeights(upstream.config.num_hidden_layers + 1)
            for task in (tasks if layer_weights == "learned" else ())
        },
        freeze_schedule=FreezeSchedule(
            initially_frozen=wav2vec_initially_frozen, num_frozen_steps=num_frozen_steps
        ),
        # The class token is put in front later.
        permutation=FramePermutation(num_class_tokens=0) if permute_frames else None,
    )


def _speech_head(
    *,
    dim: int,
    num_letters: int,
    regularisation: Regularisation,
    huggingface_id: str | None,
    ctc_bias_init: CtcBiasInit,
    letter_statistics: LetterStatistics | None,
    num_samples_per_frame: int,
) -> SpeechHead:
    prior = None
    if ctc_bias_init == "letter_prior":
        assert letter_statistics is not None
        prior = letter_prior(letter_statistics, num_samples_per_frame=num_samples_per_frame)
    head = SpeechHead(
        dim=dim, num_letters=num_letters, dropout=regularisation.final_dropout, prior=prior
    )
    if huggingface_id is not None:
        pretrained = load_letter_head(huggingface_id)
        # An exported head that reads the last dimensions only has weights of zero for the others.
        weight, num_unread = pretrained.weight.detach(), max(pretrained.in_features - dim, 0)
        if not weight[:, :num_unread].any():
            weight = weight[:, num_unread:]
        if weight.shape != head.linear.weight.shape:
            raise ValueError(
                f"network.speech_head_huggingface_id={huggingface_id!r} maps "
                f"{pretrained.in_features} dimensions to {pretrained.out_features} letters, this "
                f"network needs {dim} to {num_letters}; choose a matching model or null."
            )
        head.linear.load_state_dict({**pretrained.state_dict(), "weight": weight})
    return head


def _speaker_head(
    *,
    dim: int,
    num_speakers: int,
    regularisation: Regularisation,
    stat_pooling_type: PoolingName,
    use_cosine_linear: bool,
    num_subcentres: int,
) -> SpeakerHead:
    return SpeakerHead(
        pooling=build_pooling(stat_pooling_type, dim),
        num_speakers=num_speakers,
        classifier="cosine" if use_cosine_linear else "linear",
        num_subcentres=num_subcentres,
        dropout=regularisation.final_dropout,
    )


def speech_network(
    *,
    wav2vec_huggingface_id: str,
    reset_weights: bool,
    wav2vec_initially_frozen: bool,
    num_frozen_steps: NonNegativeInt | None,
    completely_freeze_feature_extractor: bool,
    use_gradient_checkpointing: bool,
    layer_weights: LayerWeighting,
    regularisation: Regularisation,
    speech_head_huggingface_id: str | None,
    ctc_bias_init: CtcBiasInit,
    num_letters: int,
    letter_statistics: LetterStatistics | None,
) -> SpeechNetwork:
    """An upstream with a letter head.

    `letter_statistics` are those of the training data, read for a `ctc_bias_init` of letter_prior.
    """
    check_letter_head(
        ctc_bias_init=ctc_bias_init, speech_head_huggingface_id=speech_head_huggingface_id
    )
    trunk = _trunk(
        wav2vec_huggingface_id=wav2vec_huggingface_id,
        reset_weights=reset_weights,
        wav2vec_initially_frozen=wav2vec_initially_frozen,
        num_frozen_steps=num_frozen_steps,
        completely_freeze_feature_extractor=completely_freeze_feature_extractor,
        use_gradient_checkpointing=use_gradient_checkpointing,
        regularisation=regularisation,
        layer_weights=layer_weights,
        tasks=["speech"],
        stat_pooling_type=None,
        num_shared_transformers=None,
        permute_frames=False,
    )
    head = _speech_head(
        dim=trunk.out_dim,
        num_letters=num_letters,
        regularisation=regularisation,
        huggingface_id=speech_head_huggingface_id,
        ctc_bias_init=ctc_bias_init,
        letter_statistics=letter_statistics,
        num_samples_per_frame=trunk.backbone.num_samples_per_frame,
    )
    return SpeechNetwork(trunk=trunk, head=head)


def speaker_network(
    *,
    wav2vec_huggingface_id: str,
    reset_weights: bool,
    wav2vec_initially_frozen: bool,
    num_frozen_steps: NonNegativeInt | None,
    completely_freeze_feature_extractor: bool,
    use_gradient_checkpointing: bool,
    layer_weights: LayerWeighting,
    regularisation: Regularisation,
    stat_pooling_type: PoolingName,
    use_cosine_linear: bool,
    num_subcentres: PositiveInt,
    explicit_num_speakers: PositiveInt | None,
    random_permutation_mode: Literal["before", "after"] | None,
    num_speakers: int,
) -> SpeakerNetwork:
    """An upstream with pooling and a speaker classifier.

    `explicit_num_speakers` overrides the `num_speakers` that the training data has;
    `random_permutation_mode` shuffles the frames before or after the encoder.
    """
    check_subcentres(num_subcentres=num_subcentres, use_cosine_linear=use_cosine_linear)
    check_num_speakers(explicit_num_speakers=explicit_num_speakers, num_speakers=num_speakers)
    trunk = _trunk(
        wav2vec_huggingface_id=wav2vec_huggingface_id,
        reset_weights=reset_weights,
        wav2vec_initially_frozen=wav2vec_initially_frozen,
        num_frozen_steps=num_frozen_steps,
        completely_freeze_feature_extractor=completely_freeze_feature_extractor,
        use_gradient_checkpointing=use_gradient_checkpointing,
        regularisation=regularisation,
        layer_weights=layer_weights,
        tasks=["speaker"],
        stat_pooling_type=stat_pooling_type,
        num_shared_transformers=None,
        permute_frames=random_permutation_mode == "before",
    )
    head = _speaker_head(
        dim=trunk.out_dim,
        num_speakers=explicit_num_speakers or num_speakers,
        regularisation=regularisation,
        stat_pooling_type=stat_pooling_type,
        use_cosine_linear=use_cosine_linear,
        num_subcentres=num_subcentres,
    )
    permutation = None
    if random_permutation_mode == "after":
        permutation = FramePermutation(num_class_tokens=trunk.num_class_tokens)
    return SpeakerNetwork(trunk=trunk, head=head, permutation=permutation)


def multi_task_network(
    *,
    wav2vec_huggingface_id: str,
    reset_weights: bool,
    wav2vec_initially_frozen: bool,
    num_frozen_steps: NonNegativeInt | None,
    completely_freeze_feature_extractor: bool,
    use_gradient_checkpointing: bool,
    layer_weights: LayerWeighting,
    regularisation: Regularisation,
    stat_pooling_type: PoolingName,
    use_cosine_linear: bool,
    num_subcentres: PositiveInt,
    explicit_num_speakers: PositiveInt | None,
    speech_head_huggingface_id: str | None,
    ctc_bias_init: CtcBiasInit,
    use_multi_branch_encoder: bool,
    num_shared_transformers: NonNegativeInt,
    num_speaker_dimensions: PositiveInt | None,
    enable_ctc_pool_speaker_embedding: bool,
    enable_ctc_pool_no_grad: bool,
    ctc_pool_on_blank_embeddings: bool,
    ctc_blank_idx: NonNegativeInt,
    num_letters: int,
    letter_statistics: LetterStatistics | None,
    num_speakers: int,
) -> MultiTaskNetwork:
    """An upstream with both heads; sharing is plain, branched, split, letter-guided, or all."""
    check_guided_pooling(
        enable_ctc_pool_speaker_embedding=enable_ctc_pool_speaker_embedding,
        stat_pooling_type=stat_pooling_type,
    )
    check_subcentres(num_subcentres=num_subcentres, use_cosine_linear=use_cosine_linear)
    check_letter_head(
        ctc_bias_init=ctc_bias_init, speech_head_huggingface_id=speech_head_huggingface_id
    )
    check_num_speakers(explicit_num_speakers=explicit_num_speakers, num_speakers=num_speakers)
    # Before weights are loaded, which takes long.
    config = upstream_config(wav2vec_huggingface_id, reset_weights=reset_weights)
    check_split(num_speaker_dimensions=num_speaker_dimensions, dim=config.hidden_size)
    if use_multi_branch_encoder:
        check_branches(
            num_shared_transformers=num_shared_transformers, num_layers=config.num_hidden_layers
        )
    trunk = _trunk(
        wav2vec_huggingface_id=wav2vec_huggingface_id,
        reset_weights=reset_weights,
        wav2vec_initially_frozen=wav2vec_initially_frozen,
        num_frozen_steps=num_frozen_steps,
        completely_freeze_feature_extractor=completely_freeze_feature_extractor,
        use_gradient_checkpointing=use_gradient_checkpointing,
        regularisation=regularisation,
        layer_weights=layer_weights,
        tasks=["speech", "speaker"],
        stat_pooling_type=stat_pooling_type,
        num_shared_transformers=num_shared_transformers if use_multi_branch_encoder else None,
        permute_frames=False,
    )
    speech_dim = trunk.out_dim - (num_speaker_dimensions or 0)
    return MultiTaskNetwork(
        trunk=trunk,
        speech_head=_speech_head(
            dim=speech_dim,
            num_letters=num_letters,
            regularisation=regularisation,
            huggingface_id=speech_head_huggingface_id,
            ctc_bias_init=ctc_bias_init,
            letter_statistics=letter_statistics,
            num_samples_per_frame=trunk.backbone.num_samples_per_frame,
        ),
        speaker_head=_speaker_head(
            dim=num_speaker_dimensions or trunk.out_dim,
            num_speakers=explicit_num_speakers or num_speakers,
            regularisation=regularisation,
            stat_pooling_type=stat_pooling_type,
            use_cosine_linear=use_cosine_linear,
            num_subcentres=num_subcentres,
        ),
        num_speaker_dimensions=num_speaker_dimensions,
        letter_guided_pooling=LetterGuidedPooling(
            blank_index=ctc_blank_idx,
            pool_blanks=ctc_pool_on_blank_embeddings,
            without_gradient=enable_ctc_pool_no_grad,
        )
        if enable_ctc_pool_speaker_embedding
        else None,
    )
