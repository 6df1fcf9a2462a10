"""Pictures of the jobs of a sweep by their validation metrics."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from w2v2_mt.report.pictures import INK, SERIES, Picture, add_legend, draw_picture, series_style
from w2v2_mt.runs.sweep_folder import DONE, SweepJob

_MAX_IN_LEGEND = 12
"""Most lines with an entry in the legend."""
_MAX_TICKS = 6
"""Most learning rates that each have a labeled tick."""
_PLACES = ((1, 1), (-1, 1), (1, -1), (-1, -1))
_TO_LABEL = np.array((13.0, 7.0))
"""From a point to the middle of its label, in typographic points."""
_FAR = 2.0
"""Distance, in units of `_TO_LABEL`, from which on nothing is hidden."""
_PICTURE = (320, 180)
"""Width and height of the axes, in typographic points."""


def trade_off_picture(jobs: Sequence[SweepJob], *, wer: str, eer: str) -> Picture | None:
    """Draw a point per job that has both validation metrics; return None if no job has them."""
    points = {}
    for job in jobs:
        x, y = job.value(wer), job.value(eer)
        if x is not None and y is not None:
            points[job.number] = (100 * x, 100 * y)
    if not points:
        return None

    def draw(axes: Axes) -> None:
        for is_finished, label in ((True, "done"), (False, "not done: last validation")):
            drawn = [
                points[job.number]
                for job in jobs
                if job.number in points and (job.state == DONE) == is_finished
            ]
            if drawn:
                fill = SERIES[0][0] if is_finished else "none"
                x, y = zip(*drawn, strict=True)
                axes.scatter(x, y, color=fill, edgecolors=SERIES[0][0], label=label)
        places = label_places([*points.values()])
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": INK}
        for (number, point), place in zip(points.items(), places, strict=True):
            style["xytext"] = _TO_LABEL * place
            axes.annotate(f"#{number}", point, textcoords="offset points", **style)
        axes.margins(0.1)  # Room for the labels.
        axes.set(xlabel=f"{wer}, % of reference words", ylabel=f"{eer}, % of trials")
        add_legend(axes)

    title = "Dev word error rate against dev equal error rate, by job"
    return draw_picture("wer_against_eer", title, draw)


def learning_rate_picture(
    jobs: Sequence[SweepJob], variants: Mapping[int, str], *, metric: str
) -> Picture | None:
    """Draw a line per variant of the finished jobs, through the mean over seeds of each rate.

    `variants` are the settings of each job by its number, without learning rate and seed. The
    picture is None if fewer than two learning rates have a result.
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
            style = series_style(number, variant if number < _MAX_IN_LEGEND else None)
            rates = sorted(by_rate)
            means = [fmean(by_rate[rate]) for rate in rates]
            axes.plot(rates, means, linewidth=1.4, **style)
            for rate in rates:
                values = by_rate[rate]
                axes.plot([rate] * len(values), values, "o", markersize=4, color=style["color"])
        axes.set(xlabel="learning rate", ylabel=f"{metric}, %", xscale="log")
        if len(all_rates) <= _MAX_TICKS:
            axes.minorticks_off()
            axes.set_xticks(all_rates, [f"{rate:g}" for rate in all_rates])
        add_legend(axes)

    title = f"{metric} by learning rate, of jobs that are done"
    return draw_picture(f"{metric}_by_learning_rate", title, draw)


def label_places(points: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Return for each point if its label is right (1) or left (-1) of it, and above (1) or below.

    Labels are placed one after the other, where the nearest other point or label is farthest.
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
        chosen = int(gaps.max(axis=2).min(axis=1, initial=_FAR).argmax())
        labels.append(candidates[chosen])
        places.append(_PLACES[chosen])
    return places
