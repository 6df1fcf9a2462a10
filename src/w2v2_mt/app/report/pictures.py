"""A picture of a report: drawn once, as svg that follows the colours of its page, and as png."""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1c1c1d"
SERIES = (
    ("#0072b2", "#56b4e9"),
    ("#c24e00", "#ff9a56"),
    ("#00805d", "#2fd6a3"),
    ("#9b3f8c", "#e6a0cc"),
    ("#8a6500", "#f0c94d"),
    ("#4d4d9e", "#b4b4ff"),
)
"""Colours on a light and on a dark page, told apart by the colour-blind as well."""
DASHES = ("solid", "dashed", "dotted", "dashdot")

MAX_POINTS = 600
"""Of a line that is drawn: more than a picture has columns."""

_STYLE = {
    "svg.fonttype": "none",  # text, in the font of the page
    "svg.hashsalt": "w2v2-mt",  # the same picture has the same bytes
    "font.size": 10,
    "axes.titlesize": 11,
    "legend.fontsize": 9,
    "legend.framealpha": 0.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_SIZE = (5.4, 3.6)
_LINE_OF_LEGEND = 0.18
"""Inches."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Both forms of one picture.

    Args:
        name: That of its file.
        title: What it shows, for those who cannot see it.
    """

    name: str
    title: str
    svg: str
    png: bytes


def picture(name: str, *, title: str, draw: Callable[[Axes], None]) -> Picture:
    """What `draw` puts on the axes that it is given."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.grid(color=INK, alpha=0.15, linewidth=0.7)
        axes.set_title(title)
        draw(axes)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=130, facecolor="white")
        figure.set_layout_engine(None)  # It holds for both forms, and takes as long as drawing.
        unnamed = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=unnamed)
    return Picture(
        name=name, title=title, svg=_themed(svg.getvalue(), name=name), png=png.getvalue()
    )


def series_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the line of that number: neither alone has to tell lines apart.

    The first 24 lines differ: both lists begin anew together after 12, the dashes then one later.
    """
    rounds = number // math.lcm(len(SERIES), len(DASHES))
    return {
        "color": SERIES[number % len(SERIES)][0],
        "linestyle": DASHES[(number + rounds) % len(DASHES)],
    }


def legend_below(axes: Axes) -> None:
    """Where it hides nothing; the picture grows by it."""
    figure = axes.get_figure(root=True)
    handles, labels = axes.get_legend_handles_labels()
    assert figure is not None
    figure.set_figheight(figure.get_figheight() + _LINE_OF_LEGEND * len(labels))
    figure.legend(handles, labels, loc="outside lower center")


def colour_variables(*, dark: bool) -> str:
    """The declarations of css that the svg of a picture refers to."""
    return " ".join(f"--series-{i}: {pair[int(dark)]};" for i, pair in enumerate(SERIES))


def thinned(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most `MAX_POINTS` points that look like all: the lowest and highest of each stretch."""
    if len(x) <= MAX_POINTS:
        return list(x), list(y)
    values = np.asarray(y, dtype=np.float64)
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(values)), MAX_POINTS // 2):
        finite = stretch[np.isfinite(values[stretch])]
        if len(finite):
            lowest, highest = finite[values[finite].argmin()], finite[values[finite].argmax()]
            kept += sorted({int(lowest), int(highest)})
    return [x[index] for index in kept], [y[index] for index in kept]


def _themed(svg: str, *, name: str) -> str:
    """To be put into a page: without what only a file needs, in the colours of the page.

    Several pictures share the page, so each puts its name before its ids.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    svg = svg.replace('xlink:href="', 'href="')
    svg = re.sub(r'( id="|="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    for number, (light, _) in enumerate(SERIES):
        svg = svg.replace(light, f"var(--series-{number})")
    return re.sub(r"\s*\n\s*", "\n", svg)
