"""Pictures of verification scores: detection error trade-off (DET) curves and histograms."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.special import ndtri  # the probit

from w2v2_mt.metrics.ranked_trials import RankedTrials
from w2v2_mt.report.pictures import INK, SERIES, Picture, add_legend, draw_picture, series_style
from w2v2_mt.runs.run_folder import RunFolder, TrialScores
from w2v2_mt.settings.instantiation import find_setting

_P_TARGET = 0.05
_TICKS_PER_CENT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 98, 99)
_PROBIT_STEP = 0.02
"""Points of a DET curve that are closer than this are drawn as one."""
_NUM_BINS = 60
_DURATION = re.compile(r"_[\d.e+-]+s$")
"""The suffix of a list whose utterances were truncated to a duration."""
_LEAST_LABEL_GAP = 0.065
"""Least distance of two tick labels, as a fraction of the axis."""


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """Miss and false-alarm rate at each threshold, with the EER and the minDCF."""

    trials: TrialScores
    miss_rates: np.ndarray
    false_alarm_rates: np.ndarray
    eer: float
    eer_threshold: float
    min_dcf: float
    min_dcf_index: int

    @classmethod
    def of(cls, trials: TrialScores) -> "TradeOff":
        """Compute the trade-off of a list.

        Raises:
            ValueError: The scores have no error rates, such as those of target trials only.
        """
        ranked = RankedTrials(trials.scores, trials.labels)
        misses, false_alarms = ranked.error_rates()
        eer, threshold = ranked.equal_error_rate()
        costs = misses + (1 - _P_TARGET) / _P_TARGET * false_alarms
        index = int(costs.argmin())
        return cls(
            trials=trials,
            miss_rates=misses,
            false_alarm_rates=false_alarms,
            eer=eer,
            eer_threshold=threshold,
            min_dcf=float(costs[index]),
            min_dcf_index=index,
        )


def verification_pictures(run: RunFolder) -> tuple[list[Picture], dict[str, str]]:
    """Return the pictures of the trial lists, and for each list without any the reason."""
    lists, reasons = {}, {}
    for name, trials in run.trial_scores().items():
        try:
            lists[name] = TradeOff.of(trials)
        except ValueError as error:
            reasons[name] = str(error)
    normalization = find_setting(run.config, "evaluation.score_normalisation", "none")
    kind = "cosine" if normalization == "none" else f"cosine after {normalization}"
    histograms = [histogram_picture(name, each, kind=kind) for name, each in lists.items()]
    return [*det_pictures(lists), *histograms], reasons


def det_pictures(lists: Mapping[str, TradeOff]) -> list[Picture]:
    """Draw all trial lists in one picture, or one per list if there are truncated versions."""
    by_list: dict[str, dict[str, TradeOff]] = defaultdict(dict)
    for name, each in lists.items():
        base = _DURATION.sub("", name)
        by_list[base if base in lists else name][name] = each
    title = "Detection error trade-off"
    if lists and len(by_list) == len(lists):
        return [draw_picture("det", title, partial(_draw_det, lists))]
    return [
        draw_picture(f"det_{name}", f"{title}, list {name}", partial(_draw_det, each))
        for name, each in by_list.items()
    ]


def _draw_det(lists: Mapping[str, TradeOff], axes: Axes) -> None:
    """Draw DET curves with a point each for EER and minDCF."""
    # Rates below one trial do not exist; rates of 0 are drawn on the edge of the picture.
    least = [0.5 / len(each.trials.scores) for each in lists.values()]
    low = min(0.005, max(0.0001, *least))
    high = 0.6 if max(each.eer for each in lists.values()) < 0.25 else 0.995
    for number, (name, each) in enumerate(lists.items()):
        label = f"{name}: EER {100 * each.eer:.2f} %, minDCF {each.min_dcf:.3f}"
        style = series_style(number, label)
        rates = np.stack([each.false_alarm_rates, each.miss_rates])
        axes.plot(*_probits(rates, low=low / 2), linewidth=1.5, **style)
        for point, marker in ((each.eer, "o"), (rates[:, [each.min_dcf_index]], "s")):
            x, y = np.broadcast_to(ndtri(np.clip(point, low, high)), (2, 1))
            axes.plot(x, y, marker=marker, color=style["color"], linestyle="none")
    for marker, meaning in (("o", "EER"), ("s", f"minDCF, targets in {_P_TARGET:.0%} of trials")):
        axes.plot([], [], marker=marker, color=INK, linestyle="none", label=meaning)
    bounds = (float(ndtri(low)), float(ndtri(high)))
    axes.plot(bounds, bounds, color=INK, alpha=0.35, linewidth=0.8)
    ticks = [tick for tick in _TICKS_PER_CENT if 100 * low <= tick <= 100 * high]
    places = [float(ndtri(tick / 100)) for tick in ticks]
    labels = [f"{tick:g}" for tick in ticks]
    spaced_labels, last = [], -np.inf
    for place, label in zip(places, labels, strict=True):
        has_room = place - last >= _LEAST_LABEL_GAP * (bounds[1] - bounds[0])
        spaced_labels.append(label if has_room else "")
        last = place if has_room else last
    for axis, tick_labels in ((axes.xaxis, spaced_labels), (axes.yaxis, labels)):
        axis.set_major_locator(FixedLocator(places))
        axis.set_minor_locator(NullLocator())
        axis.set_ticklabels(tick_labels)
    axes.set(xlim=bounds, ylim=bounds)
    axes.set(xlabel="false alarms, % of non-target trials", ylabel="misses, % of target trials")
    add_legend(axes)


def _probits(rates: np.ndarray, *, low: float) -> np.ndarray:
    """Return the probits of two rows of rates, without points that look like their neighbors."""
    points = ndtri(np.clip(rates, low, 1 - 1e-6))
    is_new = np.append(True, (np.diff(points // _PROBIT_STEP, axis=1) != 0).any(axis=0))
    is_new[-1] = True
    return points[:, is_new]


def histogram_picture(list_name: str, trade_off: TradeOff, *, kind: str) -> Picture:
    """Draw histograms of target and non-target scores; `kind` names the score."""
    title = f"Scores of list {list_name}"
    return draw_picture(f"scores_{list_name}", title, partial(_draw_scores, trade_off, kind))


def _draw_scores(trade_off: TradeOff, kind: str, axes: Axes) -> None:
    trials = trade_off.trials
    edges = np.histogram_bin_edges(trials.scores, bins=_NUM_BINS)
    for label, name, (color, _), linestyle in (
        (0, "non-target", SERIES[1], "dashed"),
        (1, "target", SERIES[0], "solid"),
    ):
        scores = trials.scores[trials.labels == label]
        shares = 100 * np.histogram(scores, edges)[0] / len(scores)
        legend = f"{name} ({len(scores):,} trial{'' if len(scores) == 1 else 's'})"
        axes.stairs(shares, edges, fill=True, color=color, alpha=0.3)
        axes.stairs(shares, edges, color=color, linewidth=1.6, linestyle=linestyle, label=legend)
    threshold = trade_off.eer_threshold
    legend = f"EER threshold ({threshold:.3f})"
    axes.axvline(threshold, color=INK, linestyle="dotted", label=legend)
    axes.set(xlabel=f"score, {kind}", ylabel="% of these trials")
    axes.legend()
