"""The speed of training: sums of time, audio, padding and waits, and the rates that they give."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pytorch_lightning.profilers import PassThroughProfiler

from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.core.units import seconds_from_samples

_FETCH = ".train_dataloader_next"
"""The end of the name that Lightning gives to fetching a training batch."""


@dataclass(frozen=True, kw_only=True)
class SpeedTotals:
    """Sums over training steps, of one process or of a run.

    Args:
        training_sec: The time of training steps with the waits for their batches, without
            validations.
        loader_wait_sec: The part of it in which training waited for the DataLoader.
        num_samples: The valid samples of the batches.
        num_padded_samples: The samples of the batches, padding included.
    """

    training_sec: float = 0.0
    loader_wait_sec: float = 0.0
    num_samples: int = 0
    num_padded_samples: int = 0

    def __add__(self, other: "SpeedTotals") -> "SpeedTotals":
        return SpeedTotals(**{name: sum(each) for name, each in _columns([self, other])})

    def __sub__(self, other: "SpeedTotals") -> "SpeedTotals":
        return SpeedTotals(**{name: own - its for name, (own, its) in _columns([self, other])})

    @property
    def audio_sec(self) -> float:
        """Return the duration of the audio without padding."""
        return seconds_from_samples(self.num_samples)

    @property
    def audio_per_sec(self) -> float:
        """Return the seconds of audio that are trained on per second."""
        return _ratio(self.audio_sec, self.training_sec)

    @property
    def padding_share(self) -> float:
        """Return the share of padding in the samples of the batches."""
        return _ratio(self.num_padded_samples - self.num_samples, self.num_padded_samples)

    @property
    def loader_wait_share(self) -> float:
        """Return the share of the training time in which training waited for the DataLoader."""
        return _ratio(self.loader_wait_sec, self.training_sec)

    def rates(self) -> dict[str, float]:
        """Return what is logged and written, by its name."""
        return {
            "audio_per_sec": self.audio_per_sec,
            "padding_share": self.padding_share,
            "loader_wait_share": self.loader_wait_share,
        }

    def describe(self) -> str:
        """Return the rates as a part of a sentence."""
        return (
            f"{self.audio_per_sec:.0f} s of audio/s, padding {100 * self.padding_share:.1f} %, "
            f"loader wait {100 * self.loader_wait_share:.1f} %"
        )


def merge_processes(processes: Sequence[SpeedTotals]) -> SpeedTotals:
    """Return the sums of processes that train side by side: of times, the mean."""
    merged = sum(processes, start=SpeedTotals())
    times = ("training_sec", "loader_wait_sec")
    means = {name: getattr(merged, name) / len(processes) for name in times}
    return SpeedTotals(**asdict(merged) | means)


class SpeedMeter:
    """A meter of the training steps of a process.

    It never reads a value from a device. A GPU executes steps after they were launched, so that
    rates are those of many steps. The clock runs from the first fetch of a batch to the next
    validation.

    Args:
        clock: A function that returns the time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._totals = SpeedTotals()
        self._earlier = SpeedTotals()
        self._running_since: float | None = None
        self._waiting_since: float | None = None
        self.loader_timer = LoaderTimer(self)

    def begin_wait(self) -> None:
        """Start to wait for the DataLoader."""
        self._waiting_since = self._clock()
        if self._running_since is None:
            self._running_since = self._waiting_since

    def end_wait(self) -> None:
        """Add the time since the start of the wait."""
        assert self._waiting_since is not None
        self._totals += SpeedTotals(loader_wait_sec=self._clock() - self._waiting_since)

    def add_batches(self, batches: Iterable[BatchLengths]) -> None:
        """Add the batches that a step trains on."""
        for batch in batches:
            self._totals += SpeedTotals(
                num_samples=sum(batch.num_samples), num_padded_samples=batch.num_padded_samples
            )

    def pause(self) -> None:
        """Stop the clock until the next fetch of a batch."""
        self.read()
        self._running_since = None

    def read(self, *, num_processes: int = 1) -> SpeedTotals:
        """Return the sums of this process since training started or resumed.

        With several processes, the result is an estimate for all of them, as if all were equal.
        """
        if self._running_since is not None:
            now = self._clock()
            self._totals += SpeedTotals(training_sec=now - self._running_since)
            self._running_since = now
        return merge_processes([self._totals] * num_processes)

    def read_run(self) -> SpeedTotals:
        """Return the sums of all processes since the run began. Every process must call it."""
        return self._earlier + merge_processes(gather_from_processes(self.read()))

    def continue_from(self, earlier: SpeedTotals) -> None:
        """Continue from the sums of the earlier parts of a run."""
        self._earlier = earlier


class LoaderTimer(PassThroughProfiler):
    """A profiler of Lightning that measures nothing but the waits for training batches."""

    def __init__(self, meter: SpeedMeter):
        super().__init__()
        self._meter = meter

    def start(self, action_name: str) -> None:
        if action_name.endswith(_FETCH):
            self._meter.begin_wait()

    def stop(self, action_name: str) -> None:
        if action_name.endswith(_FETCH):
            self._meter.end_wait()


def _columns(rows: Sequence[SpeedTotals]) -> list[tuple[str, list[Any]]]:
    return [(each.name, [getattr(row, each.name) for row in rows]) for each in fields(SpeedTotals)]


def _ratio(amount: float, whole: float) -> float:
    return amount / whole if whole > 0 else 0.0
