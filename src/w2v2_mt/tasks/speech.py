"""The objective of the speech task: transcripts, trained with CTC, evaluated by word error rate."""

from functools import partial

from torch import Tensor

from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.padding import padding_mask
from w2v2_mt.metrics.word_error_rate import word_error_rate
from w2v2_mt.models.heads import SpeechOutput
from w2v2_mt.tasks.event_counter import EventCounter
from w2v2_mt.tasks.objective import Objective, ObjectiveResult
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation


class SpeechObjective(Objective):
    """CTC over the tokens of a transcription."""

    evaluation: SpeechEvaluation

    def __init__(self, evaluation: SpeechEvaluation):
        super().__init__(evaluation)
        self.loss = evaluation.loss
        self.unalignable = EventCounter()

    def forward(self, output: SpeechOutput, batch: SpeechBatch) -> ObjectiveResult:
        """Compute the CTC loss of a batch, and count the utterances that it skips."""
        result = self.loss(output.logits, output.num_frames, batch.tokens, batch.num_tokens)
        self.unalignable.add(result.num_unalignable)
        return ObjectiveResult(loss=result.loss, diagnostics=partial(self._diagnose, output, batch))

    def _diagnose(self, output: SpeechOutput, batch: SpeechBatch) -> dict[str, Tensor | float]:
        # A high share of blank frames shows a network that has not begun to emit tokens.
        is_valid = padding_mask(output.num_frames, output.logits.shape[1])
        is_blank = output.logits.argmax(dim=-1) == self.loss.blank_index
        texts = self.evaluation.decode_greedily(output)
        return {
            "train_wer": word_error_rate(batch.transcriptions, texts),
            "train_blank_share": (is_blank & is_valid).sum() / is_valid.sum(),
            "train_num_unalignable": self.unalignable.total.float(),
        }
