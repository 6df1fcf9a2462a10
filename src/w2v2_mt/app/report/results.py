"""Tables of what a test measured, from the flat names of `metrics.json`."""

import math
from collections.abc import Mapping, Sequence

from w2v2_mt.app.report.page import Table
from w2v2_mt.app.run_folder import MetricValue

_INTERVAL = ("_low", "_high")

_WORDS = (
    ("WER, %", "test_wer_{}", 100),
    ("insertions", "test_wer_{}_insertions", 1),
    ("deletions", "test_wer_{}_deletions", 1),
    ("substitutions", "test_wer_{}_substitutions", 1),
    ("words", "test_wer_{}_num_words", 1),
)
_CHARACTERS = (
    ("CER, %", "test_cer_{}", 100),
    ("insertions", "test_cer_{}_insertions", 1),
    ("deletions", "test_cer_{}_deletions", 1),
    ("substitutions", "test_cer_{}_substitutions", 1),
    ("characters", "test_cer_{}_num_characters", 1),
)
_SPEAKER = (
    ("EER, %", "test_eer_{}", 100),
    ("minDCF (.05)", "test_mindcf_{}", 1),
    ("minDCF (.01)", "test_mindcf_p01_{}", 1),
    ("Cllr, bits", "test_cllr_{}", 1),
)
NO_VALUE = "-"


def result_tables(metrics: Mapping[str, MetricValue]) -> list[Table]:
    """Tables of the test sets of speech, one of trial lists, two of all else; none is empty."""
    tables = []
    told: set[str] = set()
    for title, of_what, columns in (
        ("Word errors, test", "set", _WORDS),
        ("Character errors, test", "set", _CHARACTERS),
        ("Speaker recognition, test", "trial list", _SPEAKER),
    ):
        table = _table(metrics, title=title, of_what=of_what, columns=columns, told=told)
        if table.rows:
            tables.append(table)
    for title, prefix in (("Dev data", "val_"), ("Further values", "")):
        rest = [name for name in metrics if name.startswith(prefix) and name not in told]
        told.update(rest)
        if rest:
            rows = [(name, formatted(metrics[name])) for name in rest]
            tables.append(
                Table(title=title, columns=("name", "value"), rows=rows, num_word_columns=1)
            )
    return tables


def main_test_metrics(metrics: Mapping[str, MetricValue]) -> list[str]:
    """The names of the word and equal error rates on test data, without their details."""
    return [
        columns[0][1].format(name)
        for columns in (_WORDS, _SPEAKER)
        for name in _names(metrics, columns)
    ]


def _table(
    metrics: Mapping[str, MetricValue],
    *,
    title: str,
    of_what: str,
    columns: Sequence[tuple[str, str, float]],
    told: set[str],
) -> Table:
    """The names that went into the table are added to `told`."""
    names = _names(metrics, columns)
    shown = [
        (heading, pattern, scale)
        for heading, pattern, scale in columns
        if any(pattern.format(name) in metrics for name in names)
    ]
    headings = [of_what]
    rows = [[name] for name in names]
    for heading, pattern, scale in shown:
        headings.append(heading)
        has_interval = any(pattern.format(name) + _INTERVAL[0] in metrics for name in names)
        if has_interval:
            headings.append("95 % interval")
        for name, row in zip(names, rows, strict=True):
            keys = [pattern.format(name) + suffix for suffix in ("", *_INTERVAL)]
            told.update(key for key in keys if key in metrics)
            value, *bounds = (_scaled(metrics.get(key), scale) for key in keys)
            row.append(value)
            if has_interval:
                row.append(NO_VALUE if NO_VALUE in bounds else " to ".join(bounds))
    return Table(title=title, columns=headings, rows=rows, num_word_columns=1)


def _names(
    metrics: Mapping[str, MetricValue], columns: Sequence[tuple[str, str, float]]
) -> list[str]:
    """Of the sets or lists: what follows the prefix of the first column, but for its suffixes."""
    prefix = columns[0][1].format("")
    found = [name.removeprefix(prefix) for name in metrics if name.startswith(prefix)]
    suffixes = [
        *_INTERVAL,
        *(pattern.removeprefix(columns[0][1]) for _, pattern, _ in columns[1:]
          if pattern.startswith(columns[0][1])),
    ]  # fmt: skip
    return [
        name
        for name in found
        if not any(
            name.endswith(suffix) and name.removesuffix(suffix) in found for suffix in suffixes
        )
    ]


def _scaled(value: MetricValue, scale: float) -> str:
    if value is None or isinstance(value, str):
        return NO_VALUE
    if scale == 1:
        return formatted(value)
    return f"{scale * value:.2f}"


def formatted(value: MetricValue) -> str:
    """Small numbers keep their digits; what is not finite is nan, inf or -inf."""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return str(int(value)) if value == int(value) and abs(value) >= 2 else f"{value:.4g}"
