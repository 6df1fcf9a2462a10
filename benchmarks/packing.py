"""Measure a training step without padding on a CPU against the padded one.

The durations are spread as in LibriSpeech, and cut into batches as in training. Of the batch whose
share of padding is nearest to the mean, some utterances are measured, from the longest to the
shortest, with 3 s chunks for the speaker task: a step of the speech task alone, padded and packed
(`network.pack_frames`), and a step of both tasks, padded, packed, and packed in one pass
(`trainer.pack_tasks`). All train the network of a multi-task run, from the same random weights,
without regularisation, and take turns. Their losses must agree.
"""

import argparse
import statistics
from functools import partial
from random import Random
from typing import NamedTuple

import torch
from default_settings import random_upstream
from train_step import (
    CLOCKS,
    LOSS_TOLERANCE,
    Batches,
    Step,
    build_network,
    build_step,
    build_task,
    draw_batches,
    measure,
    median_ratio,
    peak_memory_gib,
)

from w2v2_mt.core.units import samples_from_seconds, seconds_from_samples
from w2v2_mt.data.batching import dynamic_batches

QUEUE_SIZE = 400


class Recipe(NamedTuple):
    """The tasks that a step trains, and its packing."""

    tasks: str = "both"
    pack_frames: bool = False
    pack_tasks: bool = False


SPEECH = {"padded": Recipe("speech"), "packed": Recipe("speech", pack_frames=True)}
BOTH = {
    "padded": Recipe(),
    "packed": Recipe(pack_frames=True),
    "packed, one pass": Recipe(pack_frames=True, pack_tasks=True),
}


def padding_share(durations: list[int]) -> float:
    """Return the share of a batch that pads utterances to the longest."""
    return 1 - sum(durations) / (len(durations) * max(durations))


def draw_speech_sec(batch_sec: float, *, num_utterances: int) -> tuple[list[float], float]:
    """Return durations of a typical batch, and the share of padding in all batches."""
    rng = Random(0)
    durations = [
        samples_from_seconds(1.5 + 15.5 * rng.betavariate(3, 1.2)) for _ in range(QUEUE_SIZE)
    ]
    batches = list(
        dynamic_batches(
            durations,
            rng,
            max_num_samples=samples_from_seconds(batch_sec),
            max_queue_size=QUEUE_SIZE,
            length=int,
        )
    )
    num_padded = sum(len(batch) * max(batch) for batch in batches)
    share = 1 - sum(durations) / num_padded
    typical = min(batches, key=lambda batch: abs(padding_share(batch) - share))
    spacing = (len(typical) - 1) / max(1, num_utterances - 1)
    places = sorted({round(spacing * number) for number in range(num_utterances)})
    return [seconds_from_samples(typical[place]) for place in places], share


def build_recipe_step(recipe: Recipe, *, architecture: str, recompute: bool) -> Step:
    """Return the training step of a recipe."""
    settings = random_upstream(
        architecture,
        "network/regularisation=wav2vec2_none",
        f"network.pack_frames={recipe.pack_frames}",
        f"network.use_gradient_checkpointing={recompute}",
    )
    task = build_task(settings, build_network(settings))
    task.pack_tasks = recipe.pack_tasks
    if recipe.tasks == "speech":
        del task.objectives["speaker"]  # type: ignore[attr-defined]
    return build_step(task)


def compare(
    title: str, recipes: dict[str, Recipe], batches: Batches, options: argparse.Namespace
) -> None:
    """Print memory and time of each recipe, and the time relative to the first one."""
    build = partial(
        build_recipe_step, architecture=options.architecture, recompute=options.recompute
    )
    # First, since a process begins with the peak of the one that starts it.
    memory_gib = {
        name: peak_memory_gib(build, recipe, batches, options.num_threads)
        for name, recipe in recipes.items()
    }
    steps = {name: build(recipe) for name, recipe in recipes.items()}
    durations_sec, losses = measure(
        steps, batches, num_steps=options.num_steps, clock=CLOCKS[options.clock]
    )
    first = next(iter(recipes))
    print(f"{title}:")
    for name, durations in durations_sec.items():
        for loss, expected in zip(losses[name], losses[first], strict=True):
            if abs(loss - expected) > LOSS_TOLERANCE * abs(expected):
                raise SystemExit(f"{name} has the loss {loss}, {first} {expected}")
        ratio = median_ratio(durations, durations_sec[first])
        print(
            f"  {name:18} {statistics.median(durations):6.2f} s, {ratio:.2f} of {first}, "
            f"{memory_gib[name]:.2f} GiB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="wav2vec2-base")
    parser.add_argument("--batch-sec", type=float, default=200.0, help="padded speech of a batch")
    parser.add_argument("--num-utterances", type=int, default=4, help="measured ones of a batch")
    parser.add_argument("--num-chunks", type=int, default=8, help="3 s chunks of speakers")
    parser.add_argument("--recompute", action="store_true", help="with gradient checkpointing")
    parser.add_argument("--num-steps", type=int, default=5, help="timed steps of each recipe")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="processor")
    options = parser.parse_args()
    torch.set_num_threads(options.num_threads)
    speech_sec, share = draw_speech_sec(options.batch_sec, num_utterances=options.num_utterances)
    own_share = padding_share([samples_from_seconds(each) for each in speech_sec])
    print(
        f"{options.architecture}, {options.num_threads} threads, {options.clock} time, "
        f"{options.num_steps} steps in turns; padding of all batches {share:.1%}, of the measured "
        f"one {own_share:.1%} ({len(speech_sec)} utterances of {min(speech_sec):.1f} to "
        f"{max(speech_sec):.1f} s), packed 0.0%"
    )
    batches = draw_batches(speech_sec, [3.0] * options.num_chunks)
    compare("speech", SPEECH, {"speech": batches["speech"]}, options)
    compare("both tasks", BOTH, batches, options)


if __name__ == "__main__":
    main()
