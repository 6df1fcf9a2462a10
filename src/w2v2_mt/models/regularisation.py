"""How strongly a network is regularised: dropouts, layer drop and SpecAugment."""

from dataclasses import dataclass

from w2v2_mt.core.constraints import PositiveInt, Probability


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """Probabilities of a whole network; the names are those of HuggingFace's `Wav2Vec2Config`.

    `mask_time_prob` and `mask_feature_prob` are the shares of frames and of feature dimensions that
    would be masked if spans never overlapped.
    """

    activation_dropout: Probability
    attention_dropout: Probability
    feat_proj_dropout: Probability
    hidden_dropout: Probability
    final_dropout: Probability
    layerdrop: Probability
    mask_feature_length: PositiveInt
    mask_feature_prob: Probability
    mask_time_length: PositiveInt
    mask_time_prob: Probability
