"""The process of one side of `peers.py`: it prepares some work, and repeats it when it is asked to.

A runner, `peer_<side>.py`, is started by the Python of its side, so neither this module nor the
runners of peers import w2v2_mt. It reads lines of JSON: a job, which it prepares, or a variant of
the job, of which it runs a round. It answers each with a line: the CPU time and what was computed.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

SAMPLE_RATE_HZ = 16_000
NUM_TOKENS = 32
NUM_TOKENS_PER_SEC = 14
"""Tokens per second in LibriSpeech."""

NUM_SPEAKERS = 1211
"""Number of speakers in VoxCeleb1's training set."""

LEARNING_RATE = 1e-5
MAX_GRADIENT_NORM = 1.0
"""The default of HuggingFace's trainer; every side clips to it."""

NUM_COMPARED = 8
"""The utterances whose embeddings are compared."""

Job = dict[str, Any]
"""Paths and numbers of one piece of work, the same for all sides."""

Variant = dict[str, Any]
Round = Callable[[Variant], dict[str, Any]]
"""One round of a variant; `amount` is the work it did, the rest is compared with other sides."""


def serve(works: dict[str, Callable[[Job], Round]]) -> None:
    """Answer the lines of the standard input; `works` prepare the work of a job by its name."""
    # Libraries may print, so only this function gets the standard output.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    run_round: Round | None = None
    for line in sys.stdin:
        request = json.loads(line)
        result: dict[str, Any] = {}
        if "job" in request:
            run_round = (
                None  # The memory of the last job is free before the next one needs its own.
            )
            job = request["job"]
            torch.set_num_threads(job["num_threads"])
            torch.manual_seed(0)
            run_round = works[job["work"]](job)
        else:
            assert run_round is not None
            start_sec = cpu_sec()
            result = run_round(request["variant"])
            result["cpu_sec"] = cpu_sec() - start_sec
        print(json.dumps(result), file=replies, flush=True)


def cpu_sec() -> float:
    """Return the CPU time of this process, its threads and the processes that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def draw_utterances(durations_sec: Sequence[float]) -> list[dict[str, Any]]:
    """Return noise of these durations, normalized, with drawn tokens and a speaker each."""
    rng = np.random.default_rng(1)
    utterances = []
    for duration_sec in durations_sec:
        noise = rng.standard_normal(round(SAMPLE_RATE_HZ * duration_sec), dtype=np.float32)
        num_tokens = round(NUM_TOKENS_PER_SEC * duration_sec)
        utterances.append(
            {
                "waveform": (noise - noise.mean()) / noise.std(),
                "tokens": rng.integers(5, NUM_TOKENS, num_tokens),
                "speaker": int(rng.integers(NUM_SPEAKERS)),
            }
        )
    return utterances


def step_result(loss: torch.Tensor) -> dict[str, Any]:
    """Return the result of a round that is one training step."""
    return {"amount": 1, "loss": loss.item()}


def autocast(variant: Variant) -> torch.autocast:
    """Return the context of a forward pass in the precision of a variant."""
    return torch.autocast("cpu", torch.bfloat16, enabled=variant["precision"] == "bf16")


def read_utterances(job: Job) -> list[dict[str, Any]]:
    """Return key, number of samples, text and speaker of each utterance in `job["audio"]`."""
    utterances: list[dict[str, Any]] = json.loads(Path(job["audio"], "utterances.json").read_text())
    return utterances


def audio_path(job: Job, utterance: dict[str, Any], audio_format: str) -> str:
    """Return the audio file of an utterance in this format."""
    return str(Path(job["audio"], audio_format, f"{utterance['key']}.{audio_format}"))


def audio_result(utterances: Sequence[dict[str, Any]], **results: Any) -> dict[str, Any]:
    """Return the result of a round that passed over these utterances."""
    num_samples = sum(utterance["num_samples"] for utterance in utterances)
    return {"amount": num_samples / SAMPLE_RATE_HZ / 1000, **results}


def in_best_batches(
    job: Job, predict: Callable[[Sequence[dict[str, Any]]], list[Any]]
) -> Callable[[], tuple[dict[str, Any], int]]:
    """Return a function that predicts all utterances, in batches of the size that is fastest here.

    It returns the predictions by key and the size, which the first utterances decide.
    """
    utterances = read_utterances(job)

    def predict_all(utterances: Sequence[dict[str, Any]], batch_size: int) -> dict[str, Any]:
        predictions: dict[str, Any] = {}
        for start in range(0, len(utterances), batch_size):
            batch = utterances[start : start + batch_size]
            keys = [utterance["key"] for utterance in batch]
            predictions |= dict(zip(keys, predict(batch), strict=True))
        return predictions

    tried = utterances[: max(job["batch_sizes"])]
    predict_all(tried[:1], 1)  # The first call is slower.
    durations_sec = {}
    for batch_size in job["batch_sizes"]:
        start_sec = cpu_sec()
        predict_all(tried, batch_size)
        durations_sec[batch_size] = cpu_sec() - start_sec
    best = min(durations_sec, key=durations_sec.__getitem__)
    return lambda: (predict_all(utterances, best), best)


def embedding_result(job: Job, embeddings: dict[str, Any], **results: Any) -> dict[str, Any]:
    """Return the result of a round that embedded all utterances."""
    compared = {key: embeddings[key].tolist() for key in sorted(embeddings)[:NUM_COMPARED]}
    return audio_result(read_utterances(job), embeddings=compared, **results)


def loading_result(lengths: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the result of a round that read batches with these numbers of samples."""
    num_samples = sum(map(sum, lengths))
    num_padded = sum(len(batch) * max(batch) for batch in lengths)
    return {
        "amount": num_samples / SAMPLE_RATE_HZ / 1000,
        "padding_share": 1 - num_samples / num_padded,
    }
