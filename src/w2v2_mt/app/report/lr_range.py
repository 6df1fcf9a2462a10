"""The picture of a learning-rate range test."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from w2v2_mt.app.report.pictures import INK, Picture, picture, series_style, thinned

_MOST_SHOWN = 2.0
"""Times the first smoothed loss: what a test that diverged saw beyond says no more."""


def lr_range_picture(content: Mapping[str, Any]) -> Picture:
    """Of what `lr_range.json` holds: losses, smoothed losses and the suggestion."""
    rates = content["learning_rate"]
    suggestion = content["suggestion"]

    def draw(axes: Axes) -> None:
        for number, (label, name) in enumerate(
            [("loss of a step", "loss"), ("smoothed", "smoothed_loss")]
        ):
            values = [math.nan if value is None else value for value in content[name]]
            axes.plot(
                *thinned(rates, values),
                label=label,
                linewidth=0.8 if number == 0 else 2,
                **series_style(number),
            )
        if suggestion is not None:
            axes.axvline(
                suggestion, color=INK, alpha=0.6, linewidth=1, label=f"fastest: {suggestion:.3g}"
            )
        first = next((v for v in content["smoothed_loss"] if v is not None), None)
        if first is not None and content["has_diverged"]:
            axes.set_ylim(bottom=0, top=_MOST_SHOWN * first)
        axes.set_xscale("log")
        axes.set(xlabel="learning rate", ylabel="loss")
        axes.legend()

    return picture("learning_rate_range_test", title="Learning-rate range test", draw=draw)
