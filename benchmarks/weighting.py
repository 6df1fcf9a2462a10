"""What does a method of weighting the losses add to the time of a multi-task step on a CPU?

One step of both tasks as in train_step.py: everything but the convolutions is trained, from random
weights. The methods take turns in training one network on the same batches. "one more backward
pass" is a step with equal weights that follows the loss back to the shared parameters once more.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import get_args

import torch
from default_settings import default_settings
from train_step import CLOCKS, NUM_LETTERS, NUM_SPEAKERS, draw_batches

from w2v2_mt.app.build import instantiate
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.losses.weighting import ScaleMethod

NULL, ONE_MORE, COMPARED = "null", "one more backward pass", "null, gradients compared"
RECIPES = (NULL, "uncertainty", "gradnorm", "pcgrad", COMPARED, ONE_MORE)

Step = Callable[[SpeechBatch, SpeakerBatch], None]


def build_steps(architecture: str) -> dict[str, Step]:
    """By recipe, a training step as `tasks/multi_task.py` takes it."""
    settings = default_settings(
        f"network.wav2vec_huggingface_id={architecture}",
        "network.reset_weights=true",
        "network.use_gradient_checkpointing=false",
    )
    torch.manual_seed(0)
    network = instantiate(
        settings["network"],
        num_letters=NUM_LETTERS,
        num_speakers=NUM_SPEAKERS,
        letter_statistics=None,
    )
    network.train()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = instantiate(settings["optim"]["algo"], parameters=trained)

    def build_step(recipe: str) -> Step:
        scale_method = recipe if recipe in get_args(ScaleMethod) else None
        loss = instantiate(settings["optim"]["loss"], scale_method=scale_method)

        def step(speech: SpeechBatch, speaker: SpeakerBatch) -> None:
            optimiser.zero_grad()
            letters = network.speech(speech.waveforms, speech.num_samples)
            speakers = network.speaker(speaker.waveforms, speaker.num_samples)
            result = loss(
                letters.logits,
                letters.num_frames,
                speech.letters,
                speech.num_letters,
                speakers.logits,
                speaker.speaker_indices,
            )
            shared = network.shared_parameters()
            if loss.needs_gradients_apart or recipe == COMPARED:
                others = network.unshared_parameters()
                geometry = loss.backward_apart(result.loss, result, shared=shared, others=others)
                if recipe == COMPARED:
                    geometry.cosine.item()
            else:
                if recipe == ONE_MORE:
                    torch.autograd.grad(result.loss, shared, retain_graph=True, allow_unused=True)
                result.loss.backward()
            optimiser.step()

        return step

    return {recipe: build_step(recipe) for recipe in RECIPES}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="wav2vec2-base")
    parser.add_argument("--speech-sec", type=float, nargs="+", default=[6.0, 4.0], metavar="SEC")
    parser.add_argument("--speaker-sec", type=float, nargs="+", default=[3.0] * 4, metavar="SEC")
    parser.add_argument("--num-steps", type=int, default=5, help="timed steps of each method")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="processor",
        help="'processor' where other work runs beside; with one thread, as waiting ones count",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.num_threads)
    batches = draw_batches(arguments.speech_sec, arguments.speaker_sec)
    print(
        f"{arguments.architecture}, {arguments.num_threads} threads, {arguments.clock} time, "
        f"{arguments.num_steps} steps in turns, {arguments.speech_sec} s of speech, "
        f"{arguments.speaker_sec} s of speakers"
    )

    clock = CLOCKS[arguments.clock]
    steps = build_steps(arguments.architecture)
    durations_sec: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    for number in range(1 + arguments.num_steps):  # the first round is not timed
        for recipe, step in steps.items():
            start = clock()
            step(*batches)
            if number > 0:
                durations_sec[recipe].append(clock() - start)

    for recipe, durations in durations_sec.items():
        # Medians of the seconds, and of the ratios to the step with null of the same round.
        ratios = [own / null for own, null in zip(durations, durations_sec[NULL], strict=True)]
        print(
            f"  {recipe:26} {statistics.median(durations):6.2f} s  "
            f"{statistics.median(ratios):.3f} times as long  "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
