"""Which settings of a network exclude each other; nothing heavy is imported to say so.

Each function raises ValueError with one sentence.
"""

GUIDABLE_POOLINGS = ("mean", "mean+std")
"""Poolings that can be narrowed to frames with a letter."""


def check_guided_pooling(
    *, enable_ctc_pool_speaker_embedding: bool, stat_pooling_type: str
) -> None:
    if enable_ctc_pool_speaker_embedding and stat_pooling_type not in GUIDABLE_POOLINGS:
        raise ValueError(
            f"network.stat_pooling_type={stat_pooling_type!r} cannot be guided by letters; choose "
            f"one of {list(GUIDABLE_POOLINGS)} or set "
            "network.enable_ctc_pool_speaker_embedding=false."
        )


def check_subcentres(*, num_subcentres: int, use_cosine_linear: bool) -> None:
    if num_subcentres > 1 and not use_cosine_linear:
        raise ValueError(
            f"network.num_subcentres={num_subcentres} needs a cosine classifier; set it to 1 or "
            "set network.use_cosine_linear=true."
        )


def check_letter_head(*, ctc_bias_init: str, speech_head_huggingface_id: str | None) -> None:
    if ctc_bias_init == "letter_prior" and speech_head_huggingface_id is not None:
        raise ValueError(
            f"network.ctc_bias_init={ctc_bias_init!r} would replace the bias of "
            f"network.speech_head_huggingface_id={speech_head_huggingface_id!r}; set the former to "
            "zero or the latter to null."
        )


def check_split(*, num_speaker_dimensions: int | None, dim: int) -> None:
    """`dim` is the width of a frame."""
    if num_speaker_dimensions is not None and num_speaker_dimensions >= dim:
        raise ValueError(
            f"network.num_speaker_dimensions={num_speaker_dimensions} leaves no dimension for "
            f"speech; choose 1 to {dim - 1} for this encoder, or null for no split."
        )


def check_branches(*, num_shared_transformers: int, num_layers: int) -> None:
    """Of an encoder with `num_layers`."""
    if not 0 <= num_shared_transformers < num_layers:
        raise ValueError(
            f"network.num_shared_transformers={num_shared_transformers} leaves no layer for the "
            f"branches of an encoder with {num_layers} layers; choose 0 to {num_layers - 1}."
        )


def check_num_speakers(*, explicit_num_speakers: int | None, num_speakers: int) -> None:
    """`num_speakers` is what the training data has."""
    if explicit_num_speakers is not None and explicit_num_speakers < num_speakers:
        raise ValueError(
            f"network.explicit_num_speakers={explicit_num_speakers} is less than the "
            f"{num_speakers} speakers of the training data; raise it or set it to null."
        )
