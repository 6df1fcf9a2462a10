"""The loss of a multi-task run: one scalar from the losses of the speech and the speaker task."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import PositiveFloat, Probability, SeveralInt
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.weighting import ScaleMethod, build_weighting


@dataclass(frozen=True, kw_only=True)
class MultiTaskLossResult:
    """The weighted sum, and what went into it by task ("speech", "speaker").

    `losses` still carry their gradient, `weights` never had one.
    """

    loss: Float[Tensor, ""]
    losses: dict[str, Float[Tensor, ""]]
    weights: dict[str, Float[Tensor, ""]]
    num_unalignable: Int[Tensor, ""]


class MultiTaskLoss(nn.Module):
    """sum_i w_i * L_i over speech and speaker, weighted by `scale_method` (see weighting.py)."""

    def __init__(
        self,
        *,
        ctc_loss: CtcLoss,
        speaker_loss: AamSoftmaxLoss | CrossEntropyLoss,
        scale_method: ScaleMethod | None,
        static_speech_weight: Probability,
        dwa_weight_sum: PositiveFloat,
        dwa_temperature: PositiveFloat,
        dwa_window: SeveralInt,
    ):
        super().__init__()
        self.ctc_loss = ctc_loss
        self.speaker_loss = speaker_loss
        self.weighting = build_weighting(
            scale_method=scale_method,
            static_speech_weight=static_speech_weight,
            dwa_weight_sum=dwa_weight_sum,
            dwa_temperature=dwa_temperature,
            dwa_window=dwa_window,
        )

    def forward(
        self,
        speech_logits: Float[Tensor, "speech_batch time classes"],
        num_frames: Int[Tensor, " speech_batch"],
        letters: Int[Tensor, "speech_batch letters"],
        num_letters: Int[Tensor, " speech_batch"],
        speaker_logits: Float[Tensor, "speaker_batch speakers"],
        speaker_indices: Int[Tensor, " speaker_batch"],
    ) -> MultiTaskLossResult:
        speech = self.ctc_loss(speech_logits, num_frames, letters, num_letters)
        losses = {
            "speech": speech.loss,
            "speaker": self.speaker_loss(speaker_logits, speaker_indices),
        }
        weights = self.weighting(losses)
        return MultiTaskLossResult(
            loss=weights["speech"] * losses["speech"] + weights["speaker"] * losses["speaker"],
            losses=losses,
            weights=weights,
            num_unalignable=speech.num_unalignable,
        )
