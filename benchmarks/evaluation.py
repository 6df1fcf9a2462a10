"""Measure the speaker test: embedding utterances, and scoring 600,000 trials.

Embedding: the utterances of the trials o, e, h and of validation, either of `--data_folder` or,
without it, noise, as long and in as many lists as those of VoxCeleb are, one of `--scale` of them.
The baseline embeds the utterances of each list one by one, with all cores on each; ours embeds each
utterance once, in batches of similar length, a process for each core. Ours is also
measured in one process on all cores.

Scoring: the embeddings are made up. The baseline is a plain loop: one cosine for each trial, on a
part of them. The time of a 95 % interval of the EER is reported separately. Each measurement
has its own process, so that its peak memory is its own.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

import torch
from data_loading import draw_noise, write_shards
from default_settings import default_settings
from own_process import peak_memory_mib, run_in_own_process
from torch import Tensor

from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.core.samples import speaker_of
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.batching import similar_length_batches
from w2v2_mt.data.encoded_audio import sample_length
from w2v2_mt.data.evaluation_stream import EvaluationStream
from w2v2_mt.data.transforms import NormaliseWaveform, make_speaker_sample
from w2v2_mt.data.trials import keys_of_trials, read_trials
from w2v2_mt.metrics.bootstrap import NUM_RESAMPLES, equal_error_rate_interval
from w2v2_mt.metrics.verification import equal_error_rate, min_dcf, trial_scores
from w2v2_mt.settings.instantiation import instantiate

NUM_OF_VOXCELEB1, NUM_OF_VALIDATION = 153_516, 10_920
NUM_IN_LIST = {"o": 4_708, "e": 145_160, "h": 137_924, "val": NUM_OF_VALIDATION}
NUM_SPEAKERS, NUM_UTTERANCES, DIM = 500, 5_000, 768
NUM_TRIALS, NUM_BASELINE_TRIALS = 600_000, 20_000


@dataclass(frozen=True)
class TrialList:
    """The utterances that one list of trials names, and where they are."""

    shards: list[Path]
    keys: frozenset[str]


def real_lists(data_folder: str) -> list[TrialList]:
    """o, e, h and val as the default `data=mt_vox2_libri` tests them."""
    data = default_settings(f"data_folder={data_folder}")["data"]["speaker"]
    root = Path(data["shards_folder"])
    folders = data["test_sets"] | {"val": data["val_set"]}
    trials = data["test_trials"] | {"val": data["val_trials"]}
    return [
        TrialList(
            shards=sorted(path.resolve() for path in (root / folder).glob("*.tar")),
            keys=keys_of_trials(read_trials(root / trials[name], producer="the README")),
        )
        for name, folder in folders.items()
    ]


def noise_lists(folder: Path, scale: int) -> list[TrialList]:
    """Writes their shards to `folder`."""
    lists = utterances_of_lists(scale)
    num_utterances = max(numbers.stop for numbers in lists.values())
    rng = Random(0)
    durations_sec = [4 + rng.expovariate(1 / 4.2) for _ in range(num_utterances)]
    write_shards(folder, draw_noise(durations_sec), samples_per_shard=100)
    shards = sorted(folder.glob("*.tar"))
    return [
        TrialList(shards, frozenset(f"{number % 100}/{number}/00001" for number in numbers))
        for numbers in lists.values()
    ]


def utterances_of_lists(scale: int) -> dict[str, range]:
    """Numbers of utterances by list; e and h have no more in common than their sizes demand."""
    num_of_voxceleb1 = NUM_OF_VOXCELEB1 // scale
    sizes = {name: max(1, size // scale) for name, size in NUM_IN_LIST.items()}
    return {
        "o": range(num_of_voxceleb1 - sizes["o"], num_of_voxceleb1),
        "e": range(sizes["e"]),
        "h": range(num_of_voxceleb1 - sizes["h"], num_of_voxceleb1),
        "val": range(num_of_voxceleb1, num_of_voxceleb1 + sizes["val"]),
    }


def embed(
    upstream: str,
    lists: Sequence[TrialList],
    batch: Sequence[str],
    num_threads: int,
    rank: int,
    world_size: int,
) -> tuple[float, float, dict[str, Tensor]]:
    """Seconds, processor seconds and embeddings of the part of a process, list after list."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    settings = default_settings(
        "+experiment=multi_task_2heads_vanilla",
        f"network.wav2vec_huggingface_id={upstream}",
        "network.reset_weights=true",
        "num_workers=0",
        *batch,
    )
    network = instantiate(settings["network"]).build(num_tokens=32, num_speakers=10).eval()
    loading = instantiate(settings["speaker"]["dataloader"])
    embeddings: dict[str, Tensor] = {}
    with torch.inference_mode():
        answer = partial(network.answer, tasks=["speaker"])
        answer(torch.randn(1, 16_000), torch.tensor([16_000]))
        start, start_of_processors = time.perf_counter(), time.process_time()
        for trial_list in lists:
            stream = EvaluationStream(
                shards=trial_list.shards,
                batching=partial(
                    similar_length_batches,
                    max_num_samples=loading.eval_max_num_samples,
                    max_batch_size=loading.val_batch_size,
                    window_size=20_000,
                    length=sample_length,
                ),
                make_sample=partial(
                    make_speaker_sample, normaliser=NormaliseWaveform(eps=1e-7), is_training=False
                ),
                collate=partial(SpeakerBatch.collate, set_name="test"),
                only_keys=trial_list.keys,
                rank=rank,
                world_size=world_size,
            )
            for found in stream:
                output = answer(found.waveforms, found.num_samples)["speaker"]
                embeddings.update(zip(found.keys, output.embeddings, strict=True))
        seconds = time.perf_counter() - start
        return seconds, time.process_time() - start_of_processors, embeddings


