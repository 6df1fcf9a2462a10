"""Measure a training step on a CPU against the plain recipe of plain_recipe.py.

One step of both tasks: two forward passes, CTC and AAM-softmax in equal parts, backward, Adam.
wav2vec2-base with random weights, the convolutions frozen, the transformer trained, no
regularisation. Both recipes compute in float32 and under bf16 autocast. All start from the same
weights, see the same batches and take turns. The share of the limit is that of the useful
operations of a step, in its precision, at the speed of one large product of matrices, which is
measured in turns as well.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import torch
from default_settings import random_upstream
from own_process import peak_memory_mib, run_in_own_process
from plain_recipe import PlainMultiTaskNetwork

from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import SpeakerSample, SpeechSample
from w2v2_mt.core.units import samples_from_seconds
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.models.flops import UsefulFlops
from w2v2_mt.models.networks import MultiTaskNetwork
from w2v2_mt.models.upstream import find_kind, load_config, load_upstream
from w2v2_mt.optim.schedules import Constant
from w2v2_mt.settings.instantiation import instantiate
from w2v2_mt.tasks.optimization import OptimizationPlan
from w2v2_mt.tasks.speaker import SpeakerObjective
from w2v2_mt.tasks.speaker_evaluation import SpeakerEvaluation
from w2v2_mt.tasks.speech import SpeechObjective
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation
from w2v2_mt.tasks.training_task import TrainingTask

PLAIN, PLAIN_BF16 = "plain recipe, float32", "plain recipe, bf16"
OURS, OURS_BF16 = "ours, float32", "ours, bf16"
OURS_CHECKPOINTED = "ours, bf16, checkpointed"
RECIPES = (PLAIN, PLAIN_BF16, OURS, OURS_BF16, OURS_CHECKPOINTED)

NUM_SPEAKERS = 1211
"""Number of speakers in VoxCeleb1's training set."""

NUM_TOKENS = 32
NUM_TOKENS_PER_SEC = 14
"""Tokens per second in LibriSpeech."""

LOSS_TOLERANCE, BF16_LOSS_TOLERANCE = 1e-3, 5e-3
"""Relative: the recipes round differently, and Adam's first steps make much of small gradients."""

