"""From checked settings to a job: the task and the data of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

import pytorch_lightning as pl
from hydra.utils import get_object
from pytorch_lightning.callbacks import ModelCheckpoint

from w2v2_mt.app.callbacks import StopWhenAllStalled
from w2v2_mt.app.dev_metric import dev_metric, word_error_rates
from w2v2_mt.app.instantiation import Config, instantiate
from w2v2_mt.app.trained import TrainedNetwork
from w2v2_mt.core.letters import LetterStatistics
from w2v2_mt.data.beam_search import BeamSearch
from w2v2_mt.data.joint import JointData
from w2v2_mt.data.librispeech import LibriSpeechData
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.data.voxceleb import VoxCelebData
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.models.networks import MultiTaskNetwork, SpeakerNetwork, SpeechNetwork
from w2v2_mt.tasks.base import Optimisation
from w2v2_mt.tasks.multi_task import MultiTask
from w2v2_mt.tasks.speaker import SpeakerTask
from w2v2_mt.tasks.speech import SpeechTask
from w2v2_mt.tasks.trial_scoring import TrialScoring

Task = SpeechTask | SpeakerTask | MultiTask

_SPEAKER_METRICS = ("val_eer", "val_eer_threshold", "val_speaker_acc", "val_loss_speaker")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a Trainer needs, and what is remembered of the data in a checkpoint."""

    task: Task
    data: pl.LightningDataModule
    dev_metric: str
    other_dev_metrics: tuple[str, ...]
    num_speakers: int | None
    tokenizer: LetterTokenizer | None

    @property
    def network_record(self) -> dict[str, Any]:
        """What settings and weights do not say of the network: with it, a checkpoint is enough."""
        return {
            "num_speakers": self.num_speakers,
            "architecture": self.task.network.trunk.architecture,
            "vocabulary": None if self.tokenizer is None else self.tokenizer.symbols,
        }

    def check_monitors(self, callbacks: Sequence[pl.Callback]) -> None:
        """Raises ValueError where a callback watches what no validation of this job measures."""
        measured = {self.dev_metric, *self.other_dev_metrics}
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint):
                watched = [callback.monitor] if callback.monitor is not None else []
            elif isinstance(callback, StopWhenAllStalled):
                watched = [*callback.monitors, *callback.losses]
            else:
                continue
            for name in watched:
                if name not in measured:
                    raise ValueError(
                        f"a callback watches {name}, which this command does not measure; choose "
                        f"from {', '.join(sorted(measured))}."
                    )


def build_job(config: Config, config_name: str, *, trained: TrainedNetwork | None = None) -> Job:
    """The task and the data of one of the three entry points.

    With `trained`, which is to be tested, nothing is asked of the training data.

    Raises:
        ValueError: shards, weights or a combination of settings are missing or impossible.
    """
    return _BUILDERS[config_name](config, trained)


def check_made(node: Config, setting: str, *kinds: type) -> None:
    """Raises ValueError where what `_target_` of a setting makes is none of `kinds`."""
    target = get_object(node["_target_"])
    made = target if isinstance(target, type) else get_type_hints(target)["return"]
    if not issubclass(made, kinds):
        raise ValueError(
            f"{setting} makes a {made.__name__}, but this command needs a "
            f"{' or a '.join(kind.__name__ for kind in kinds)}; choose another option of its group."
        )


def check_classifier(config: Config, loss: Config) -> None:
    """Raises ValueError where the speaker loss cannot read what the classifier gives."""
    takes_cosines = get_object(loss["_target_"]) is AamSoftmaxLoss
    if takes_cosines != config["network"]["use_cosine_linear"]:
        raise ValueError(
            f"network.use_cosine_linear={config['network']['use_cosine_linear']} does not fit the "
            f"speaker loss {loss['_target_'].split('.')[-1]}; set it to {takes_cosines} or choose "
            "another loss."
        )


