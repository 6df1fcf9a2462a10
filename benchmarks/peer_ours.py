"""Our side of `peers.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_loading import training_loader
from default_settings import default_settings
from peer_inputs import TRAIN_SET
from peer_turns import (
    LEARNING_RATE,
    MAX_GRADIENT_NORM,
    NUM_SPEAKERS,
    NUM_TOKENS,
    SAMPLE_RATE_HZ,
    Job,
    Round,
    Variant,
    audio_path,
    audio_result,
    autocast,
    draw_utterances,
    embedding_result,
    loading_result,
    read_utterances,
    serve,
    step_result,
)
from train_step import build_task

from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import SpeakerSample, SpeechSample
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.inference.predictor import Prediction, Predictor
from w2v2_mt.inference.trained_network import TrainedNetwork
from w2v2_mt.models.networks import MultiTaskNetwork, TaskNetwork
from w2v2_mt.settings.instantiation import instantiate

PREDICT_SETTINGS: dict[str, Any] = {
    "window_sec": 30,
    "overlap_sec": 6,
    "max_batch_sec": 120,
    "precision": "32-true",
}
"""The defaults of `w2v2-mt predict`."""


def read_settings(job: Job) -> dict[str, Any]:
    """Return the settings of a multi-task run on the model of the job."""
    return default_settings(
        f"network.wav2vec_huggingface_id={job['model']}",
        f"network.speech_head_huggingface_id={job['model']}",
        "network.use_gradient_checkpointing=false",
        f"optim.algo.lr={LEARNING_RATE}",
    )


def load_network(job: Job) -> MultiTaskNetwork:
    """Load the network with the weights of the job."""
    settings = instantiate(read_settings(job)["network"])
    network = settings.build(num_tokens=NUM_TOKENS, num_speakers=NUM_SPEAKERS)
    weight = torch.from_numpy(np.load(Path(job["model"], "classifier.npy")))
    network.speaker_head.classifier.load_state_dict({"weight": weight})
    return network


def make_batch(task: str, variant: Variant) -> SpeechBatch | SpeakerBatch:
    """Return the utterances of a variant as a batch of the task."""
    utterances = draw_utterances(variant["durations_sec"])
    if task == "speech":
        speech = [
            SpeechSample(
                key=str(number),
                waveform=torch.from_numpy(each["waveform"]),
                transcription="",
                tokens=torch.from_numpy(each["tokens"]),
            )
            for number, each in enumerate(utterances)
        ]
        return SpeechBatch.collate(speech, set_name="train")
    speakers = [
        SpeakerSample(
            key=str(number),
            waveform=torch.from_numpy(each["waveform"]),
            speaker_id=str(each["speaker"]),
            speaker_index=each["speaker"],
        )
        for number, each in enumerate(utterances)
    ]
    return SpeakerBatch.collate(speakers, set_name="train")


def build_step(name: str, job: Job) -> Round:
    """Return a training step of one task, with what its training step does around the loss."""
    task = build_task(read_settings(job), load_network(job), tasks=[name])
    optimizer = task.configure_optimizers()["optimizer"]
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def step(variant: Variant) -> dict[str, Any]:
        batch = make_batch(name, variant)
        with autocast(variant):
            weighted, _ = task.compute_loss(batch)
        task.backpropagate(weighted.loss, weighted)
        torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return step_result(weighted.loss)

    return step


def speech_step(job: Job) -> Round:
    """Return a CTC training step."""
    return build_step("speech", job)


def speaker_step(job: Job) -> Round:
    """Return a training step of AAM-softmax."""
    return build_step("speaker", job)


def build_predictor(task: str, job: Job) -> Predictor:
    """Return what `w2v2-mt predict` runs for a network that was trained for one task."""
    network = load_network(job)
    normaliser = instantiate(read_settings(job)["speech"]["pipeline"]["normaliser"])
    trained = TrainedNetwork(
        config_name="",
        config={},
        network=TaskNetwork(trunk=network.trunk, heads={task: network.heads[task]}).eval(),
        tokenizer=LetterTokenizer(vocabulary_path=None) if task == "speech" else None,
        num_speakers=NUM_SPEAKERS,
        normaliser=normaliser,
        step=0,
        metrics={},
    )
    return Predictor(trained, device=torch.device("cpu"), **PREDICT_SETTINGS)


def predict_files(predictor: Predictor, job: Job) -> Iterator[Prediction]:
    """Predict all files of the job."""
    files = [Path(audio_path(job, each, "flac")) for each in read_utterances(job)]
    return predictor.predict(files, on_refusal=print, on_progress=lambda _: None)


def embed(job: Job) -> Round:
    """Return the embeddings of all files."""
    predictor = build_predictor("speaker", job)

    def run_round(_: Variant) -> dict[str, Any]:
        predictions = predict_files(predictor, job)
        return embedding_result(job, {each.audio.path.stem: each.embedding for each in predictions})

    return run_round


def transcribe(job: Job) -> Round:
    """Return the transcripts of all files."""
    predictor = build_predictor("speech", job)

    def run_round(_: Variant) -> dict[str, Any]:
        predictions = predict_files(predictor, job)
        transcripts = {each.audio.path.stem: each.transcript for each in predictions}
        return audio_result(read_utterances(job), transcripts=transcripts)

    return run_round


def load(job: Job) -> Round:
    """Return as many training batches as hold the number of utterances of the job.

    The stream is endless, so a round continues where the last one ended.
    """
    streams = {}
    for name in ("flac", "wav"):
        settings = default_settings(
            "num_workers=0",
            f"data_folder={job['audio']}/shards_{name}",
            f"data.speech.train_sets=[{TRAIN_SET}]",
            f"speech.dataloader.train_max_num_samples={SAMPLE_RATE_HZ * job['max_batch_sec']}",
        )
        streams[name] = iter(training_loader("speech", settings))
    num_utterances = len(read_utterances(job))

    def run_round(variant: Variant) -> dict[str, Any]:
        lengths: list[list[int]] = []
        while sum(map(len, lengths)) < num_utterances:
            lengths.append(next(streams[variant["format"]]).num_samples.tolist())
        return loading_result(lengths)

    return run_round


if __name__ == "__main__":
    serve(
        {
            "speech_step": speech_step,
            "speaker_step": speaker_step,
            "embed": embed,
            "transcribe": transcribe,
            "load": load,
        }
    )
