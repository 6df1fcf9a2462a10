"""The energy that a device takes, by the counter of an NVIDIA GPU or by a power that is given."""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

JOULES_PER_KWH = 3.6e6

_NVML = "libnvidia-ml.so.1"
"""The library of NVIDIA's driver that `nvidia-smi` uses."""


class EnergyMeter:
    """A meter of the energy of one device in joules.

    Args:
        read_joules: A function that returns the joules since any time in the past.
    """

    def __init__(self, read_joules: Callable[[], float]):
        self._read_joules = read_joules
        self._taken = read_joules()

    def take(self) -> float:
        """Return the joules since the last call, the first time since the meter was made.

        If they cannot be read, which must not end a run, they are in the result of the next call.
        """
        before = self._taken
        with suppress(OSError):
            self._taken = self._read_joules()
        return self._taken - before


def find_energy_meter(device: torch.device, *, power_watts: float | None) -> EnergyMeter | None:
    """Return the meter of a device; None if its energy is not known, which is not guessed.

    Args:
        device: The device of this process.
        power_watts: The mean power of the device, in place of its counter.
    """
    if power_watts is not None:
        return EnergyMeter(lambda: power_watts * time.monotonic())
    if device.type != "cuda":
        return None
    try:
        read_joules = open_counter(ctypes.CDLL(_NVML), str(_uuid_of(device)))
        return EnergyMeter(read_joules)
    except OSError:  # Another driver, or a GPU without a counter.
        return None


def _uuid_of(device: torch.device) -> Any:
    return torch.cuda.get_device_properties(device).uuid


def open_counter(library: Any, uuid: str) -> Callable[[], float]:
    """Open the energy counter of the GPU with a UUID.

    Source: NVML API reference, `nvmlDeviceGetTotalEnergyConsumption` (millijoules since the driver
    was loaded; Volta and later).

    Args:
        library: NVML, as `ctypes` loads it.
        uuid: The UUID that torch gives the GPU.

    Raises:
        OSError: The library, or the counter for this GPU, cannot be used.
    """

    def call(name: str, *arguments: Any) -> None:
        if status := getattr(library, name)(*arguments):
            raise OSError(f"{name} returned {status}")

    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    call("nvmlInit_v2")
    call("nvmlDeviceGetHandleByUUID", f"GPU-{uuid}".encode(), ctypes.byref(handle))

    def read_joules() -> float:
        call("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(millijoules))
        return millijoules.value / 1000

    return read_joules
