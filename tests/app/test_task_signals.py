"""What reaches the parts of a task during training, and what they tell the log."""

import math
from dataclasses import replace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from w2v2_mt.app.build import build_job
from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.decoding.tokenizer import LetterTokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")


class Watch(pl.Callback):
    """Writes down a value of the task in each training batch."""

    def __init__(self, value):
        self.value = value
        self.seen = []

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        self.seen.append(self.value(task))


def fit(task, train_loaders, folder, *, callbacks=(), **settings):
    """The last value of everything that was logged."""
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        callbacks=list(callbacks),
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(task, train_loaders)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize(
    ("config_name", "node"),
    [("train_speaker", "optim.loss"), ("train_mt_speaker_speech", "optim.loss.speaker_loss")],
)
def test_the_margin_is_ramped_over_optimizer_steps(small_config, tmp_path, config_name, node):
    config = small_config(config_name, f"{node}.margin=0.4", f"{node}.margin_warmup_steps=2")
    job = build_job(config)
    loss = job.task.objectives["speaker"].loss
    watch = Watch(lambda task: loss.present_margin)
    loaders = job.data.train_dataloader()
    fit(job.task, loaders, tmp_path, callbacks=[watch], max_steps=4, accumulate_grad_batches=2)
    assert watch.seen == pytest.approx([0.0, 0.0, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4])


@pytest.mark.parametrize(
    ("config_name", "node"),
    [("train_speaker", "optim.loss"), ("train_mt_speaker_speech", "optim.loss.speaker_loss")],
)
def test_the_options_of_the_speaker_loss_change_the_loss_and_not_the_accuracy(
    small_config, tmp_path, config_name, node
):
    def logged(*overrides):
        pl.seed_everything(0, verbose=False)
        job = build_job(small_config(config_name, *overrides))
        metrics = fit(job.task, job.data.train_dataloader(), tmp_path, max_steps=1)
        name = "train_loss" if config_name == "train_speaker" else "train_speaker_loss"
        return metrics[name], metrics["train_acc"]

    plain, accuracy = logged(f"{node}.margin=0", f"{node}.scale=5")
    with_margin, same = logged(f"{node}.margin=0.5", f"{node}.scale=5")
    assert with_margin > plain + 0.5
    assert same == accuracy
    penalised, same = logged(
        f"{node}.margin=0",
        f"{node}.scale=5",
        f"{node}.inter_top_k=2",
        f"{node}.inter_top_k_penalty=0.5",
    )
    assert penalised > plain + 0.5
    assert same == accuracy


def with_tokens(batch, transcriptions):
    """The batch, with other transcriptions."""
    tokenizer = LetterTokenizer(vocabulary_path=None)
    tokens, num_tokens = pad_sequences([tokenizer.encode(text) for text in transcriptions])
    return replace(batch, tokens=tokens, num_tokens=num_tokens, transcriptions=list(transcriptions))


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
def test_utterances_that_cannot_be_aligned_are_skipped_and_all_counted(
    small_config, tmp_path, config_name
):
    job = build_job(small_config(config_name))
    loaders: Any = job.data.train_dataloader()
    is_speech = config_name == "train_speech"
    speech = next(iter(loaders if is_speech else loaders["speech"]))
    # No utterance of the test data has as many frames.
    too_long = with_tokens(speech, len(speech) * ["A" * 100])
    batches = [speech, too_long, too_long, speech]
    if is_speech:
        loaders = DataLoader(batches, batch_size=None)
    else:
        loaders = {**loaders, "speech": DataLoader(batches, batch_size=None)}
    logged = []

    class Log(pl.Callback):
        def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
            logged.append({name: float(v) for name, v in trainer.callback_metrics.items()})

    fit(job.task, loaders, tmp_path, callbacks=[Log()], max_steps=4)
    counts = [metrics["train_num_unalignable"] for metrics in logged]
    assert counts == [0, len(speech), 2 * len(speech), 2 * len(speech)]
    losses = [metrics["train_loss" if is_speech else "train_speech_loss"] for metrics in logged]
    assert losses[1] == losses[2] == 0 < losses[3] < math.inf


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
@pytest.mark.parametrize(("bias", "share"), [(100.0, 1.0), (-100.0, 0.0)])
def test_the_share_of_blank_frames_is_logged(small_config, tmp_path, config_name, bias, share):
    job = build_job(small_config(config_name))
    network = job.task.network
    head = network.head if config_name == "train_speech" else network.speech_head
    with torch.no_grad():
        head.linear.bias[0] = bias
    metrics = fit(job.task, job.data.train_dataloader(), tmp_path, max_steps=1)
    assert metrics["train_blank_share"] == share
