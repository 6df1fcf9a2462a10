"""A sweep of twelve jobs on a real SLURM, to which everything happens that happens to sweeps."""

import csv
import json
import random
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.slurm_cluster import answer, wait_for

NUM_STEPS = 30
NUM_DISTURBANCES = 9
WAYS = ("TERM", "KILL", "requeue")
NUM_ROUNDS = 6


@pytest.fixture
def small_disk(tmp_path):
    """The folder of job 3 on a disk without room for a checkpoint; a call gives it room."""
    folder = tmp_path / "sweep" / "3"
    folder.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs")
    if subprocess.run(
        [*mount, "-o", "size=20m,mode=755", "tmpfs", str(folder)], check=False
    ).returncode:
        pytest.skip("only root can mount a small disk")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)

    yield enlarge
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disturb(rng: random.Random, how: str) -> bool:
    """End one of the running jobs in one of three ways; return False if it had just ended."""
    running = answer("squeue", "-h", "-r", "-t", "running", "-o", "%A_%a").split()
    if not running:
        return False
    job = rng.choice(sorted(running))
    command = ["scontrol", "requeue", job] if how == "requeue" else ["scancel", "-s", how, job]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def has_logged(folder: Path, num_steps: int) -> bool:
    files = [path.read_text() for path in folder.glob("*/metrics.csv")]
    return sum(len(text.splitlines()) for text in files) > num_steps


def processes_of(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [
        line for line in listed.stdout.splitlines() if str(folder) in line and " ps " not in line
    ]


def test_every_job_of_a_disturbed_sweep_ends_with_its_result_exactly_once(
    start, small_disk, tmp_path
):
    rng, folder, late = random.Random(0), tmp_path / "sweep", tmp_path / "late.ckpt"
    command = (
        *("run_speaker.py", folder, "+experiment=baseline_speaker_mean", "data=voxceleb1"),
        *("+debug=smoke", f"trainer.max_steps={NUM_STEPS}", "trainer.step_limit=null"),
        *(f"trainer.val_check_interval={NUM_STEPS}", "network.num_frozen_steps=1"),
        "speaker.dataloader.train_batch_size=4",
        *("seed=1,2,3,4,5,6", f"load_network_from_checkpoint=null,{late}"),
    )
    done: list[str] = []
    for round_number in range(NUM_ROUNDS):
        sweep = start(*command)
        if round_number == 0:
            for number in range(NUM_DISTURBANCES):
                wait_for(partial(has_logged, folder, 6 * number), "more steps of the jobs")
                how = WAYS[number % len(WAYS)]
                done += [how] if disturb(rng, how) else []
            assert {*done} == {*WAYS}
            second = start(*command)  # Somebody else starts the same sweep.
            printed, _ = second.communicate(timeout=300)
            assert second.returncode == 1
            assert "is in use by process" in printed
        printed, _ = sweep.communicate(timeout=900)
        assert "Traceback" not in printed
        if sweep.returncode == 0:
            break
        if round_number == 0:
            errors = (folder / "errors.txt").read_text()
            assert f"there is no checkpoint {late}" in errors
            assert f"cannot save {folder / '3'}" in errors
        small_disk()
        if not late.exists():
            shutil.copy(next(folder.glob("*/checkpoints/best.ckpt")), late)
    assert sweep.returncode == 0, printed
    assert round_number > 0
    for number in range(12):
        run = folder / str(number)
        assert json.loads((run / "metrics.json").read_text())["tested_step"] == NUM_STEPS
        with (run / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows if row["train_loss"]] == list(range(NUM_STEPS))
        assert sum(bool(row["test_eer_o"]) for row in rows) == 1
    assert re.findall(r"^│ (\d+) +│ done", printed, flags=re.MULTILINE) == [*map(str, range(12))]
    assert processes_of(folder) == []
