"""Measure the time that each loss weighting adds to a multi-task step on a CPU.

One step of both tasks as in train_step.py: everything but the convolutions is trained, from random
weights. The methods take turns in training one network on the same batches. "one more backward
pass" is a step with equal weights that follows the loss back to the shared parameters once more.
"""

import statistics

import torch
from default_settings import random_upstream
from train_step import (
    CLOCKS,
    Batches,
    Step,
    build_network,
    build_task,
    draw_batches,
    measure,
    parse_options,
)

from w2v2_mt.losses.weighting import WEIGHTINGS
from w2v2_mt.settings.instantiation import instantiate

NULL, ONE_MORE, COMPARED = "null", "one more backward pass", "null, gradients compared"
RECIPES = (NULL, "uncertainty", "gradnorm", "pcgrad", COMPARED, ONE_MORE)


def build_steps(architecture: str) -> dict[str, Step]:
    """Return the training step of each recipe; all train one network with one optimizer."""
    settings = random_upstream(architecture)
    network = build_network(settings)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = instantiate(settings["optim"]["algo"]).build(trained)

    def build_step(recipe: str) -> Step:
        settings["optim"]["loss"]["scale_method"] = recipe if recipe in WEIGHTINGS.names else None
        task = build_task(settings, network)

        def step(batches: Batches) -> float:
            optimizer.zero_grad()
            weighted, _ = task.compute_loss(batches)
            loss = weighted.loss
            if recipe == ONE_MORE:
                shared, _ = network.split_parameters()
                torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
            geometry = task.backpropagate(loss, weighted, compares_gradients=recipe == COMPARED)
            if geometry is not None and recipe == COMPARED:
                geometry.metrics()
            optimizer.step()
            return loss.item()

        return step

    return {recipe: build_step(recipe) for recipe in RECIPES}


def main() -> None:
    arguments = parse_options(__doc__, num_threads=1, clock="processor")
    batches = draw_batches(arguments.speech_sec, arguments.speaker_sec)
    print(
        f"{arguments.architecture}, {arguments.num_threads} threads, {arguments.clock} time, "
        f"{arguments.num_steps} steps in turns, {arguments.speech_sec} s of speech, "
        f"{arguments.speaker_sec} s of speakers"
    )

    steps = build_steps(arguments.architecture)
    durations_sec, _ = measure(
        steps, batches, num_steps=arguments.num_steps, clock=CLOCKS[arguments.clock]
    )
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
