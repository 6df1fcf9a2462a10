"""How fast is a training step on a CPU, against the plain recipe (see plain_recipe.py)?

One step of both tasks: two forward passes, CTC and AAM-softmax in equal parts, backward, Adam.
wav2vec2-base with random weights, the convolutions frozen, the transformer trained, no
regularisation. All recipes start from the same weights, see the same batches and take turns.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from default_settings import default_settings
from plain_recipe import PlainMultiTaskNetwork

from w2v2_mt.app.build import instantiate
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import SpeakerSample, SpeechSample
from w2v2_mt.core.units import samples_from_seconds
from w2v2_mt.models.upstream import load_upstream

PLAIN, OURS, OURS_CHECKPOINTED = "plain recipe", "ours", "ours, checkpointed"
RECIPES = (PLAIN, OURS, OURS_CHECKPOINTED)

NUM_SPEAKERS = 1211
"""Of VoxCeleb1's training set."""

NUM_LETTERS = 32
NUM_LETTERS_PER_SEC = 14
"""Of LibriSpeech."""

LOSS_TOLERANCE = 1e-3
"""Relative: the recipes round differently, and Adam's first steps make much of small gradients."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Batches = tuple[SpeechBatch, SpeakerBatch]
Step = Callable[[SpeechBatch, SpeakerBatch], float]


def draw_batches(speech_sec: list[float], speaker_sec: list[float]) -> Batches:
    """Noise of these durations, with drawn letters and a speaker each."""
    torch.manual_seed(1)
    speech = [
        SpeechSample(
            key=str(number),
            waveform=torch.randn(samples_from_seconds(duration_sec)),
            transcription="",
            letters=torch.randint(4, NUM_LETTERS, (round(NUM_LETTERS_PER_SEC * duration_sec),)),
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
    return (
        SpeechBatch.collate(speech, set_name="train"),
        SpeakerBatch.collate(speaker, set_name="train"),
    )


def build_step(recipe: str) -> Step:
    """A training step that goes on from the weights of one seed and returns its loss."""
    settings = default_settings(
        "network.wav2vec_huggingface_id=wav2vec2-base",
        "network.reset_weights=true",
        f"network.use_gradient_checkpointing={recipe == OURS_CHECKPOINTED}",
    )
    torch.manual_seed(0)
    network = instantiate(
        settings["network"],
        num_letters=NUM_LETTERS,
        num_speakers=NUM_SPEAKERS,
        letter_statistics=None,
    )
    if recipe == PLAIN:
        torch.manual_seed(0)  # the trunk is built first, so this repeats its weights
        wav2vec2 = load_upstream(
            settings["network"]["wav2vec_huggingface_id"],
            reset_weights=True,
            regularisation=instantiate(settings["network"]["regularisation"]),
        )
        network = PlainMultiTaskNetwork(wav2vec2=wav2vec2, heads_of=network)
    network.train()
    multi_task_loss = instantiate(settings["optim"]["loss"])
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = instantiate(settings["optim"]["algo"], parameters=trained)

    def step(speech: SpeechBatch, speaker: SpeakerBatch) -> float:
        optimiser.zero_grad()
        letters = network.speech(speech.waveforms, speech.num_samples)
        speakers = network.speaker(speaker.waveforms, speaker.num_samples)
        loss = multi_task_loss(
            letters.logits,
            letters.num_frames,
            speech.letters,
            speech.num_letters,
            speakers.logits,
            speaker.speaker_indices,
        ).loss
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def measure(
    steps: dict[str, Step], batches: Batches, *, num_steps: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and loss of each step by recipe; the recipes take turns, after one untimed round."""
    durations_sec: dict[str, list[float]] = {recipe: [] for recipe in steps}
    losses: dict[str, list[float]] = {recipe: [] for recipe in steps}
    for number in range(1 + num_steps):
        for recipe, step in steps.items():
            start = clock()
            losses[recipe].append(step(*batches))
            if number > 0:
                durations_sec[recipe].append(clock() - start)
    return durations_sec, losses


def peak_memory_gib(recipe: str, batches: Batches, num_threads: int) -> float:
    """Of a process of its own that takes two steps: libraries, weights and all."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_own_peak_memory_gib, recipe, batches, num_threads).result()


def _own_peak_memory_gib(recipe: str, batches: Batches, num_threads: int) -> float:
    torch.set_num_threads(num_threads)
    step = build_step(recipe)
    for _ in range(2):
        step(*batches)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def print_ratios(title: str, durations_sec: dict[str, list[float]]) -> None:
    """Medians of the seconds, and of the ratios to the plain step of the same round."""
    print(f"{title}:")
    for recipe, durations in durations_sec.items():
        ratio = statistics.median(
            plain / own for plain, own in zip(durations_sec[PLAIN], durations, strict=True)
        )
        print(f"  {recipe:20} {statistics.median(durations):6.2f} s  {ratio:.2f} times as fast")


def check_losses(losses: dict[str, list[float]]) -> None:
    """Print the losses; a recipe that computes something else ends the benchmark."""
    for recipe, own in losses.items():
        print(f"  {recipe:20} {' '.join(f'{loss:8.4f}' for loss in own)}")
        for loss, plain in zip(own, losses[PLAIN], strict=True):
            if abs(loss - plain) > LOSS_TOLERANCE * abs(plain):
                raise SystemExit(f"{recipe} has the loss {loss}, the {PLAIN} {plain}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speech-sec", type=float, nargs="+", default=[6.0, 4.0], metavar="SEC")
    parser.add_argument("--speaker-sec", type=float, nargs="+", default=[3.0] * 4, metavar="SEC")
    parser.add_argument("--num-steps", type=int, default=5, help="timed steps of each recipe")
    parser.add_argument("--num-threads", type=int, default=2)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="'processor' where other work runs beside; with one thread, as waiting ones count",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.num_threads)
    padded = draw_batches(arguments.speech_sec, arguments.speaker_sec)
    equal_sec = [statistics.mean(arguments.speech_sec)] * len(arguments.speech_sec)
    equal = draw_batches(equal_sec, [statistics.mean(arguments.speaker_sec)] * len(padded[1]))
    print(
        f"wav2vec2-base, {arguments.num_threads} threads, {arguments.clock} time, "
        f"{arguments.num_steps} steps in turns"
    )

    # First, since a process begins with the peak of the one that starts it.
    print(f"peak memory ({arguments.speech_sec} s of speech, {arguments.speaker_sec} of speakers):")
    for recipe in RECIPES:
        memory_gib = peak_memory_gib(recipe, padded, arguments.num_threads)
        print(f"  {recipe:20} {memory_gib:6.2f} GiB", flush=True)

    steps = {recipe: build_step(recipe) for recipe in RECIPES}
    timing = {"num_steps": arguments.num_steps, "clock": CLOCKS[arguments.clock]}
    # Only without padding do all compute the same: the plain group norm counts padding.
    durations_sec, losses = measure(steps, equal, **timing)
    print_ratios(f"utterances of equal length ({equal_sec} s of speech)", durations_sec)
    print(f"their losses, equal within {LOSS_TOLERANCE:.0e} of each:")
    check_losses(losses)
    durations_sec, _ = measure(steps, padded, **timing)
    print_ratios(f"padded utterances ({arguments.speech_sec} s of speech)", durations_sec)


if __name__ == "__main__":
    main()
