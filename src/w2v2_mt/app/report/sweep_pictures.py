"""Pictures of the jobs of a sweep by their dev metrics: one task against the other, and by rate."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes

from w2v2_mt.app.report.pictures import INK, SERIES, Picture, legend_below, picture, series_style
from w2v2_mt.app.sweep_folder import DONE, SweepJob

_MAX_IN_LEGEND = 12
"""More lines would make the picture mostly legend."""
_MAX_TICKS = 6
"""So many learning rates have room below the axis, each with its number."""
_PLACES = ((1, 1), (-1, 1), (1, -1), (-1, -1))
_TO_LABEL = np.array((13.0, 7.0))
"""From a point to the middle of its label, in typographic points."""
_FAR = 2.0
"""So many times that, nothing is hidden."""
_PICTURE = (320, 180)
"""What is drawn in, in the same."""


def trade_off_picture(jobs: Sequence[SweepJob], *, wer: str, eer: str) -> Picture | None:
    """A point for each job that has both dev metrics; None where no job has them."""
    points = []
    for job in jobs:
        x, y = job.value(wer), job.value(eer)
        if x is not None and y is not None:
            points.append((100 * x, 100 * y, job))
    if not points:
        return None

    def draw(axes: Axes) -> None:
        for is_finished, label in ((True, "done"), (False, "last validation of another")):
            drawn = [point for point in points if (point[2].state == DONE) == is_finished]
            if drawn:
                axes.scatter(
                    [x for x, _, _ in drawn],
                    [y for _, y, _ in drawn],
                    color=SERIES[0][0] if is_finished else "none",
                    edgecolors=SERIES[0][0],
                    label=label,
                )
        places = label_places([(x, y) for x, y, _ in points])
        for (x, y, job), (right, up) in zip(points, places, strict=True):
            axes.annotate(
                f"#{job.number}",
                (x, y),
                xytext=(_TO_LABEL[0] * right, _TO_LABEL[1] * up),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=9,
                color=INK,
            )
        axes.margins(0.1)  # Room for the labels.
        axes.set(xlabel=f"{wer}, % of reference words", ylabel=f"{eer}, % of trials")
        legend_below(axes)

    title = "Dev word error rate against dev equal error rate, by job"
    return picture("wer_against_eer", title=title, draw=draw)


def learning_rate_picture(
    jobs: Sequence[SweepJob], variants: Mapping[int, str], *, metric: str
) -> Picture | None:
    """A line for each variant of the jobs that are done, through the mean of those of one rate.

    None where fewer than two learning rates have a result.

    Args:
        variants: by the number of a job, what it differs in but for learning rate and seed.
    """
    by_variant: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        value = job.value(metric)
        if job.state == DONE and value is not None and job.learning_rate is not None:
            by_variant[variants[job.number]][job.learning_rate].append(100 * value)
    all_rates = sorted({rate for by_rate in by_variant.values() for rate in by_rate})
    if len(all_rates) < 2:
        return None

    def draw(axes: Axes) -> None:
        for number, (variant, by_rate) in enumerate(by_variant.items()):
            style = series_style(number)
            rates = sorted(by_rate)
            means = [fmean(by_rate[rate]) for rate in rates]
            label = variant if number < _MAX_IN_LEGEND else None
            axes.plot(rates, means, label=label, linewidth=1.4, **style)
            for rate in rates:
                values = by_rate[rate]
                axes.plot([rate] * len(values), values, "o", markersize=4, color=style["color"])
        axes.set(xlabel="learning rate", ylabel=f"{metric}, %", xscale="log")
        if len(all_rates) <= _MAX_TICKS:
            axes.minorticks_off()
            axes.set_xticks(all_rates, [f"{rate:g}" for rate in all_rates])
        legend_below(axes)

    title = f"{metric} by learning rate, of jobs that are done"
    return picture(f"{metric}_by_learning_rate", title=title, draw=draw)


def label_places(points: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """For each point whether its label goes right (1) or left (-1) of it, and above or below.

    One after the other, each where no other point or label is near, or the nearest is farthest.
    """
    at = np.array(points, dtype=np.float64)
    span = np.ptp(at, axis=0)
    at = (at - at.min(axis=0)) / np.where(span > 0, span, 1) * _PICTURE
    labels: list[np.ndarray] = []
    places = []
    for index, point in enumerate(at):
        others = np.array([*np.delete(at, index, axis=0), *labels]).reshape(-1, 2)
        candidates = point + np.multiply(_PLACES, _TO_LABEL)
        gaps = np.abs(candidates[:, None] - others) / _TO_LABEL
        nearest = gaps.max(axis=2).min(axis=1, initial=_FAR)
        chosen = int(nearest.argmax())
        labels.append(candidates[chosen])
        places.append(_PLACES[chosen])
    return places
