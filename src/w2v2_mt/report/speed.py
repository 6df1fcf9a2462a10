"""The table of the speed of training, from `speed.json`."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.report.page import Table
from w2v2_mt.training.energy_meter import JOULES_PER_KWH


def _describe_duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _describe_share(share: float) -> str:
    return f"{100 * share:.1f} %"


_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("num_steps", "optimizer steps", lambda number: f"{number:,.0f}"),
    ("training_sec", "time in training steps", _describe_duration),
    (
        "num_samples",
        "audio",
        lambda number: _describe_duration(seconds_from_samples(round(number))),
    ),
    ("audio_per_sec", "seconds of audio per second", lambda number: f"{number:,.1f}"),
    ("padding_share", "share of padding in the batches", _describe_share),
    ("loader_wait_share", "share of the time that training waited for data", _describe_share),
    ("useful_flops", "useful PFLOP", lambda number: f"{number / 1e15:,.4g}"),
    ("tflops_per_sec", "useful TFLOP per second", lambda number: f"{number:,.4g}"),
    ("mfu", "model FLOPs utilization (MFU)", _describe_share),
    ("energy_joules", "energy, kWh", lambda number: f"{number / JOULES_PER_KWH:,.4g}"),
)
"""The name of a value, its text in the table, and its form."""


def speed_tables(speed: Mapping[str, float]) -> list[Table]:
    """Return the table of what is known of the speed, if anything is."""
    rows = [(text, show(speed[name])) for name, text, show in _ROWS if name in speed]
    title = "Speed of training, over the whole run"
    return [Table(title=title, columns=("measure", "value"), rows=rows)] if rows else []
