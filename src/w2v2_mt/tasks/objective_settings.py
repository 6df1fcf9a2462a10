"""The settings of the objectives of speech and speaker recognition, and of their test."""

from dataclasses import dataclass
from typing import Literal

from w2v2_mt.core.constraints import PositiveFloat, PositiveInt, SeveralInt
from w2v2_mt.core.trials import ScoreNormalisation
from w2v2_mt.core.units import MIN_UTTERANCE_SAMPLES, seconds_from_samples
from w2v2_mt.data.speaker import VAL_SET, SpeakerData
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.decoding.beam_search import BeamSearch, BeamSearchSettings
from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.speaker_loss import SpeakerLoss
from w2v2_mt.tasks.objective import ObjectiveSettings
from w2v2_mt.tasks.speaker import SpeakerObjective
from w2v2_mt.tasks.speaker_evaluation import SpeakerEvaluation
from w2v2_mt.tasks.speech import SpeechObjective
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """The settings of a test, `evaluation`. Validation uses plain cosines and greedy decoding."""

    score_normalisation: ScoreNormalisation
    cohort_size: SeveralInt
    cohort_utterances_per_speaker: PositiveInt
    durations_sec: list[PositiveFloat]
    decoder: Literal["greedy", "beam"]
    beam_search: BeamSearchSettings

    def __post_init__(self) -> None:
        """Refuse durations without a frame, which would end a run only in its test."""
        least_sec = seconds_from_samples(MIN_UTTERANCE_SAMPLES)
        for duration_sec in self.durations_sec:
            if duration_sec < least_sec:
                raise ValueError(
                    f"evaluation.durations_sec ({duration_sec:g}) must be at least {least_sec:g} "
                    "s, one frame. Raise it."
                )


@dataclass(frozen=True, kw_only=True)
class SpeechObjectiveSettings(ObjectiveSettings):
    """The settings of the objective of the speech task.

    Args:
        ctc_blank_idx: The index of the blank in the network, if it uses one.
    """

    loss: CtcLoss
    tokenizer: Tokenizer
    evaluation: EvaluationSettings
    ctc_blank_idx: int | None = None

    def __post_init__(self) -> None:
        blank_index, of_network = self.tokenizer.blank_index, self.ctc_blank_idx
        if {self.loss.blank_index, of_network} - {blank_index, None}:
            key = "optim.loss.blank_index" if of_network is None else "network.ctc_blank_idx"
            raise ValueError(
                f"The blank index of the loss ({self.loss.blank_index}) must be that of the "
                f"vocabulary ({blank_index}). Set {key}={blank_index}."
            )

    def build(self, data: SpeechData) -> SpeechObjective:
        """Build the objective, with the language model of the decoder if it has one."""
        beam_search = None
        if self.evaluation.decoder == "beam":
            settings = self.evaluation.beam_search
            beam_search = BeamSearch(settings=settings, tokenizer=self.tokenizer)
        evaluation = SpeechEvaluation(
            loss=self.loss,
            tokenizer=self.tokenizer,
            val_sets=list(data.corpus.val_sets),
            beam_search=beam_search,
        )
        return SpeechObjective(evaluation)


@dataclass(frozen=True, kw_only=True)
class SpeakerObjectiveSettings(ObjectiveSettings):
    """The settings of the objective of the speaker task.

    Args:
        has_cosine_logits: The network classifies speakers by cosine.
    """

    loss: SpeakerLoss
    has_cosine_logits: bool
    evaluation: EvaluationSettings

    def __post_init__(self) -> None:
        if self.loss.takes_cosines != self.has_cosine_logits:
            raise ValueError(
                f"network.use_cosine_linear ({str(self.has_cosine_logits).lower()}) must be "
                f"{str(self.loss.takes_cosines).lower()} for {type(self.loss).__name__}. Change it "
                "or choose another loss."
            )

    def build(self, data: SpeakerData) -> SpeakerObjective:
        """Build the objective, with the trials of the data."""
        evaluation = SpeakerEvaluation(
            loss=self.loss,
            val_trials=data.val_trial_lists[VAL_SET],
            test_trials=data.test_trial_lists,
            normalisation=self.evaluation.score_normalisation,
            cohort_size=self.evaluation.cohort_size,
            durations_sec=self.evaluation.durations_sec,
        )
        return SpeakerObjective(evaluation)
