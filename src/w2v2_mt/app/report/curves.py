"""Pictures of what a run logged: losses, weights, error rates, learning rate, memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from matplotlib.axes import Axes

from w2v2_mt.app.report.pictures import INK, Picture, picture, series_style, thinned
from w2v2_mt.app.run_folder import Points

_MAX_MARKED = 30


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Which logged values share a picture: those whose names fit a pattern."""

    title: str
    unit: str
    patterns: Sequence[str]
    scale: float = 1.0


_PLANS = (
    _Plan(
        title="Training loss",
        unit="loss",
        patterns=("train_loss", "train_speech_loss", "train_speaker_loss"),
    ),
    _Plan(title="Validation loss", unit="loss", patterns=("val_loss*",)),
    _Plan(
        title="Loss weights",
        unit="weight",
        patterns=("train_speech_loss_weight", "train_speaker_loss_weight"),
    ),
    _Plan(
        title="Word error rate",
        unit="% of reference words",
        patterns=("train_wer", "val_wer_*"),
        scale=100,
    ),
    _Plan(title="Equal error rate", unit="% of trials", patterns=("val_eer",), scale=100),
    _Plan(
        title="Speakers classified correctly",
        unit="% of utterances",
        patterns=("train_acc", "val_speaker_acc"),
        scale=100,
    ),
    _Plan(title="Learning rate", unit="learning rate", patterns=("lr-*",)),
    _Plan(
        title="Gradients of the two tasks",
        unit="cosine",
        patterns=("train_gradient_cosine",),
    ),
    _Plan(title="Memory", unit="most so far, GiB", patterns=("memory_*",)),
)


def curve_pictures(curves: Mapping[str, Points], *, tested_step: int | None) -> list[Picture]:
    """Those for which something was logged; a line marks the step of the checkpoint tested."""
    pictures = []
    for plan in _PLANS:
        drawn = {
            name: points
            for pattern in plan.patterns
            for name, points in curves.items()
            if fnmatchcase(name, pattern)
        }
        if drawn:
            pictures.append(_picture(plan, drawn, tested_step=tested_step))
    return pictures


def _picture(plan: _Plan, curves: Mapping[str, Points], *, tested_step: int | None) -> Picture:
    def draw(axes: Axes) -> None:
        # What was logged most often lies below what was logged at validations.
        in_order = sorted(curves.items(), key=lambda curve: -len(curve[1]))
        for number, (name, points) in enumerate(in_order):
            steps, values = thinned(
                [step for step, _ in points], [plan.scale * value for _, value in points]
            )
            marker = "o" if len(points) < _MAX_MARKED else None
            axes.plot(
                steps,
                values,
                label=name,
                linewidth=1.4,
                marker=marker,
                markersize=3.5,
                **series_style(number),
            )
        if tested_step is not None and any(name.startswith("val_") for name in curves):
            axes.axvline(
                tested_step, color=INK, alpha=0.6, linewidth=1, label="checkpoint that was tested"
            )
        axes.set(xlabel="optimiser step", ylabel=plan.unit)
        axes.legend()

    return picture(plan.title.lower().replace(" ", "_"), title=plan.title, draw=draw)
