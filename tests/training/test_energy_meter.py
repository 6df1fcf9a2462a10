import ctypes
from unittest.mock import Mock

import pytest
import torch

from w2v2_mt.training.energy_meter import EnergyMeter, find_energy_meter, open_counter


class Nvml:
    """NVIDIA's library, as far as it is used, for a GPU that has taken 5 kJ."""

    def __init__(self, *, has_counter=True):
        self.millijoules = 5_000_000
        self.has_counter = has_counter
        self.uuid = b""

    def nvmlInit_v2(self):  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):  # noqa: N802
        self.uuid = uuid
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = 7
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, energy):  # noqa: N802
        assert handle.value == 7
        ctypes.cast(energy, ctypes.POINTER(ctypes.c_ulonglong))[0] = self.millijoules
        return 0 if self.has_counter else 3


def test_the_counter_of_a_gpu_gives_the_joules_since_the_last_reading():
    nvml = Nvml()
    meter = EnergyMeter(open_counter(nvml, "11-22"))
    assert nvml.uuid == b"GPU-11-22"
    nvml.millijoules += 1_500
    assert meter.take() == 1.5
    assert meter.take() == 0


def test_what_cannot_be_read_is_in_the_next_reading():
    nvml = Nvml()
    meter = EnergyMeter(open_counter(nvml, "11-22"))
    nvml.millijoules, nvml.has_counter = nvml.millijoules + 2_000, False
    assert meter.take() == 0
    nvml.has_counter = True
    assert meter.take() == 2


def test_a_gpu_without_a_counter_is_an_error_of_the_library():
    with pytest.raises(OSError, match="^nvmlDeviceGetTotalEnergyConsumption returned 3$"):
        EnergyMeter(open_counter(Nvml(has_counter=False), "11-22"))


def test_no_energy_is_guessed_without_a_counter(monkeypatch):
    assert find_energy_meter(torch.device("cpu"), power_watts=None) is None
    monkeypatch.setattr("w2v2_mt.training.energy_meter._uuid_of", lambda device: "11-22")
    monkeypatch.setattr("w2v2_mt.training.energy_meter._NVML", "no-such-library.so")
    assert find_energy_meter(torch.device("cuda"), power_watts=None) is None


def test_a_power_that_is_given_is_multiplied_with_the_time(monkeypatch):
    times = iter([100.0, 110.0])
    clock = Mock(monotonic=lambda: next(times))
    monkeypatch.setattr("w2v2_mt.training.energy_meter.time", clock)
    meter = find_energy_meter(torch.device("cpu"), power_watts=200.0)
    assert meter.take() == 2000
