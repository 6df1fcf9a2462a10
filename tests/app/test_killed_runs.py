"""Commands that are killed at any moment and started again, as a cluster does it.

NUM_KILLS=10 NUM_PROCESSES=2 pytest tests/app/test_killed_runs.py -s tries harder than the suite.
"""

import os
import subprocess
from contextlib import suppress
from random import Random

import pytest

from tests.helpers.left_in_folder import metrics_of, rows_of
from tests.helpers.run_fixtures import SCRIPTS

NUM_KILLS = int(os.environ.get("NUM_KILLS", 1))
NUM_PROCESSES = int(os.environ.get("NUM_PROCESSES", 1))
SETTINGS = [
    "network.wav2vec_initially_frozen=false",
    "network/regularisation=wav2vec2_default_asr",
    f"trainer.devices={NUM_PROCESSES}",
    f"num_workers={2 // NUM_PROCESSES}",
    f"trainer.max_steps={3 * max(6, 2 * NUM_KILLS)}",
    "trainer.val_check_interval=3",
]


@pytest.mark.parametrize("config_name", SCRIPTS)
def test_a_run_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(
    start_command, run_command, tmp_path, config_name
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_command(whole, config_name, *SETTINGS)
    rng = Random(f"{config_name} {NUM_PROCESSES}")
    for number in range(NUM_KILLS):
        process = start_command(parts, config_name, *SETTINGS)
        num_lines, num_seconds = rng.randrange(1, 6), rng.uniform(0, 0.5)
        lines = [process.stdout.readline().strip() for _ in range(num_lines)]
        while number == 0 and sum(line.startswith("step ") for line in lines) < 2:
            # The first kill at least must leave a checkpoint to resume from: the second line of a
            # validation is printed after the state of the first was saved.
            lines.append(process.stdout.readline().strip())
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=num_seconds)
        process.kill()
        output, _ = process.communicate()
        print(f"{config_name}, kill {number}: {(lines + output.splitlines())[-1]}")
    output = run_command(parts, config_name, *SETTINGS)
    assert "resuming from step" in output
    assert rows_of(parts) == rows_of(whole)
    assert metrics_of(parts) == metrics_of(whole)
