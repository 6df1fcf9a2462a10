"""The speed of training: sums of time, audio, waits, FLOPs and energy, and their rates."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pytorch_lightning.profilers import PassThroughProfiler

from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.training.energy_meter import EnergyMeter

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
        useful_flops: The floating-point operations that the valid frames need, forward and
            backward.
        peak_flops: Those that the devices could have done at their peak speed; 0 if that is not
            known.
        energy_joules: The energy of the devices, validations included; 0 if it is not known.
    """

    training_sec: float = 0.0
    loader_wait_sec: float = 0.0
    num_samples: int = 0
    num_padded_samples: int = 0
    useful_flops: float = 0.0
    peak_flops: float = 0.0
    energy_joules: float = 0.0

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

    @property
    def tflops_per_sec(self) -> float:
        """Return the useful operations per second, in 10^12."""
        return _ratio(self.useful_flops / 1e12, self.training_sec)

    @property
    def mfu(self) -> float | None:
        """Return the model FLOPs utilization, the share of the peak speed; None if not known.

        Source: PaLM, arXiv 2204.02311, appendix B.
        """
        return self.useful_flops / self.peak_flops if self.peak_flops > 0 else None

    def rates(self) -> dict[str, float]:
        """Return what is logged and written, by its name."""
        rates = {
            "audio_per_sec": self.audio_per_sec,
            "padding_share": self.padding_share,
            "loader_wait_share": self.loader_wait_share,
            "tflops_per_sec": self.tflops_per_sec,
        }
        return rates if self.mfu is None else {**rates, "mfu": self.mfu}

    def summary(self) -> dict[str, float]:
        """Return the sums that are known, and the rates."""
        optional = ("peak_flops", "energy_joules")
        known = {
            name: value for name, value in asdict(self).items() if value or name not in optional
        }
        return {**known, **self.rates()}

    def describe(self) -> str:
        """Return the rates as a part of a sentence."""
        utilization = f"{self.tflops_per_sec:.3g} TFLOP/s"
        if self.mfu is not None:
            utilization = f"MFU {100 * self.mfu:.1f} %"
        return (
            f"{self.audio_per_sec:.0f} s of audio/s, padding {100 * self.padding_share:.1f} %, "
            f"loader wait {100 * self.loader_wait_share:.1f} %, {utilization}"
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

    peak_tflops: float | None = None
    """The peak speed of the device in TFLOP/s, if it is known."""

    energy: EnergyMeter | None = None
    """The meter of the energy of the device, if it has one."""

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

    def add_batches(self, batches: Iterable[BatchLengths], *, useful_flops: float) -> None:
        """Add the batches that a step trains on, and the operations that they need."""
        batches = list(batches)
        self._totals += SpeedTotals(
            num_samples=sum(sum(batch.num_samples) for batch in batches),
            num_padded_samples=sum(batch.num_padded_samples for batch in batches),
            useful_flops=useful_flops,
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
            elapsed_sec = now - self._running_since
            self._totals += SpeedTotals(
                training_sec=elapsed_sec, peak_flops=1e12 * (self.peak_tflops or 0) * elapsed_sec
            )
            self._running_since = now
        return merge_processes([self._totals] * num_processes)

    def read_run(self) -> SpeedTotals:
        """Return the sums of all processes since the run began. Every process must call it."""
        if self.energy is not None:
            self._totals += SpeedTotals(energy_joules=self.energy.take())
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
