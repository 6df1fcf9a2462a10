"""Tables of test results, from the flat names of `metrics.json`."""

import math
from collections.abc import Mapping, Sequence

from w2v2_mt.core.units import is_rate
from w2v2_mt.report.page import Table
from w2v2_mt.runs.run_folder import MetricValue

NO_VALUE = "-"

_Columns = Sequence[tuple[str, str, float]]
"""The heading, the name of a set's metric and the scale of each column."""
_INTERVAL = ("_low", "_high")


def _error_columns(rate: str, unit: str) -> _Columns:
    edits = ("insertions", "deletions", "substitutions")
    return (
        (f"{rate.upper()}, %", f"test_{rate}_{{}}", 100),
        *((edit, f"test_{rate}_{{}}_{edit}", 1) for edit in edits),
        (unit, f"test_{rate}_{{}}_num_{unit}", 1),
    )


_WORDS = _error_columns("wer", "words")
_SPEAKER: _Columns = (
    ("EER, %", "test_eer_{}", 100),
    ("minDCF (.05)", "test_mindcf_{}", 1),
    ("minDCF (.01)", "test_mindcf_p01_{}", 1),
    ("Cllr, bits", "test_cllr_{}", 1),
)
_TABLES = (
    ("Word errors, test", "set", _WORDS),
    ("Character errors, test", "set", _error_columns("cer", "characters")),
    ("Speaker recognition, test", "trial list", _SPEAKER),
)


def result_tables(metrics: Mapping[str, MetricValue]) -> list[Table]:
    """Return the tables that have rows: errors by test set, trial lists, and all other values."""
    tables = []
    metrics = _drop_empty_intervals(metrics)
    rest = dict(metrics)
    for title, item, columns in _TABLES:
        names = _names(metrics, columns)
        headings, rows = [item], [[name] for name in names]
        for heading, pattern, scale in columns:
            keys = [pattern.format(name) for name in names]
            if any(key in metrics for key in keys):
                headings.append(heading)
                for key, row in zip(keys, rows, strict=True):
                    row.append(_scale(metrics.get(key), scale))
                    _remove(rest, key)
            # A value without its interval, or half of an interval, is a further value.
            intervals = [_interval(metrics, key, scale) for key in keys]
            if set(intervals) - {NO_VALUE}:
                headings.append("95 % interval")
                for key, interval, row in zip(keys, intervals, rows, strict=True):
                    row.append(interval)
                    if interval != NO_VALUE:
                        _remove(rest, *(key + bound for bound in _INTERVAL))
        if rows:
            tables.append(Table(title=title, columns=headings, rows=rows))
    for title, prefix in (("Dev data", "val_"), ("Further values", "")):
        names = [name for name in rest if name.startswith(prefix)]
        if names:
            values = [_row(name, rest.pop(name)) for name in names]
            tables.append(Table(title=title, columns=("name", "value"), rows=values))
    return tables


def error_rate_table(metrics: Mapping[str, MetricValue]) -> Table:
    """Return the error rates of each test set and trial list, with their intervals."""
    metrics = _drop_empty_intervals(metrics)
    rows = []
    for _, _, columns in _TABLES:
        heading, pattern, scale = columns[0]
        for name in _names(metrics, columns):
            key = pattern.format(name)
            rate = heading.removesuffix(", %")
            rows.append(
                (f"{rate} {name}", _scale(metrics[key], scale), _interval(metrics, key, scale))
            )
    return Table(title="Test", columns=("error rate", "%", "95 % interval"), rows=rows)


def main_test_metrics(metrics: Mapping[str, MetricValue]) -> list[str]:
    """Return the names of the word and equal error rates on test data, without their details."""
    return [
        columns[0][1].format(name)
        for columns in (_WORDS, _SPEAKER)
        for name in _names(metrics, columns)
    ]


def _names(metrics: Mapping[str, MetricValue], columns: _Columns) -> list[str]:
    """Return the names of the sets or lists that have a value in the first column."""
    first = columns[0][1]
    prefix = first.format("")
    found = [name.removeprefix(prefix) for name in metrics if name.startswith(prefix)]
    details = [pattern.removeprefix(first) for _, pattern, _ in columns[1:]]
    endings = (*_INTERVAL, *details)
    of_details = {name + ending for name in found for ending in endings}
    return [name for name in found if name not in of_details]


def _remove(rest: dict[str, MetricValue], *names: str) -> None:
    """Remove what a table shows; a text in place of a number remains among the further values."""
    for name in names:
        if not isinstance(rest.get(name), str):
            rest.pop(name, None)


def _row(name: str, value: MetricValue) -> tuple[str, str]:
    if is_rate(name) and isinstance(value, int | float):
        return f"{name}, %", _scale(value, 100)
    return name, _format(value)


def _drop_empty_intervals(metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Return the metrics without intervals of no width, such as those of equal rates."""
    low, high = _INTERVAL
    stems = [name.removesuffix(low) for name in metrics if name.endswith(low)]
    empty = [each for each in stems if metrics[each + low] == metrics.get(each + high)]
    bounds = {stem + bound for stem in empty for bound in _INTERVAL}
    return {name: value for name, value in metrics.items() if name not in bounds}


def _interval(metrics: Mapping[str, MetricValue], key: str, scale: float) -> str:
    """Return the interval of a value, if it and both bounds are there."""
    texts = [_scale(metrics.get(name), scale) for name in (key + bound for bound in _INTERVAL)]
    return " to ".join(texts) if key in metrics and NO_VALUE not in texts else NO_VALUE


def _scale(value: MetricValue, scale: float) -> str:
    if value is None or isinstance(value, str):
        return NO_VALUE
    return _format(value) if scale == 1 else f"{scale * value:.2f}"


def _format(value: MetricValue) -> str:
    """Format a value: small numbers keep their digits, others are nan, inf or -inf."""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return str(int(value)) if value == int(value) and abs(value) >= 2 else f"{value:.4g}"