def check_blank(blank_indices: dict[str, int], tokenizer: LetterTokenizer) -> None:
    """Raises ValueError where a setting, by its key, has another blank than the vocabulary."""
    wrong = {key: index for key, index in blank_indices.items() if index != tokenizer.blank_index}
    if wrong:
        raise ValueError(
            f"{' and '.join(f'{key}={index}' for key, index in wrong.items())}, but the blank of "
            f"the vocabulary has index {tokenizer.blank_index}; set it to that."
        )


def _speech_job(config: Config, trained: TrainedNetwork | None) -> Job:
    check_made(config["data"], "data", LibriSpeechData)
    check_made(config["network"], "network", SpeechNetwork)
    check_made(config["optim"]["loss"], "optim/loss", CtcLoss)
    tokenizer = _tokenizer(config, trained)
    check_blank({"optim.loss.blank_index": config["optim"]["loss"]["blank_index"]}, tokenizer)
    data = _speech_data(config, config["data"], tokenizer)
    rates = _word_error_rates(config["data"], setting="data")
    monitor = dev_metric("train_speech", config["data"])
    network: Any = trained and trained.network
    if trained is None:
        network = instantiate(
            config["network"],
            num_letters=tokenizer.num_letters,
            letter_statistics=_letter_statistics(config, data),
        )
    task = SpeechTask(
        network=network,
        loss=instantiate(config["optim"]["loss"]),
        tokenizer=tokenizer,
        optimisation=_optimisation(config, monitor=monitor),
        beam_search=_beam_search(config, tokenizer),
    )
    return Job(
        task=task,
        data=data,
        dev_metric=monitor,
        other_dev_metrics=(*rates, *(f"val_loss_{name}" for name in config["data"]["val_sets"])),
        num_speakers=None,
        tokenizer=tokenizer,
    )


def _speaker_job(config: Config, trained: TrainedNetwork | None) -> Job:
    check_made(config["data"], "data", VoxCelebData)
    check_made(config["network"], "network", SpeakerNetwork)
    check_made(config["optim"]["loss"], "optim/loss", AamSoftmaxLoss, CrossEntropyLoss)
    check_classifier(config, config["optim"]["loss"])
    data = _speaker_data(config, config["data"])
    if data.selector_train.match_speech_lengths:
        raise ValueError(
            "speaker.pipeline.selector_train.match_speech_lengths=true needs the speech of a "
            "multi-task run; set it to false."
        )
    num_speakers = data.num_speakers if trained is None else trained.num_speakers
    network: Any = trained and trained.network
    if trained is None:
        network = instantiate(config["network"], num_speakers=num_speakers)
    task = SpeakerTask(
        network=network,
        loss=instantiate(config["optim"]["loss"]),
        val_trials=data.val_trial_lists["val"],
        test_trials=data.test_trial_lists,
        trial_scoring=_trial_scoring(config),
        optimisation=_optimisation(config, monitor="val_eer"),
    )
    return Job(
        task=task,
        data=data,
        dev_metric="val_eer",
        other_dev_metrics=_SPEAKER_METRICS,
        num_speakers=num_speakers,
        tokenizer=None,
    )


def _multi_task_job(config: Config, trained: TrainedNetwork | None) -> Job:
    check_made(config["data"], "data", JointData)
    check_made(config["network"], "network", MultiTaskNetwork)
    check_made(config["optim"]["loss"], "optim/loss", MultiTaskLoss)
    check_classifier(config, config["optim"]["loss"]["speaker_loss"])
    tokenizer = _tokenizer(config, trained)
    check_blank(
        {
            "network.ctc_blank_idx": config["network"]["ctc_blank_idx"],
            "optim.loss.ctc_loss.blank_index": config["optim"]["loss"]["ctc_loss"]["blank_index"],
        },
        tokenizer,
    )
    speech = _speech_data(config, config["data"]["speech"], tokenizer)
    speaker = _speaker_data(config, config["data"]["speaker"])
    num_speakers = speaker.num_speakers if trained is None else trained.num_speakers
    network: Any = trained and trained.network
    if trained is None:
        network = instantiate(
            config["network"],
            num_letters=tokenizer.num_letters,
            letter_statistics=_letter_statistics(config, speech),
            num_speakers=num_speakers,
        )
    task = MultiTask(
        network=network,
        loss=instantiate(config["optim"]["loss"]),
        tokenizer=tokenizer,
        val_trials=speaker.val_trial_lists["val"],
        test_trials=speaker.test_trial_lists,
        trial_scoring=_trial_scoring(config),
        optimisation=_optimisation(config, monitor="val_score"),
        beam_search=_beam_search(config, tokenizer),
    )
    data = get_object(config["data"]["_target_"])(speech=speech, speaker=speaker)
    rates = _word_error_rates(config["data"]["speech"], setting="data.speech")
    losses = [f"val_loss_speech_{name}" for name in config["data"]["speech"]["val_sets"]]
    return Job(
        task=task,
        data=data,
        dev_metric="val_score",
        other_dev_metrics=(*rates, *losses, *_SPEAKER_METRICS),
        num_speakers=num_speakers,
        tokenizer=tokenizer,
    )


