"""Pictures of a report, as SVG in the colors of its page and as PNG."""

import hashlib
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, LogFormatterMathtext

from w2v2_mt.core.terminal import visible

INK = "#1c1c1d"
SERIES = (
    ("#0072b2", "#56b4e9"),
    ("#c24e00", "#ff9a56"),
    ("#00805d", "#2fd6a3"),
    ("#9b3f8c", "#e6a0cc"),
    ("#8a6500", "#f0c94d"),
    ("#4d4d9e", "#b4b4ff"),
)
"""Colors on a light and on a dark page, which differ for color-blind readers as well."""
DASHES = ("solid", "dashed", "dotted", "dashdot")

MAX_POINTS = 600
"""Most points of a line; a picture has no more columns of pixels."""

_STYLE = {
    "text.parse_math": False,  # "$" in a name is a dollar
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
_LEGEND_LINE_INCHES = 0.18
_SOFTWARE = "w2v2-mt report"
"""The name of the program in the PNG files of reports, followed by the name of the file."""
_MAX_HEADER = 512
"""Number of bytes at the beginning of a PNG file in which it names that program."""
_MAX_NAME = 100
"""Most characters of a name that are part of the name of its file."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as an `<svg>` element in the color variables of the page, and as a PNG file."""

    name: str
    title: str
    svg: str
    png: bytes


def draw_picture(name: str, title: str, draw: Callable[[Axes], None]) -> Picture:
    """Draw a picture on the axes that `draw` receives; its file is named after `name`."""
    name = slug(name)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.grid(color=INK, alpha=0.15, linewidth=0.7)
        axes.set_title(title)
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
                axis.set_major_formatter(LogFormatter(labelOnlyBase=True))
                axis.set_minor_formatter(LogFormatter())
        for text in figure.findobj(Text):
            text.set_text(visible(text.get_text(), keep=""))
        svg, png = io.StringIO(), io.BytesIO()
        mark = {"Software": f"{_SOFTWARE}, {name}.png"}
        figure.savefig(png, format="png", dpi=130, facecolor="white", metadata=mark)
        figure.set_layout_engine(None)  # It holds for both forms, and takes as long as drawing.
        unnamed = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=unnamed)
    return Picture(name=name, title=title, svg=_adapt(svg.getvalue(), name), png=png.getvalue())


def slug(name: str) -> str:
    """Return a file name and XML id for a name, different for different names.

    A name that is none itself, as it has other characters or is too long, ends with a hash.
    """
    plain = re.sub(r"[^A-Za-z0-9_.=+-]", "_", name)[:_MAX_NAME].lstrip(".-")
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:12]}"


def is_own_picture(path: Path) -> bool:
    """Return True if a PNG file, not a link to one, was written by this module at this name."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(_MAX_HEADER)
    return (
        beginning.startswith(b"\x89PNG")
        and f"Software\0{_SOFTWARE}, {path.name}".encode(errors="surrogateescape") in beginning
    )


def series_style(number: int, label: str | None) -> dict[str, Any]:
    """Return the color, dashes and label of the line with a number; the first 24 lines differ.

    Both lists start again together after 12 lines, from when on the dashes are shifted by one.
    """
    rounds = number // math.lcm(len(SERIES), len(DASHES))
    return {
        "color": SERIES[number % len(SERIES)][0],
        "linestyle": DASHES[(number + rounds) % len(DASHES)],
        # A legend omits labels that start with an underscore.
        "label": f" {label}" if label and label.startswith("_") else label,
    }


def add_legend(axes: Axes) -> None:
    """Add a legend below the axes, where it hides nothing, and enlarge the picture for it."""
    figure = axes.get_figure(root=True)
    handles, labels = axes.get_legend_handles_labels()
    assert figure is not None
    figure.set_figheight(figure.get_figheight() + _LEGEND_LINE_INCHES * len(labels))
    figure.legend(handles, labels, loc="outside lower center")


def thin_out(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Keep at most `MAX_POINTS` points: the lowest and highest of each stretch of a line."""
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


def _adapt(svg: str, name: str) -> str:
    """Prepare an SVG for a page: its colors, no metadata, and ids that start with its name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    # Texts between the tags may have the same characters.
    svg = re.sub(r"<\w[^>]*>", lambda tag: _adapt_tag(tag[0], name), svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _adapt_tag(tag: str, name: str) -> str:
    tag = tag.replace('xlink:href="', 'href="').replace(INK, "currentColor")
    tag = re.sub(r'( id="|="#|url\(#)', rf"\g<1>{name}-", tag)
    for number, (light, _) in enumerate(SERIES):
        tag = tag.replace(light, f"var(--series-{number})")
    return tag
