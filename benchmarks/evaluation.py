"""How long do 600,000 trials take from embeddings to EER and minDCF, and in how much memory?

The embeddings are made up. The baseline is a plain loop: one cosine for each trial, on a part of
them. What a 95 % interval of the EER takes is told apart. Each measurement has a process of its
own, so that its peak memory is its own.
"""

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.bootstrap import NUM_RESAMPLES, SEED, equal_error_rate_interval
from w2v2_mt.metrics.verification import equal_error_rate, min_dcf, trial_scores

NUM_SPEAKERS, NUM_UTTERANCES, DIM = 500, 5_000, 768
NUM_TRIALS, NUM_BASELINE_TRIALS = 600_000, 20_000


def made_up_embeddings() -> dict[str, Tensor]:
    """A direction for each speaker and twice as much noise around it."""
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(NUM_SPEAKERS, DIM, generator=generator)
    return {
        f"id{index % NUM_SPEAKERS:05d}/video/{index:05d}": voices[index % NUM_SPEAKERS]
        + 2 * torch.randn(DIM, generator=generator)
        for index in range(NUM_UTTERANCES)
    }


def made_up_trials(keys: list[str], num_trials: int) -> list[Trial]:
    """Every second one of the same speaker."""
    generator = torch.Generator().manual_seed(1)
    left = torch.randint(NUM_UTTERANCES, (num_trials,), generator=generator)
    steps = torch.randint(1, NUM_UTTERANCES // NUM_SPEAKERS, (num_trials,), generator=generator)
    others = torch.randint(1, NUM_SPEAKERS, (num_trials,), generator=generator)
    is_target = torch.arange(num_trials) % 2 == 0
    # Utterances that lie NUM_SPEAKERS apart have the same speaker.
    right = (left + NUM_SPEAKERS * steps + torch.where(is_target, 0, others)) % NUM_UTTERANCES
    return [
        Trial(same, keys[a], keys[b])
        for same, a, b in zip(is_target.tolist(), left.tolist(), right.tolist(), strict=True)
    ]


def measure_blocks(num_trials: int) -> tuple[float, float, str]:
    """Seconds, peak memory of the process in MiB, and what was found."""
    embeddings = made_up_embeddings()
    trials = made_up_trials(list(embeddings), num_trials)
    start = time.perf_counter()
    scores = trial_scores(embeddings, trials)
    scored = time.perf_counter()
    labels = [trial.same_speaker for trial in trials]
    rate, cost = equal_error_rate(scores, labels)[0], min_dcf(scores, labels)[0]
    end = time.perf_counter()
    details = f"scoring {scored - start:.2f} s, EER {rate:.4f} and minDCF {cost:.4f} in "
    return end - start, _peak_mib(), f"{details}{end - scored:.2f} s"


def measure_loop(num_trials: int) -> tuple[float, float, str]:
    """As `measure_blocks`, a trial at a time."""
    embeddings = made_up_embeddings()
    trials = made_up_trials(list(embeddings), num_trials)
    start = time.perf_counter()
    scores = [
        float(torch.cosine_similarity(embeddings[t.left_key], embeddings[t.right_key], dim=0))
        for t in trials
    ]
    labels = [trial.same_speaker for trial in trials]
    rate, cost = equal_error_rate(scores, labels)[0], min_dcf(scores, labels)[0]
    seconds = time.perf_counter() - start
    return seconds, _peak_mib(), f"EER {rate:.4f} and minDCF {cost:.4f}"


def measure_interval(num_trials: int) -> str:
    """The bootstrap alone, of scores that `trial_scores` gives."""
    embeddings = made_up_embeddings()
    trials = made_up_trials(list(embeddings), num_trials)
    scores = trial_scores(embeddings, trials)
    start = time.perf_counter()
    low, high = equal_error_rate_interval(
        scores,
        [trial.same_speaker for trial in trials],
        [(speaker_of(trial.left_key), speaker_of(trial.right_key)) for trial in trials],
        num_resamples=NUM_RESAMPLES,
        seed=SEED,
    )
    return (
        f"{num_trials} trials of {NUM_SPEAKERS} speakers, {NUM_RESAMPLES} draws: EER between "
        f"{low:.4f} and {high:.4f} in {time.perf_counter() - start:.2f} s, "
        f"peak memory {_peak_mib():.0f} MiB"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    per_trial = {}
    for name, measure, num_trials in (
        ("loop over trials", measure_loop, NUM_BASELINE_TRIALS),
        ("blocks", measure_blocks, NUM_TRIALS),
    ):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seconds, memory_mib, details = pool.submit(measure, num_trials).result()
        per_trial[name] = seconds / num_trials
        print(
            f"{name}: {num_trials} trials of {NUM_UTTERANCES} utterances in {seconds:.2f} s, "
            f"peak memory {memory_mib:.0f} MiB ({details})",
            flush=True,
        )
    ratio = per_trial["loop over trials"] / per_trial["blocks"]
    print(f"blocks are {ratio:.1f} times as fast for each trial as the loop")
    for num_trials in (40_000, NUM_TRIALS):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            print(pool.submit(measure_interval, num_trials).result(), flush=True)


if __name__ == "__main__":
    main()