def _tokenizer(config: Config, trained: TrainedNetwork | None) -> LetterTokenizer:
    if trained is None or trained.tokenizer is None:
        tokenizer: LetterTokenizer = instantiate(config["speech"]["tokenizer"])
        return tokenizer
    return trained.tokenizer


def _word_error_rates(data: Config, *, setting: str) -> tuple[str, ...]:
    """What the validation sets of a speech corpus are measured by, in their order."""
    if not data["val_sets"]:
        raise ValueError(f"{setting}.val_sets is empty; name a set, such as {{other: dev_other}}.")
    return word_error_rates(data)


def _speech_data(config: Config, node: Config, tokenizer: LetterTokenizer) -> LibriSpeechData:
    return instantiate(
        node,
        loading=instantiate(config["speech"]["dataloader"]),
        normaliser=instantiate(config["speech"]["pipeline"]["normaliser"]),
        tokenizer=tokenizer,
        seed=config["seed"],
    )


def _letter_statistics(config: Config, data: LibriSpeechData) -> LetterStatistics | None:
    """Read only where they are asked for: older shards come without."""
    return data.letter_statistics if config["network"]["ctc_bias_init"] == "letter_prior" else None


def _beam_search(config: Config, tokenizer: LetterTokenizer) -> BeamSearch | None:
    """None where decoding is greedy."""
    evaluation = config["evaluation"]
    if evaluation["decoder"] == "greedy":
        return None
    return instantiate(evaluation["beam_search"], tokenizer=tokenizer)


def _trial_scoring(config: Config) -> TrialScoring:
    evaluation = config["evaluation"]
    return TrialScoring(
        normalisation=evaluation["score_normalisation"],
        cohort_size=evaluation["cohort_size"],
        durations_sec=evaluation["durations_sec"],
    )


def _speaker_data(config: Config, node: Config) -> VoxCelebData:
    evaluation = config["evaluation"]
    has_cohort = evaluation["score_normalisation"] != "none"
    return instantiate(
        node,
        loading=instantiate(config["speaker"]["dataloader"]),
        selector_train=instantiate(config["speaker"]["pipeline"]["selector_train"]),
        normaliser=instantiate(config["speaker"]["pipeline"]["normaliser"]),
        test_durations_sec=evaluation["durations_sec"],
        num_cohort_utterances=evaluation["cohort_utterances_per_speaker"] if has_cohort else None,
        seed=config["seed"],
    )


def _optimisation(config: Config, *, monitor: str) -> Optimisation:
    trainer = config["trainer"]
    steps_between = min(trainer["val_check_interval"], trainer["max_steps"])
    return Optimisation(
        algorithm=partial(_algorithm, config["optim"]["algo"]),
        schedule=instantiate(config["optim"]["schedule"]),
        num_steps=trainer["max_steps"],
        monitor=monitor,
        num_batches_between_validations=steps_between * trainer["accumulate_grad_batches"],
    )


def _algorithm(node: Config, parameters: Any) -> Any:
    return instantiate(node, parameters=parameters)


_BUILDERS = {
    "train_speech": _speech_job,
    "train_speaker": _speaker_job,
    "train_mt_speaker_speech": _multi_task_job,
}
