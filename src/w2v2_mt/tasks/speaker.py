"""The speaker task: an embedding of a voice, trained by classification, judged by verification."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.voxceleb import VAL_SET
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.metrics.verification import equal_error_rate
from w2v2_mt.models.networks import SpeakerNetwork, SpeakerOutput
from w2v2_mt.tasks.base import Optimisation
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials, SpeakerEvaluation
from w2v2_mt.tasks.trial_scoring import TrialLists, TrialScoring


class SpeakerTask(pl.LightningModule):
    """Wires a speaker network to its loss, its metrics and the log."""

    def __init__(
        self,
        *,
        network: SpeakerNetwork,
        loss: AamSoftmaxLoss | CrossEntropyLoss,
        val_trials: Sequence[Trial],
        test_trials: TrialLists,
        trial_scoring: TrialScoring,
        optimisation: Optimisation,
    ):
        super().__init__()
        self.network = network
        self.loss = loss
        self.val_trials = val_trials
        self.test_trials = test_trials
        self.trial_scoring = trial_scoring
        self.optimisation = optimisation
        self.speaker_evaluation = SpeakerEvaluation(loss)
        self.scored_trials: dict[str, ScoredTrials] = {}

    def configure_optimizers(self) -> Any:
        return self.optimisation.configure(self.network)

    def on_train_batch_start(self, batch: SpeakerBatch, batch_idx: int) -> None:
        self.network.trunk.update_freezing(step=self.global_step)
        self.loss.set_step(self.global_step)

    def training_step(self, batch: SpeakerBatch, batch_idx: int) -> Tensor:
        output = self.network(batch.waveforms, batch.num_samples)
        loss = self.loss(output.logits, batch.speaker_indices)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch))
        self.log("train_acc", accuracy(output, batch), batch_size=len(batch))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.speaker_evaluation.reset()

    def validation_step(self, batch: SpeakerBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        output = self.network(batch.waveforms, batch.num_samples)
        self.speaker_evaluation.add_embeddings(batch, output)
        self.speaker_evaluation.add_classification(batch, output)

    def on_validation_epoch_end(self) -> None:
        self.speaker_evaluation.gather()
        self.log_dict(speaker_validation_metrics(self.speaker_evaluation, self.val_trials))

    def on_test_epoch_start(self) -> None:
        self.speaker_evaluation.reset()

    def test_step(self, batch: SpeakerBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        output = self.network(batch.waveforms, batch.num_samples)
        self.speaker_evaluation.add_embeddings(batch, output)

    def on_test_epoch_end(self) -> None:
        self.speaker_evaluation.gather()
        self.scored_trials = self.trial_scoring.score_all(
            self.speaker_evaluation.embeddings, self.test_trials
        )
        self.log_dict(speaker_test_metrics(self.scored_trials))


def accuracy(output: SpeakerOutput, batch: SpeakerBatch) -> Tensor:
    """The share of utterances whose best class is their speaker; logits carry no margin."""
    return (output.logits.argmax(dim=-1) == batch.speaker_indices).float().mean()


def speaker_validation_metrics(
    evaluation: SpeakerEvaluation, trials: Sequence[Trial]
) -> dict[str, float]:
    """The names are those of the log."""
    scored = evaluation.score(trials, set_name=VAL_SET)
    rate, threshold = equal_error_rate(scored.scores, scored.labels)
    metrics = {"val_eer": rate, "val_eer_threshold": threshold}
    classification = evaluation.classification()
    if classification:
        metrics["val_loss_speaker"] = classification["loss"]
        metrics["val_speaker_acc"] = classification["accuracy"]
    return metrics


def speaker_test_metrics(scored_trials: Mapping[str, ScoredTrials]) -> dict[str, float]:
    """The names are those of the log; `mindcf` is at a target prior of 0.05, `_p01` at 0.01.

    `_low` and `_high` are the bounds of a 95 % interval.
    """
    metrics = {}
    for name, scored in scored_trials.items():
        low, high = scored.equal_error_rate_interval()
        metrics[f"test_eer_{name}"] = scored.equal_error_rate()
        metrics[f"test_eer_{name}_low"], metrics[f"test_eer_{name}_high"] = low, high
        metrics[f"test_cllr_{name}"] = scored.cllr()
        metrics[f"test_mindcf_{name}"] = scored.min_dcf(0.05)
        metrics[f"test_mindcf_p01_{name}"] = scored.min_dcf(0.01)
    return metrics
