"""Commands whose folder or launcher cannot be used: one sentence, and nothing has started."""

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("+hydra.launcher.foo=1", "must hold settings of the launcher only (unknown argument 'foo"),
        ("hydra.launcher.mem_gb=2G", "hydra.launcher.mem_gb (2G) must be a number."),
        ("hydra.launcher.timeout_min=01:00:00", "hydra.launcher.timeout_min (01:00:00) must be an"),
    ],
)
def test_a_wrong_setting_of_the_launcher_is_reported_before_the_sweep(
    start_command, tmp_path, override, sentence
):
    command = start_command(
        tmp_path, "train_speaker", "hydra/launcher=local", override, "seed=1,2", is_sweep=True
    )
    output, errors = command.communicate(timeout=300)
    assert command.returncode == 1
    assert sentence in errors
    assert len(errors.splitlines()) == 1
    assert "sweep:" not in output


def test_a_folder_that_cannot_be_made_is_one_sentence(start_command):
    command = start_command(Path("/proc/nowhere"), "train_speaker")
    _, errors = command.communicate(timeout=300)
    assert command.returncode == 1
    assert errors.startswith("FileNotFoundError: /proc/nowhere cannot be read or written (No such")
    assert len(errors.splitlines()) == 1
