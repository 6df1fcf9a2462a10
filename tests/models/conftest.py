from contextlib import nullcontext

import pytest
import torch


@pytest.fixture
def autocast_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets modules turn autocast off on the device "meta", which has none."""
    monkeypatch.setattr(torch, "autocast", lambda device_type, enabled: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device_type: False)
