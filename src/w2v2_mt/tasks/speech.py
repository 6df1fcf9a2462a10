"""The speech task: letters from waveforms, trained with CTC, judged by word error rate."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.padding import real_mask
from w2v2_mt.data.beam_search import BeamSearch
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.losses.ctc import CtcLoss, CtcResult
from w2v2_mt.metrics.word_error_rate import Edits, error_rate, word_error_rate
from w2v2_mt.models.networks import SpeechNetwork, SpeechOutput
from w2v2_mt.tasks.base import Optimisation, is_logging_step
from w2v2_mt.tasks.event_count import EventCount
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation


class SpeechTask(pl.LightningModule):
    """Wires a speech network to its loss, its metrics and the log."""

    def __init__(
        self,
        *,
        network: SpeechNetwork,
        loss: CtcLoss,
        tokenizer: LetterTokenizer,
        optimisation: Optimisation,
        beam_search: BeamSearch | None = None,
    ):
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimisation = optimisation
        self.speech_evaluation = SpeechEvaluation(tokenizer, beam_search=beam_search)
        self.unalignable = EventCount()

    def configure_optimizers(self) -> Any:
        return self.optimisation.configure(self.network)

    def on_train_batch_start(self, batch: SpeechBatch, batch_idx: int) -> None:
        self.network.trunk.update_freezing(step=self.global_step)

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        output = self.network(batch.waveforms, batch.num_samples)
        result = speech_loss(self.loss, output, batch)
        self.log("train_loss", result.loss, prog_bar=True, batch_size=len(batch))
        self.unalignable.add(result.num_unalignable)
        if is_logging_step(self):
            diagnostics = speech_diagnostics(self.speech_evaluation, output, batch)
            diagnostics["train_num_unalignable"] = self.unalignable.total.float()
            self.log_dict(diagnostics, batch_size=len(batch))
        return result.loss

    def on_validation_epoch_start(self) -> None:
        self.speech_evaluation.reset()

    def validation_step(self, batch: SpeechBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        output = self.network(batch.waveforms, batch.num_samples)
        self.speech_evaluation.add(batch, output, speech_loss(self.loss, output, batch).loss)

    def on_validation_epoch_end(self) -> None:
        self.speech_evaluation.gather()
        rates, losses = self.speech_evaluation.word_error_rates(), self.speech_evaluation.losses()
        self.log_dict({f"val_loss_{name}": loss for name, loss in losses.items()})
        self.log_dict({f"val_wer_{name}": rate for name, rate in rates.items()}, prog_bar=True)

    def on_test_epoch_start(self) -> None:
        self.speech_evaluation.reset()

    def test_step(self, batch: SpeechBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        output = self.network(batch.waveforms, batch.num_samples)
        self.speech_evaluation.add_tested(batch, output)

    def on_test_epoch_end(self) -> None:
        self.speech_evaluation.gather()
        self.log_dict(speech_test_metrics(self.speech_evaluation))


def speech_loss(loss: CtcLoss, output: SpeechOutput, batch: SpeechBatch) -> CtcResult:
    """CTC of the letters of a batch."""
    return loss(output.logits, output.num_frames, batch.letters, batch.num_letters)


def speech_diagnostics(
    evaluation: SpeechEvaluation, output: SpeechOutput, batch: SpeechBatch
) -> dict[str, Tensor | float]:
    """What a training step tells of its speech batch, apart from its loss.

    The share of blank frames shows a network that has not begun to emit letters.
    """
    real = real_mask(output.num_frames, output.logits.shape[1])
    blank = (output.logits.argmax(dim=-1) == evaluation.tokenizer.blank_index) & real
    return {
        "train_wer": word_error_rate(batch.transcriptions, evaluation.decode(output)),
        "train_blank_share": blank.sum() / real.sum(),
    }


def speech_test_metrics(evaluation: SpeechEvaluation) -> dict[str, float]:
    """The names are those of the log; `_low` and `_high` are the bounds of a 95 % interval.

    Substitutions, deletions and insertions are counts of words behind a word error rate, beside
    `_num_words` of references; of characters behind a character error rate.
    """
    rates, intervals = evaluation.word_error_rates(), evaluation.word_error_rate_intervals()
    metrics = {f"test_wer_{name}": rate for name, rate in rates.items()}
    for name, (low, high) in intervals.items():
        metrics[f"test_wer_{name}_low"], metrics[f"test_wer_{name}_high"] = low, high
    for name, edits in evaluation.word_edits().items():
        metrics |= _counts(f"test_wer_{name}", edits, unit="words")
    for name, edits in evaluation.character_edits().items():
        metrics[f"test_cer_{name}"] = error_rate([edits])
        metrics |= _counts(f"test_cer_{name}", edits, unit="characters")
    return metrics


def _counts(name: str, edits: Edits, *, unit: str) -> dict[str, float]:
    return {
        f"{name}_substitutions": edits.substitutions,
        f"{name}_deletions": edits.deletions,
        f"{name}_insertions": edits.insertions,
        f"{name}_num_{unit}": edits.num_references,
    }