PRODUCT, PRODUCT_BF16 = "large product, float32", "large product, bf16"
PRODUCT_SIZE = 2048
"""Rows and columns of the matrices whose product is the limit."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Batches = dict[str, SpeechBatch | SpeakerBatch]
"""A batch of each task."""

Step = Callable[[Batches], float]
Recipe = TypeVar("Recipe")


def draw_batches(speech_sec: list[float], speaker_sec: list[float]) -> Batches:
    """Noise of these durations, with drawn tokens and a speaker each."""
    torch.manual_seed(1)
    speech = [
        SpeechSample(
            key=str(number),
            waveform=torch.randn(samples_from_seconds(duration_sec)),
            transcription="",
            tokens=torch.randint(4, NUM_TOKENS, (round(NUM_TOKENS_PER_SEC * duration_sec),)),
        )
        for number, duration_sec in enumerate(speech_sec)
    ]
    speaker = [
        SpeakerSample(
            key=str(number),
            waveform=torch.randn(samples_from_seconds(duration_sec)),
            speaker_id=str(number),
            speaker_index=number,
        )
        for number, duration_sec in enumerate(speaker_sec)
    ]
    return {
        "speech": SpeechBatch.collate(speech, set_name="train"),
        "speaker": SpeakerBatch.collate(speaker, set_name="train"),
    }


def build_network(settings: dict[str, Any]) -> MultiTaskNetwork:
    """Build the network of these settings from the weights of one seed."""
    torch.manual_seed(0)
    return instantiate(settings["network"]).build(num_tokens=NUM_TOKENS, num_speakers=NUM_SPEAKERS)


def build_task(
    settings: dict[str, Any], network: Any, *, tasks: Sequence[str] = ("speech", "speaker")
) -> TrainingTask:
    """Return what a multi-task run, or one of only some of its tasks, trains, in training mode."""
    loss = instantiate(settings["optim"]["loss"])
    objectives = {
        "speech": SpeechObjective(
            SpeechEvaluation(loss=loss.ctc_loss, tokenizer=LetterTokenizer(vocabulary_path=None))
        ),
        "speaker": SpeakerObjective(
            SpeakerEvaluation(
                loss=loss.speaker_loss,
                val_trials=[],
                test_trials={},
                normalisation="none",
                cohort_size=2,
                durations_sec=[],
            )
        ),
    }
    optimization = OptimizationPlan(
        optimizer=lambda parameters: instantiate(settings["optim"]["algo"]).build(parameters),
        schedule=Constant(),
        num_steps=1,
        monitor="val_score",
        num_batches_between_validations=1,
    )
    return TrainingTask(
        network=network,
        objectives={task: objectives[task] for task in tasks},
        optimization=optimization,
        loss=loss.build(list(tasks)),
    ).train()


def build_step(task: TrainingTask, *, is_bf16: bool = False) -> Step:
    """Return a function that takes a training step and returns its loss."""
    optimizer = task.configure_optimizers()["optimizer"]

    def step(batches: Batches) -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            weighted, _ = task.compute_loss(batches)
        task.backpropagate(weighted.loss, weighted)
        optimizer.step()
        return weighted.loss.item()

    return step


def build_recipe_step(recipe: str, *, architecture: str) -> Step:
    """Return the training step of a recipe."""
    settings = random_upstream(
        architecture,
        f"network.use_gradient_checkpointing={recipe == OURS_CHECKPOINTED}",
    )
    network = build_network(settings)
    is_bf16 = is_in_bf16(recipe)
    if recipe not in (PLAIN, PLAIN_BF16):
        return build_step(build_task(settings, network), is_bf16=is_bf16)
    torch.manual_seed(0)  # The encoder is built first, so this repeats its weights.
    name = settings["network"]["wav2vec_huggingface_id"]
    config = load_config(name, reset_weights=True)
    config.update(asdict(instantiate(settings["network"]["regularisation"])))
    wav2vec2 = load_upstream(name, config, find_kind(config), reset_weights=True)
    plain = PlainMultiTaskNetwork(wav2vec2=wav2vec2, heads_of=network)
    return build_step(build_task(settings, plain), is_bf16=is_bf16)


def count_useful_flops(architecture: str, batches: Batches) -> float:
    """Return the floating-point operations that a step needs, forward and backward."""
    network = build_network(random_upstream(architecture))
    return UsefulFlops(network).count_step([batch.read_lengths() for batch in batches.values()])


def is_in_bf16(recipe: str) -> bool:
    """Return True for the recipes under autocast."""
    return "bf16" in recipe


def build_product(*, is_bf16: bool) -> Callable[[Batches], float]:
    """Return a function that multiplies two large matrices, by oneDNN, and returns an entry."""
    left, right = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE) for _ in range(2))
    if is_bf16:
        left, right = left.bfloat16(), right.bfloat16()

    def multiply(batches: Batches) -> float:
        return float(torch.nn.functional.linear(left.to_mkldnn(), right).to_dense()[0, 0])

    return multiply


def measure(
    steps: dict[str, Step], batches: Batches, *, num_steps: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and loss of each step by recipe; the recipes take turns, after one untimed round."""
    durations_sec: dict[str, list[float]] = {recipe: [] for recipe in steps}
    losses: dict[str, list[float]] = {recipe: [] for recipe in steps}
    for number in range(1 + num_steps):
        for recipe, step in steps.items():
            start = clock()
            losses[recipe].append(step(batches))
            if number > 0:
                durations_sec[recipe].append(clock() - start)
    return durations_sec, losses


def peak_memory_gib(
    build: Callable[[Recipe], Step], recipe: Recipe, batches: Batches, num_threads: int
) -> float:
    """Return the peak memory of a process that takes two steps, libraries included."""
    return run_in_own_process(_own_peak_memory_gib, build, recipe, batches, num_threads)


def _own_peak_memory_gib(
    build: Callable[[Recipe], Step], recipe: Recipe, batches: Batches, num_threads: int
) -> float:
    torch.set_num_threads(num_threads)
    step = build(recipe)
    for _ in range(2):
        step(batches)
    return peak_memory_mib() / 2**10


def median_ratio(durations_sec: list[float], others_sec: list[float]) -> float:
    """Return the median of the ratios of the same round."""
    pairs = zip(durations_sec, others_sec, strict=True)
    return statistics.median(own / other for own, other in pairs)


