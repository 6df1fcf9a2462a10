"""Pictures of the logged values: losses, weights, error rates, learning rate, speed, memory."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from w2v2_mt.report.pictures import INK, Picture, draw_picture, series_style, thin_out
from w2v2_mt.runs.run_folder import MetricValue, Points, RunFolder

_Plans = Sequence[tuple[str, str, float, tuple[str, ...]]]
"""Title, unit and scale of each picture, and the patterns of the names of its values."""

_TRAINING: _Plans = (
    ("Training loss", "loss", 1, ("train_loss", "train_speech_loss", "train_speaker_loss")),
    ("Validation loss", "loss", 1, ("val_loss*",)),
    ("Loss weights", "weight", 1, ("train_speech_loss_weight", "train_speaker_loss_weight")),
    ("Word error rate", "% of reference words", 100, ("train_wer", "val_wer_*")),
    ("Equal error rate", "% of trials", 100, ("val_eer",)),
    ("Speakers classified correctly", "% of utterances", 100, ("train_acc", "val_speaker_acc")),
    ("Learning rate", "learning rate", 1, ("lr-*",)),
    ("Gradients of the two tasks", "cosine", 1, ("train_gradient_cosine",)),
)
_SPEED: _Plans = (
    ("Audio per second", "s of audio per s", 1, ("speed_audio_per_sec",)),
    ("Shares of time and samples", "%", 100, ("speed_*_share", "speed_mfu")),
    ("Useful operations", "TFLOP/s", 1, ("speed_tflops_per_sec",)),
    ("Memory", "peak so far, GiB", 1, ("memory_*",)),
)
_MAX_MARKED = 30
_MOST_SHOWN = 2.0
"""Upper limit of the loss axis of a diverged test, as a multiple of the first smoothed loss."""


def curve_pictures(run: RunFolder) -> list[Picture]:
    """Draw what training and validations logged, and a learning-rate range test."""
    pictures = _draw_plans(run, _TRAINING)
    if run.lr_range:
        draw = partial(_draw_lr_range, run.lr_range)
        pictures.append(draw_picture("learning_rate_range_test", "Learning-rate range test", draw))
    return pictures


def speed_pictures(run: RunFolder) -> list[Picture]:
    """Draw the speed of training, and the memory that it took."""
    return _draw_plans(run, _SPEED)


def _draw_plans(run: RunFolder, plans: _Plans) -> list[Picture]:
    """Draw what was logged; a line marks the step of the tested checkpoint."""
    pictures = []
    for title, unit, scale, patterns in plans:
        curves = {
            name: [(step, scale * value) for step, value in points]
            for pattern in patterns
            for name, points in run.curves.items()
            if fnmatchcase(name, pattern)
        }
        if curves:
            tested_step = run.metrics.get("tested_step")
            draw = partial(_draw_curves, curves, unit, tested_step)
            pictures.append(draw_picture(title.lower().replace(" ", "_"), title, draw))
    return pictures


def _draw_curves(
    curves: Mapping[str, Points], unit: str, tested_step: MetricValue, axes: Axes
) -> None:
    # Values of validations, which are fewer, are drawn over those of steps.
    in_order = sorted(curves.items(), key=lambda curve: -len(curve[1]))
    for number, (name, points) in enumerate(in_order):
        marker = "o" if len(points) < _MAX_MARKED else None
        style: dict[str, Any] = {"linewidth": 1.4, "marker": marker, "markersize": 3.5}
        axes.plot(*thin_out(*zip(*points, strict=True)), **style, **series_style(number, name))
    if isinstance(tested_step, int) and any(name.startswith("val_") for name in curves):
        axes.axvline(tested_step, color=INK, alpha=0.6, linewidth=1, label="tested checkpoint")
    axes.set(xlabel="optimizer step", ylabel=unit)
    axes.legend()


def _draw_lr_range(content: Mapping[str, Any], axes: Axes) -> None:
    """Draw losses, smoothed losses and the suggestion of an `lr_range.json`."""
    for number, (label, name) in enumerate(
        [("loss of a step", "loss"), ("smoothed", "smoothed_loss")]
    ):
        losses = [math.nan if value is None else value for value in content[name]]
        style = {"linewidth": 2 if number else 0.8, **series_style(number, label)}
        axes.plot(*thin_out(content["learning_rate"], losses), **style)
    suggestion = content["suggestion"]
    if suggestion is not None:
        label = f"fastest: {suggestion:.3g}"
        axes.axvline(suggestion, color=INK, alpha=0.6, linewidth=1, label=label)
    first = next((value for value in content["smoothed_loss"] if value is not None), None)
    if first is not None and content["has_diverged"]:
        axes.set_ylim(bottom=0, top=_MOST_SHOWN * first)
    axes.set_xscale("log")
    axes.set(xlabel="learning rate", ylabel="loss")
    axes.legend()
