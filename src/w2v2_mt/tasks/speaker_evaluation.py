"""Speaker recognition results on evaluation sets: embeddings, scored trials and error rates."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from w2v2_mt.core.batches import UNKNOWN_SPEAKER_INDEX, SpeakerBatch
from w2v2_mt.core.constraints import PositiveFloat, SeveralInt
from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.core.finite import check_finite
from w2v2_mt.core.samples import speaker_of
from w2v2_mt.core.trials import ScoreNormalisation, Trial
from w2v2_mt.data.speaker import COHORT_SET, TEST_SET, VAL_SET, beginnings_set, duration_name
from w2v2_mt.losses.speaker_loss import SpeakerLoss
from w2v2_mt.metrics.bootstrap import equal_error_rate_interval
from w2v2_mt.metrics.score_normalisation import normalise_scores
from w2v2_mt.metrics.verification import cllr, equal_error_rate, min_dcf, trial_scores
from w2v2_mt.models.heads import SpeakerOutput
from w2v2_mt.tasks.evaluation import Evaluation, Metrics, merge
from w2v2_mt.tasks.transcripts import speaker_file


@dataclass(frozen=True, kw_only=True)
class ScoredTrials:
    """A trial list with the score of each trial.

    `speakers` are those of the utterances by their keys, where the metadata names them.
    """

    trials: Sequence[Trial]
    scores: np.ndarray
    speakers: Mapping[str, str] = field(default_factory=dict)

    def test_metrics(self, name: str) -> Metrics:
        """Return the metrics of the list of this name.

        `mindcf` is at a target prior of 0.05, `mindcf_p01` at 0.01; `_low` and `_high` are the
        bounds of a 95 % interval over speakers.
        """
        scores, labels = self.scores, [trial.same_speaker for trial in self.trials]
        pairs = [
            (speaker_of(trial.left_key, self.speakers), speaker_of(trial.right_key, self.speakers))
            for trial in self.trials
        ]
        low, high = equal_error_rate_interval(scores, labels, pairs)
        return {
            f"test_eer_{name}": equal_error_rate(scores, labels)[0],
            f"test_eer_{name}_low": low,
            f"test_eer_{name}_high": high,
            f"test_cllr_{name}": cllr(scores, labels),
            f"test_mindcf_{name}": min_dcf(scores, labels, p_target=0.05)[0],
            f"test_mindcf_p01_{name}": min_dcf(scores, labels, p_target=0.01)[0],
        }


@dataclass(kw_only=True, eq=False)
class SpeakerEvaluation(Evaluation):
    """Embeddings of each set, and losses and hits of the classifier over training speakers.

    The trial lists of a test are scored for whole utterances and for beginnings of `durations_sec`;
    a shorter utterance is used whole.
    """

    loss: SpeakerLoss
    val_trials: Sequence[Trial]
    test_trials: Mapping[str, Sequence[Trial]]
    normalisation: ScoreNormalisation
    cohort_size: SeveralInt
    durations_sec: Sequence[PositiveFloat]

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.embeddings: dict[str, dict[str, Tensor]] = {}
        self.scored_trials: dict[str, ScoredTrials] = {}
        self.speakers: dict[str, str] = {}
        self._sums = np.zeros(3)  # losses, hits and number of utterances of training speakers

    def add_tested(self, output: SpeakerOutput, batch: SpeakerBatch) -> None:
        """Add the embeddings of a batch, which must be finite."""
        check_finite(output.embeddings, what="embeddings", keys=batch.keys)
        embeddings = self.embeddings.setdefault(batch.set_name, {})
        embeddings.update(zip(batch.keys, output.embeddings.float().cpu(), strict=True))
        self.speakers.update(zip(batch.keys, batch.speakers, strict=True))

    def add_validated(self, output: SpeakerOutput, batch: SpeakerBatch) -> None:
        """Add the embeddings of a batch, and loss and hits of the training speakers in it."""
        self.add_tested(output, batch)
        is_known = batch.speaker_indices != UNKNOWN_SPEAKER_INDEX
        indices, logits = batch.speaker_indices[is_known], output.logits[is_known]
        if len(indices) > 0:
            if int(indices.max()) >= logits.shape[1]:
                key = batch.keys[int(batch.speaker_indices.argmax())]
                raise ValueError(
                    f"The speaker_id_idx of utterance {key} ({int(indices.max())}) must be below "
                    f"{logits.shape[1]}, the number of training speakers. Write the validation "
                    "shards again."
                )
            num_hits = int((logits.argmax(dim=-1) == indices).sum())
            mean_loss = float(self.loss(logits, indices))
            self._sums += (mean_loss * len(indices), num_hits, len(indices))

    def gather(self) -> None:
        parts = gather_from_processes((self.embeddings, self._sums, self.speakers))
        self.reset()
        for embeddings, sums, speakers in parts:
            self.speakers.update(speakers)
            for set_name, embedded in embeddings.items():
                self.embeddings.setdefault(set_name, {}).update(embedded)
            self._sums += sums

    def validation_names(self, *, is_only_task: bool) -> list[str]:
        return ["val_eer", "val_eer_threshold", "val_loss_speaker", "val_speaker_acc"]

    def validation_metrics(self, *, is_only_task: bool) -> Metrics:
        """Return the verification metrics, and those of the classifier if it was evaluated."""
        scores = trial_scores(self.embeddings.get(VAL_SET, {}), self.val_trials)
        labels = [trial.same_speaker for trial in self.val_trials]
        rate, threshold = equal_error_rate(scores, labels)
        metrics = {"val_eer": rate, "val_eer_threshold": threshold}
        summed_loss, num_hits, num_classified = self._sums.tolist()
        if num_classified > 0:
            metrics["val_loss_speaker"] = summed_loss / num_classified
            metrics["val_speaker_acc"] = num_hits / num_classified
        return metrics

    def score(self, metrics: Mapping[str, float]) -> float:
        return metrics["val_eer"]

    def test_metrics(self) -> Metrics:
        self.scored_trials = self.score_trials()
        return merge(scored.test_metrics(name) for name, scored in self.scored_trials.items())

    def score_trials(self) -> dict[str, ScoredTrials]:
        """Score the test lists: `<name>` for whole utterances, `<name>_<N>s` for beginnings."""
        whole = self.embeddings.get(TEST_SET, {})
        by_suffix = {"": whole}
        for duration_sec in self.durations_sec:
            beginnings = self.embeddings.get(beginnings_set(duration_sec), {})
            by_suffix[f"_{duration_name(duration_sec)}"] = {**whole, **beginnings}
        by_speaker: dict[str, list[Tensor]] = defaultdict(list)
        for key, embedding in sorted(self.embeddings.get(COHORT_SET, {}).items()):
            by_speaker[speaker_of(key, self.speakers)].append(embedding)
        cohort = {speaker: torch.stack(each).mean(dim=0) for speaker, each in by_speaker.items()}
        scored = {}
        for suffix, embeddings in by_suffix.items():
            for name, trials in self.test_trials.items():
                scores = trial_scores(embeddings, trials)
                if self.normalisation != "none":
                    scores = normalise_scores(
                        scores,
                        trials,
                        embeddings=embeddings,
                        cohort=cohort,
                        speakers=self.speakers,
                        cohort_size=self.cohort_size if self.normalisation == "as_norm" else None,
                    )
                scored[f"{name}{suffix}"] = ScoredTrials(
                    trials=trials, scores=scores, speakers=self.speakers
                )
        return scored

    def test_files(self) -> dict[str, list[str]]:
        """Return label, score and both keys of each trial, and speakers that no key names."""
        tested = {
            key: self.speakers[key]
            for scored in self.scored_trials.values()
            for trial in scored.trials
            for key in (trial.left_key, trial.right_key)
            if key in self.speakers
        }
        return speaker_file("trial_speakers.tsv", tested) | {
            f"scores_{name}.txt": [
                f"{int(trial.same_speaker)} {score:.9g} {trial.left_key} {trial.right_key}"
                for trial, score in zip(scored.trials, scored.scores, strict=True)
            ]
            for name, scored in self.scored_trials.items()
        }
