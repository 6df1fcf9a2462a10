"""Pictures of the jobs of a sweep by their dev metrics: one task against the other, and by rate."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes

from w2v2_mt.app.report.pictures import INK, SERIES, Picture, picture, series_style
from w2v2_mt.app.sweep_folder import DONE, SweepJob

_MAX_IN_LEGEND = 12
"""So many pairs of colour and dashes are there."""


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
        for x, y, job in points:
            axes.annotate(
                f"#{job.number}",
                (x, y),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=9,
                color=INK,
            )
        axes.set(xlabel=f"{wer}, % of reference words", ylabel=f"{eer}, % of trials")
        axes.legend()

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
    if len({rate for by_rate in by_variant.values() for rate in by_rate}) < 2:
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
        axes.legend()

    title = f"{metric} by learning rate, of jobs that are done"
    return picture(f"{metric}_by_learning_rate", title=title, draw=draw)