def print_ratios(title: str, durations_sec: dict[str, list[float]]) -> None:
    """Medians of the seconds, and of the ratios to the plain steps of the same round."""
    print(f"{title}:")
    for recipe in RECIPES:
        ratios = [
            f"{median_ratio(durations_sec[plain], durations_sec[recipe]):.2f} times as fast as "
            f"the {plain}"
            for plain in (PLAIN, PLAIN_BF16)
        ]
        print(
            f"  {recipe:24} {statistics.median(durations_sec[recipe]):6.2f} s  {', '.join(ratios)}"
        )


def print_shares_of_limit(durations_sec: dict[str, list[float]], useful_flops: float) -> None:
    """Print the speed of our steps relative to that of one large product of matrices."""
    flops_of_product = 2 * PRODUCT_SIZE**3
    for recipe, product in ((OURS, PRODUCT), (OURS_BF16, PRODUCT_BF16)):
        limit = flops_of_product / statistics.median(durations_sec[product])
        speed = useful_flops / statistics.median(durations_sec[recipe])
        print(
            f"  {recipe:24} {speed / 1e9:.0f} GFLOP/s, {speed / limit:.0%} of the "
            f"{limit / 1e9:.0f} GFLOP/s of a large product"
        )


def check_losses(losses: dict[str, list[float]]) -> None:
    """Print the losses; a recipe that computes something else ends the benchmark."""
    for recipe in RECIPES:
        print(f"  {recipe:24} {' '.join(f'{loss:8.4f}' for loss in losses[recipe])}")
        tolerance = BF16_LOSS_TOLERANCE if is_in_bf16(recipe) else LOSS_TOLERANCE
        for loss, plain in zip(losses[recipe], losses[PLAIN], strict=True):
            if abs(loss - plain) > tolerance * abs(plain):
                raise SystemExit(f"{recipe} has the loss {loss}, the {PLAIN} {plain}")


def parse_options(
    description: str | None, *, num_threads: int = 2, clock: str = "wall"
) -> argparse.Namespace:
    """Return the options of a benchmark of training steps, and set the number of threads.

    Args:
        num_threads: The default of its option, as `clock`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="wav2vec2-base")
    parser.add_argument("--speech-sec", type=float, nargs="+", default=[6.0, 4.0], metavar="SEC")
    parser.add_argument("--speaker-sec", type=float, nargs="+", default=[3.0] * 4, metavar="SEC")
    parser.add_argument("--num-steps", type=int, default=5, help="timed steps of each recipe")
    parser.add_argument("--num-threads", type=int, default=num_threads)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default=clock,
        help="'processor' on a machine under other load; with one thread, as waiting ones count",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.num_threads)
    return arguments


def main() -> None:
    arguments = parse_options(__doc__)
    padded = draw_batches(arguments.speech_sec, arguments.speaker_sec)
    equal_sec = [statistics.mean(arguments.speech_sec)] * len(arguments.speech_sec)
    equal = draw_batches(
        equal_sec, [statistics.mean(arguments.speaker_sec)] * len(arguments.speaker_sec)
    )
    print(
        f"{arguments.architecture}, {arguments.num_threads} threads, {arguments.clock} time, "
        f"{arguments.num_steps} steps in turns"
    )

    build = partial(build_recipe_step, architecture=arguments.architecture)
    # First, since a process begins with the peak of the one that starts it.
    print(f"peak memory ({arguments.speech_sec} s of speech, {arguments.speaker_sec} of speakers):")
    for recipe in RECIPES:
        memory_gib = peak_memory_gib(build, recipe, padded, arguments.num_threads)
        print(f"  {recipe:20} {memory_gib:6.2f} GiB", flush=True)

    steps: dict[str, Step] = {recipe: build(recipe) for recipe in RECIPES}
    steps |= {PRODUCT: build_product(is_bf16=False), PRODUCT_BF16: build_product(is_bf16=True)}
    timing = {"num_steps": arguments.num_steps, "clock": CLOCKS[arguments.clock]}
    # Only without padding do all compute the same: the plain group norm counts padding.
    durations_sec, losses = measure(steps, equal, **timing)
    print_ratios(f"utterances of equal length ({equal_sec} s of speech)", durations_sec)
    print_shares_of_limit(durations_sec, count_useful_flops(arguments.architecture, equal))
    print(f"their losses, equal within {LOSS_TOLERANCE:.0e}, in bf16 {BF16_LOSS_TOLERANCE:.0e}:")
    check_losses(losses)
    durations_sec, _ = measure(steps, padded, **timing)
    print_ratios(f"padded utterances ({arguments.speech_sec} s of speech)", durations_sec)


if __name__ == "__main__":
    main()
