"""Pictures of the scores of trials: detection error trade-off, and histograms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.special import ndtri  # the probit

from w2v2_mt.app.report.pictures import INK, SERIES, Picture, legend_below, picture, series_style
from w2v2_mt.app.run_folder import TrialScores
from w2v2_mt.metrics.ranked_trials import RankedTrials

_DET_TITLE = "Detection error trade-off"
_P_TARGET = 0.05
_TICKS_PER_CENT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 98, 99)
_PROBIT_STEP = 0.02
"""Of a DET curve, points that lie closer together than this are drawn as one."""
_NUM_BINS = 60
_DURATION = re.compile(r"_[\d.e+-]+s$")
"""What follows the name of a list whose utterances were cut to a duration."""
_ROOM_OF_LABEL = 0.065
"""Of the width of the picture: two labels of ticks that lie closer would touch."""


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """Miss and false-alarm rate at each threshold, and two thresholds that stand out."""

    miss_rates: np.ndarray
    false_alarm_rates: np.ndarray
    eer: float
    eer_threshold: float
    min_dcf: float
    min_dcf_index: int
    num_trials: int

    @classmethod
    def of(cls, trials: TrialScores) -> "TradeOff":
        """Raises ValueError for scores without error rates, such as those of one kind of trial."""
        ranked = RankedTrials(trials.scores, trials.labels)
        misses, false_alarms = ranked.error_rates()
        eer, threshold = ranked.equal_error_rate()
        costs = misses + (1 - _P_TARGET) / _P_TARGET * false_alarms
        index = int(costs.argmin())
        return cls(
            miss_rates=misses,
            false_alarm_rates=false_alarms,
            eer=eer,
            eer_threshold=threshold,
            min_dcf=float(costs[index]),
            min_dcf_index=index,
            num_trials=len(ranked),
        )


def det_pictures(lists: Mapping[str, TradeOff]) -> list[Picture]:
    """All trial lists in one picture, or, where there are durations, one for each list with its."""
    by_list: dict[str, dict[str, TradeOff]] = {}
    for name, each in lists.items():
        base = _DURATION.sub("", name)
        by_list.setdefault(base if base in lists else name, {})[name] = each
    if len(by_list) == len(lists):
        return [_det_picture(lists, name="det", title=_DET_TITLE)]
    return [
        _det_picture(each, name=f"det_{name}", title=f"{_DET_TITLE}, list {name}")
        for name, each in by_list.items()
    ]


def _det_picture(lists: Mapping[str, TradeOff], *, name: str, title: str) -> Picture:
    """With a point each for EER and minDCF."""

    def draw(axes: Axes) -> None:
        largest = max(each.eer for each in lists.values())
        # Below one trial there is nothing to see; rates of 0 lie on the edge of the picture.
        low = min(0.005, max(0.0001, *(0.5 / each.num_trials for each in lists.values())))
        high = 0.6 if largest < 0.25 else 0.995
        for number, (list_name, each) in enumerate(lists.items()):
            points = _probits(each.false_alarm_rates, each.miss_rates, low=low / 2, high=high)
            label = f"{list_name}: EER {100 * each.eer:.2f} %, minDCF {each.min_dcf:.3f}"
            style = series_style(number)
            axes.plot(points[0], points[1], label=label, linewidth=1.5, **style)
            best = each.min_dcf_index
            for rates, marker in (
                ((each.eer, each.eer), "o"),
                ((each.false_alarm_rates[best], each.miss_rates[best]), "s"),
            ):
                x, y = (float(ndtri(np.clip(rate, low, high))) for rate in rates)
                axes.plot([x], [y], marker=marker, color=style["color"], linestyle="none")
        for marker, meaning in (
            ("o", "EER"),
            ("s", f"minDCF, targets in {_P_TARGET:.0%} of trials"),
        ):
            axes.plot([], [], marker=marker, color=INK, linestyle="none", label=meaning)
        bounds = (float(ndtri(low)), float(ndtri(high)))
        axes.plot(bounds, bounds, color=INK, alpha=0.35, linewidth=0.8)
        ticks = [tick for tick in _TICKS_PER_CENT if 100 * low <= tick <= 100 * high]
        places = [float(ndtri(tick / 100)) for tick in ticks]
        shown = _with_room(places, gap=_ROOM_OF_LABEL * (bounds[1] - bounds[0]))
        for axis, is_shown in ((axes.xaxis, shown), (axes.yaxis, [True] * len(ticks))):
            axis.set_major_locator(FixedLocator(places))
            axis.set_minor_locator(NullLocator())
            axis.set_ticklabels(
                [f"{tick:g}" if shows else "" for tick, shows in zip(ticks, is_shown, strict=True)]
            )
        axes.set(
            xlim=bounds,
            ylim=bounds,
            xlabel="false alarms, % of trials of two speakers",
            ylabel="misses, % of trials of one speaker",
        )
        legend_below(axes)

    return picture(name, title=title, draw=draw)


def _with_room(places: Sequence[float], *, gap: float) -> list[bool]:
    """Of places in ascending order, which have at least that gap to the last one chosen."""
    chosen: list[bool] = []
    last = -np.inf
    for place in places:
        chosen.append(place - last >= gap)
        last = place if chosen[-1] else last
    return chosen


def _probits(
    x_rates: np.ndarray, y_rates: np.ndarray, *, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """The probits of both, without points that nobody could tell from their neighbours."""
    x, y = (ndtri(np.clip(rates, low, 1 - 1e-6)) for rates in (x_rates, y_rates))
    cells = np.stack([x, y]) // _PROBIT_STEP
    is_new = np.append(True, (np.diff(cells, axis=1) != 0).any(axis=0))
    is_new[-1] = True
    return x[is_new], y[is_new]


def histogram_picture(
    list_name: str, trials: TrialScores, trade_off: TradeOff, *, kind: str
) -> Picture:
    """How the scores of trials of one and of two speakers are spread; `kind` is what they are."""

    def draw(axes: Axes) -> None:
        edges = np.histogram_bin_edges(trials.scores, bins=_NUM_BINS)
        for label, name, colour in (
            (0, "two speakers", SERIES[1][0]),
            (1, "one speaker", SERIES[0][0]),
        ):
            scores = trials.scores[trials.labels == label]
            shares = 100 * np.histogram(scores, edges)[0] / len(scores)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(
                shares,
                edges,
                color=colour,
                linewidth=1.6,
                linestyle="solid" if label else "dashed",
                label=f"{name} ({len(scores):,} trials)",
            )
        axes.axvline(
            trade_off.eer_threshold,
            color=INK,
            linestyle="dotted",
            label=f"threshold of the EER ({trade_off.eer_threshold:.3f})",
        )
        axes.set(xlabel=f"score, {kind}", ylabel="% of these trials")
        axes.legend()

    return picture(f"scores_{list_name}", title=f"Scores of list {list_name}", draw=draw)
