"""The multi-task job: letters and speakers from one trunk, a batch of each at every step."""

from collections.abc import Sequence
from statistics import mean
from typing import Any, TypedDict

import pytorch_lightning as pl
from torch import Tensor

from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.beam_search import BeamSearch
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.losses.multi_task import MultiTaskLoss, MultiTaskLossResult
from w2v2_mt.models.networks import MultiTaskNetwork
from w2v2_mt.tasks.base import Optimisation, is_logging_step
from w2v2_mt.tasks.event_count import EventCount
from w2v2_mt.tasks.speaker import accuracy, speaker_test_metrics, speaker_validation_metrics
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials, SpeakerEvaluation
from w2v2_mt.tasks.speech import speech_diagnostics, speech_loss, speech_test_metrics
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation
from w2v2_mt.tasks.trial_scoring import TrialLists, TrialScoring


class MultiTaskBatch(TypedDict):
    """One batch of each task."""

    speech: SpeechBatch
    speaker: SpeakerBatch


class MultiTask(pl.LightningModule):
    """Wires a multi-task network to its losses, their weights, its metrics and the log."""

    def __init__(
        self,
        *,
        network: MultiTaskNetwork,
        loss: MultiTaskLoss,
        tokenizer: LetterTokenizer,
        val_trials: Sequence[Trial],
        test_trials: TrialLists,
        trial_scoring: TrialScoring,
        optimisation: Optimisation,
        beam_search: BeamSearch | None = None,
    ):
        super().__init__()
        self.network = network
        self.loss = loss
        self.val_trials = val_trials
        self.test_trials = test_trials
        self.trial_scoring = trial_scoring
        self.optimisation = optimisation
        self.speech_evaluation = SpeechEvaluation(tokenizer, beam_search=beam_search)
        self.speaker_evaluation = SpeakerEvaluation(loss.speaker_loss)
        self.unalignable, self.without_selection = EventCount(), EventCount()
        self.scored_trials: dict[str, ScoredTrials] = {}
        self.result: MultiTaskLossResult | None = None  # between forward and backward pass
        self.compares_gradients = False

    def configure_optimizers(self) -> Any:
        return self.optimisation.configure(
            self,
            loss_weights=list(self.loss.weighting.parameters()),
            weight_lr=self.loss.weight_lr,
        )

    def on_train_batch_start(self, batch: MultiTaskBatch, batch_idx: int) -> None:
        self.network.trunk.update_freezing(step=self.global_step)
        self.loss.speaker_loss.set_step(self.global_step)

    def training_step(self, batch: MultiTaskBatch, batch_idx: int) -> Tensor:
        speech, speaker = batch["speech"], batch["speaker"]
        letters = self.network.speech(speech.waveforms, speech.num_samples)
        speakers = self.network.speaker(speaker.waveforms, speaker.num_samples)
        result = self.loss(
            letters.logits,
            letters.num_frames,
            speech.letters,
            speech.num_letters,
            speakers.logits,
            speaker.speaker_indices,
        )
        self.log("train_loss", result.loss, prog_bar=True, batch_size=1)
        for task, loss in result.losses.items():
            self.log(f"train_{task}_loss", loss, prog_bar=True, batch_size=1)
            self.log(f"train_{task}_loss_weight", result.weights[task], batch_size=1)
        self.log("train_acc", accuracy(speakers, speaker), batch_size=1)
        self.unalignable.add(result.num_unalignable)
        if speakers.num_without_selection is not None:
            self.without_selection.add(speakers.num_without_selection)
            self.log(
                "train_num_without_selection", self.without_selection.total.float(), batch_size=1
            )
        if is_logging_step(self):
            diagnostics = speech_diagnostics(self.speech_evaluation, letters, speech)
            diagnostics["train_num_unalignable"] = self.unalignable.total.float()
            self.log_dict(diagnostics, batch_size=1)
        self.result = result
        self.compares_gradients = self._is_comparison(batch_idx)
        return result.loss

    def backward(self, loss: Tensor) -> None:
        """Lightning's, unless somebody wants to see the gradients of the two tasks apart."""
        result, self.result = self.result, None
        assert result is not None
        is_apart = self.loss.needs_gradients_apart or self.compares_gradients
        # A frozen trunk has no shared gradient.
        if not is_apart or self.network.trunk.is_frozen:
            super().backward(loss)
            return
        geometry = self.loss.backward_apart(
            loss,
            result,
            shared=self.network.shared_parameters(),
            others=self.network.unshared_parameters(),
        )
        if self.compares_gradients:
            metrics = {
                f"train_{task}_gradient_norm": float(norm) for task, norm in geometry.norms.items()
            }
            metrics["train_gradient_cosine"] = float(geometry.cosine)
            # Written here, as what is logged otherwise waits for the interval of the Trainer.
            for logger in self.loggers:
                logger.log_metrics(metrics, step=self.global_step)

    def _is_comparison(self, batch_idx: int) -> bool:
        """True for the first batch pair of each Nth optimiser step."""
        interval = self.loss.gradient_diagnostics_every_n_steps
        if interval is None or batch_idx % self.trainer.accumulate_grad_batches != 0:
            return False
        return (self.global_step + 1) % interval == 0

    def on_validation_epoch_start(self) -> None:
        self.speech_evaluation.reset()
        self.speaker_evaluation.reset()

    def validation_step(
        self, batch: SpeechBatch | SpeakerBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if isinstance(batch, SpeechBatch):
            letters = self.network.speech(batch.waveforms, batch.num_samples)
            loss = speech_loss(self.loss.ctc_loss, letters, batch).loss
            self.speech_evaluation.add(batch, letters, loss)
        else:
            speakers = self.network.speaker(batch.waveforms, batch.num_samples)
            self.speaker_evaluation.add_embeddings(batch, speakers)
            self.speaker_evaluation.add_classification(batch, speakers)

    def on_validation_epoch_end(self) -> None:
        self.speech_evaluation.gather()
        self.speaker_evaluation.gather()
        rates, losses = self.speech_evaluation.word_error_rates(), self.speech_evaluation.losses()
        speaker_metrics = speaker_validation_metrics(self.speaker_evaluation, self.val_trials)
        self.log_dict({f"val_loss_speech_{name}": loss for name, loss in losses.items()})
        self.log_dict({f"val_wer_{name}": rate for name, rate in rates.items()})
        self.log_dict(speaker_metrics)
        score = 0.5 * mean(rates.values()) + 0.5 * speaker_metrics["val_eer"]
        self.log("val_score", score, prog_bar=True)

    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    def test_step(
        self, batch: SpeechBatch | SpeakerBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if isinstance(batch, SpeechBatch):
            letters = self.network.speech(batch.waveforms, batch.num_samples)
            self.speech_evaluation.add_tested(batch, letters)
        else:
            speakers = self.network.speaker(batch.waveforms, batch.num_samples)
            self.speaker_evaluation.add_embeddings(batch, speakers)

    def on_test_epoch_end(self) -> None:
        self.speech_evaluation.gather()
        self.speaker_evaluation.gather()
        self.log_dict(speech_test_metrics(self.speech_evaluation))
        self.scored_trials = self.trial_scoring.score_all(
            self.speaker_evaluation.embeddings, self.test_trials
        )
        self.log_dict(speaker_test_metrics(self.scored_trials))
