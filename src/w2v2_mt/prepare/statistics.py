"""Draw the contents of a corpus as one page that opens from disk."""

import math
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
from jinja2 import Template

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.units import seconds_from_samples

UTTERANCES_FILE = "utterances.tsv"
LEFT, RIGHT, TOP, BOTTOM = 60, 420, 34, 230
"""The part of a picture of 430 by 280 that holds the bars."""


def write_statistics(path: Path, *, title: str, sets: Mapping[str, Path]) -> None:
    """Write a table of all sets and two histograms of each; the same sets make the same bytes.

    `sets` are the folders of the sets by their names.
    """
    headings = ("set", "utterances", "speakers", "hours", "shortest", "median", "longest")
    source = (resources.files(__package__) / "statistics.html.j2").read_text(encoding="utf-8")
    template = Template(source, autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    described = [_describe(name, folder) for name, folder in sets.items()]
    replace_text(path, template.render(title=title, headings=headings, sets=described))


def _describe(name: str, folder: Path) -> dict[str, object]:
    """Return the row of the table of a set, and its pictures."""
    durations_sec: list[float] = []
    num_utterances: Counter[str] = Counter()
    with open(folder / UTTERANCES_FILE, encoding="utf-8") as file:
        next(file)
        for line in file:
            _, speaker_id, num_frames = line.split("\t")
            durations_sec.append(seconds_from_samples(int(num_frames)))
            if speaker_id:
                num_utterances[speaker_id] += 1
    durations, counts = np.array(durations_sec), np.array([*num_utterances.values()])
    extremes = (durations.min(), np.median(durations), durations.max())
    hours = f"{durations.sum() / 3600:.2f}"
    histograms = [_histogram(durations, "duration in seconds", "number of utterances")]
    if num_utterances:
        histograms.append(_histogram(counts, "utterances per speaker", "number of speakers"))
    return {
        "name": name,
        "cells": [name, len(durations), len(counts), hours, *(f"{sec:.2f} s" for sec in extremes)],
        "histograms": histograms,
    }


def _histogram(values: np.ndarray, x_title: str, y_title: str) -> dict[str, object]:
    """Return the coordinates and texts of a picture."""
    histogram = np.histogram(values, bins=40)
    counts, edges = (numbers.astype(float).tolist() for numbers in histogram)
    highest = max(1.0, *counts)
    first, last = edges[0], edges[-1]

    def x(value: float) -> str:
        return f"{LEFT + (value - first) / (last - first) * (RIGHT - LEFT):.1f}"

    def y(count: float) -> str:
        return f"{BOTTOM - count / highest * (BOTTOM - TOP):.1f}"

    steps = "".join(f"V{y(count)}H{x(edge)}" for count, edge in zip(counts, edges[1:], strict=True))
    return {
        "bars": f"M{LEFT} {BOTTOM}{steps}V{BOTTOM}Z",
        "x_ticks": [(x(tick), f"{tick:,.6g}") for tick in round_ticks(first, last)],
        "y_ticks": [(y(tick), f"{tick:,.6g}") for tick in round_ticks(0, highest)],
        "x_title": x_title,
        "y_title": y_title,
    }


def round_ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from `low` to `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