def measure_embedding(upstream: str, data_folder: str | None, scale: int) -> None:
    """Prints how much faster the utterances of all lists are embedded together."""
    num_cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        shards = Path(temporary) / "shards"
        lists = real_lists(data_folder) if data_folder else noise_lists(shards, scale)
        together = TrialList(
            shards=list(dict.fromkeys(shard for one in lists for shard in one.shards)),
            keys=frozenset().union(*(one.keys for one in lists)),
        )
        results = {}
        for name, sets, batch, num_processes in (
            ("one by one for each list", lists, ["speaker.dataloader.val_batch_size=1"], 1),
            ("once in batches, one process", [together], [], 1),
            ("once in batches, a process a core", [together], [], num_cores),
        ):
            with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
                call = partial(embed, upstream, sets, batch, num_cores // num_processes)
                parts = list(pool.map(call, range(num_processes), [num_processes] * num_processes))
            results[name] = (
                max(part[0] for part in parts),
                sum(part[1] for part in parts),
                {key: embedding for part in parts for key, embedding in part[2].items()},
            )
    num_in_lists = sum(len(one.keys) for one in lists)
    first_seconds, first_processor_seconds, expected = next(iter(results.values()))
    for name, (seconds, processor_seconds, embeddings) in results.items():
        assert embeddings.keys() == expected.keys()
        cosines = [
            torch.cosine_similarity(embeddings[key], expected[key], dim=0) for key in expected
        ]
        print(
            f"{name} ({upstream}, {num_in_lists} utterances in lists, {len(expected)} "
            f"different ones): {seconds:.1f} s, {first_seconds / seconds:.2f} times as fast "
            f"({first_processor_seconds / processor_seconds:.2f} times in processor time), "
            f"cosine with the first {min(cosines):.6f} at least",
            flush=True,
        )


def made_up_test(num_trials: int) -> tuple[dict[str, Tensor], list[Trial]]:
    """Return embeddings and trials, of which every second one is a target trial.

    Embeddings are a direction for each speaker and twice as much noise around it.
    """
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(NUM_SPEAKERS, DIM, generator=generator)
    embeddings = {
        f"id{index % NUM_SPEAKERS:05d}/video/{index:05d}": voices[index % NUM_SPEAKERS]
        + 2 * torch.randn(DIM, generator=generator)
        for index in range(NUM_UTTERANCES)
    }
    generator = torch.Generator().manual_seed(1)
    left = torch.randint(NUM_UTTERANCES, (num_trials,), generator=generator)
    steps = torch.randint(1, NUM_UTTERANCES // NUM_SPEAKERS, (num_trials,), generator=generator)
    others = torch.randint(1, NUM_SPEAKERS, (num_trials,), generator=generator)
    is_target = torch.arange(num_trials) % 2 == 0
    # Utterances that lie NUM_SPEAKERS apart have the same speaker.
    right = (left + NUM_SPEAKERS * steps + torch.where(is_target, 0, others)) % NUM_UTTERANCES
    keys = list(embeddings)
    trials = [
        Trial(same, keys[a], keys[b])
        for same, a, b in zip(is_target.tolist(), left.tolist(), right.tolist(), strict=True)
    ]
    return embeddings, trials


def measure_blocks(num_trials: int) -> tuple[float, float, str]:
    """Seconds, peak memory of the process in MiB, and what was found."""
    embeddings, trials = made_up_test(num_trials)
    start = time.perf_counter()
    scores = trial_scores(embeddings, trials)
    scored = time.perf_counter()
    labels = [trial.same_speaker for trial in trials]
    rate, cost = equal_error_rate(scores, labels)[0], min_dcf(scores, labels)[0]
    end = time.perf_counter()
    details = f"scoring {scored - start:.2f} s, EER {rate:.4f} and minDCF {cost:.4f} in "
    return end - start, peak_memory_mib(), f"{details}{end - scored:.2f} s"


def measure_loop(num_trials: int) -> tuple[float, float, str]:
    """Measure the same as `measure_blocks`, one trial at a time."""
    embeddings, trials = made_up_test(num_trials)
    start = time.perf_counter()
    scores = [
        float(torch.cosine_similarity(embeddings[t.left_key], embeddings[t.right_key], dim=0))
        for t in trials
    ]
    labels = [trial.same_speaker for trial in trials]
    rate, cost = equal_error_rate(scores, labels)[0], min_dcf(scores, labels)[0]
    seconds = time.perf_counter() - start
    return seconds, peak_memory_mib(), f"EER {rate:.4f} and minDCF {cost:.4f}"


def measure_interval(num_trials: int) -> str:
    """The bootstrap alone, of scores that `trial_scores` gives."""
    embeddings, trials = made_up_test(num_trials)
    scores = trial_scores(embeddings, trials)
    start = time.perf_counter()
    low, high = equal_error_rate_interval(
        scores,
        [trial.same_speaker for trial in trials],
        [(speaker_of(trial.left_key), speaker_of(trial.right_key)) for trial in trials],
    )
    return (
        f"{num_trials} trials of {NUM_SPEAKERS} speakers, {NUM_RESAMPLES} draws: EER between "
        f"{low:.4f} and {high:.4f} in {time.perf_counter() - start:.2f} s, "
        f"peak memory {peak_memory_mib():.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="tiny", help="an architecture (tiny)")
    parser.add_argument("--data_folder", help="prepared shards and trials of data=mt_vox2_libri")
    parser.add_argument("--scale", type=int, default=500, help="of VoxCeleb's lists (500)")
    arguments = parser.parse_args()
    measure_embedding(arguments.network, arguments.data_folder, arguments.scale)
    per_trial = {}
    for name, measure, num_trials in (
        ("loop over trials", measure_loop, NUM_BASELINE_TRIALS),
        ("blocks", measure_blocks, NUM_TRIALS),
    ):
        seconds, memory_mib, details = run_in_own_process(measure, num_trials)
        per_trial[name] = seconds / num_trials
        print(
            f"{name}: {num_trials} trials of {NUM_UTTERANCES} utterances in {seconds:.2f} s, "
            f"peak memory {memory_mib:.0f} MiB ({details})",
            flush=True,
        )
    ratio = per_trial["loop over trials"] / per_trial["blocks"]
    print(f"blocks are {ratio:.1f} times as fast for each trial as the loop")
    for num_trials in (40_000, NUM_TRIALS):
        print(run_in_own_process(measure_interval, num_trials), flush=True)


if __name__ == "__main__":
    main()
