"""Sweeps on a real SLURM: arrays, signals, queueing again, failures."""

import csv
import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.slurm_cluster import answer, wait_for
from tests.helpers.sweep_storm import Storm
from w2v2_mt.training.callbacks.last_checkpoint import latest_checkpoint
from w2v2_mt.training.checkpoints import read_checkpoint

MT = "run_mt_speech_speaker.py"
SPEAKER = "run_speaker.py"

NUM_STORM_STEPS = 30
NUM_STORM_ROUNDS = 6
STORM_LIMIT_SEC = 1_500
STORM_WAYS = ["TERM", "KILL", "requeue"] * int(os.environ.get("STORM_ROUNDS", 2))
STORM_SEED = int(os.environ.get("STORM_SEED", 0))


def output_of(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob(".submitit/*/*_log.*")))


def test_a_sweep_of_two_axes_leaves_four_results_and_is_not_done_twice(start, tmp_path):
    command = (
        *(MT, tmp_path / "sweep", "+experiment=multi_task_2heads_vanilla", "data=mt_vox1_libri"),
        *("optim.loss.scale_method=static,dwa", "network.stat_pooling_type=mean,first+cls"),
        "+debug=smoke",
    )
    sweep = start(*command)
    at_a_time = set()
    while sweep.poll() is None:
        running = answer("squeue", "-h", "-r", "-t", "running", "-o", "%i %b")
        at_a_time.add(len(running.splitlines()))
        assert "gpu" not in running
        time.sleep(0.2)
    printed = sweep.stdout.read()
    assert sweep.returncode == 0, printed + output_of(tmp_path / "sweep")
    assert max(at_a_time) == 2
    expected = [
        (method, pooling) for method in ("static", "dwa") for pooling in ("mean", "first+cls")
    ]
    for number, (method, pooling) in enumerate(expected):
        folder = tmp_path / "sweep" / str(number)
        assert json.loads((folder / "metrics.json").read_text())["tested_step"] == 2
        overrides = (folder / "overrides").read_text().splitlines()
        assert f"optim.loss.scale_method={method}" in overrides
        assert f"network.stat_pooling_type={pooling}" in overrides
    table = (tmp_path / "sweep" / "jobs.tsv").read_text().splitlines()
    array = table[1].split("\t")[1].split("_")[0]
    assert [line.split("\t")[:2] for line in table[1:]] == [
        [str(number), f"{array}_{number}"] for number in range(4)
    ]
    rows = re.findall(r"^│.*\bdone\b.*$", printed, flags=re.MULTILINE)
    assert len(rows) == 4, printed
    assert f"Report: {tmp_path}/sweep/report/index.html" in printed
    for row, (method, pooling) in zip(rows, expected, strict=True):
        assert method in row
        assert pooling in row

    (tmp_path / "sweep" / "2" / "metrics.json").unlink()
    (tmp_path / "sweep" / "2" / "config.yaml").unlink()
    again = start(*command)
    printed, _ = again.communicate()
    assert again.returncode == 0, printed
    assert len(re.findall(r"^#\d \(finished before\)", printed, flags=re.MULTILINE)) == 3
    assert re.search(r"^#2 is job \d+: ", printed, flags=re.MULTILINE)
    assert (tmp_path / "sweep" / "2" / "metrics.json").exists()


@pytest.mark.parametrize(("where", "jobs_at_once"), [("start", "1"), ("start_here", "null")])
def test_a_job_that_fails_does_not_stop_the_others_and_its_error_is_in_one_file(
    where, jobs_at_once, request, tmp_path
):
    folder = tmp_path / "sweep"
    sweep = request.getfixturevalue(where)(
        *(SPEAKER, folder, "+experiment=baseline_speaker_mean", "data=voxceleb1"),
        *("load_network_from_checkpoint=/nowhere.ckpt,null", "+debug=smoke"),
        f"hydra.sweeper.max_batch_size={jobs_at_once}",
    )
    printed, _ = sweep.communicate()
    assert sweep.returncode == 1
    num_jobs = "1 job" if jobs_at_once == "1" else "2 jobs"
    assert f"1 of {num_jobs} failed (#0); their errors are in {folder}/errors.txt" in printed
    assert "Traceback" not in printed
    errors = (folder / "errors.txt").read_text()
    assert "ValueError: there is no checkpoint /nowhere.ckpt" in errors
    assert not (folder / "0" / "metrics.json").exists()
    assert (folder / "1" / "metrics.json").exists()
    states = re.findall(r"^│ (\d) +│ (\w+) ", printed, flags=re.MULTILINE)
    assert states == [("0", "failed"), ("1", "done")]


@pytest.mark.parametrize("how", ["USR2", "requeue"])
def test_a_job_that_is_stopped_resumes_from_its_last_step(start, tmp_path, how):
    folder = tmp_path / "sweep"
    sweep = start(
        *(SPEAKER, folder, "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke"),
        *("trainer.max_steps=24", "trainer.step_limit=null", "trainer.val_check_interval=24"),
        *("network.num_frozen_steps=1", "speaker.dataloader.train_batch_size=8"),
    )
    rows = folder / "0" / "metrics.csv"
    wait_for(lambda: rows.exists() and len(rows.read_text().splitlines()) > 1, "a few steps")
    job = answer("squeue", "-h", "-o", "%i").split()[0]
    begun = f": {folder}/0\n"
    if how == "USR2":
        answer("scancel", "--signal=USR2", job)
        # Told again while it builds what it trains, it is queued again as it came.
        wait_for(lambda: output_of(folder).count(begun) == 2, "the second start")
        answer("scancel", "--signal=USR2", job)
    else:
        answer("scontrol", "requeue", job)
    printed, _ = sweep.communicate()
    output = output_of(folder)
    assert sweep.returncode == 0, printed + output
    assert output.count(begun) == (3 if how == "USR2" else 2)
    (stopped,) = re.findall(r"stopped after step (\d+)", output)
    (going_on,) = set(re.findall(r"resuming from step (\d+)", output))
    assert 0 < int(stopped) == int(going_on) < 24
    assert json.loads((folder / "0" / "metrics.json").read_text())["tested_step"] == 24


def test_a_job_that_is_cancelled_saves_its_state(start, tmp_path):
    folder = tmp_path / "sweep"
    sweep = start(
        *(SPEAKER, folder, "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke"),
        *("trainer.max_steps=5000", "trainer.step_limit=null", "trainer.val_check_interval=5000"),
        *("network.num_frozen_steps=1", "speaker.dataloader.train_batch_size=8"),
    )
    rows = folder / "0" / "metrics.csv"
    wait_for(lambda: rows.exists() and len(rows.read_text().splitlines()) > 1, "a few steps")
    answer("scancel", *answer("squeue", "-h", "-o", "%i").split())
    printed, _ = sweep.communicate()
    output = output_of(folder)
    assert sweep.returncode == 1, printed + output
    (step, path) = re.findall(r"stopped after step (\d+) \((.*)\)", output)[0]
    assert latest_checkpoint(folder / "0") == Path(path)
    assert read_checkpoint(Path(path))["global_step"] == int(step) > 0
    assert "#0 failed: it ended without a result (SLURM: CANCELLED)" in printed


def test_a_job_on_this_machine_saves_and_ends_when_its_launcher_is_killed(start_here, tmp_path):
    folder = tmp_path / "sweep"
    sweep = start_here(
        *(SPEAKER, folder, "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke"),
        *("trainer.max_steps=5000", "trainer.step_limit=null", "trainer.val_check_interval=5000"),
        *("network.num_frozen_steps=1", "speaker.dataloader.train_batch_size=8"),
    )
    rows, lock = folder / "0" / "metrics.csv", folder / "0" / ".lock"
    wait_for(lambda: rows.exists() and len(rows.read_text().splitlines()) > 1, "a few steps")
    sweep.kill()
    wait_for(lambda: not lock.exists(), "the end of the job")
    (step,) = re.findall(r"stopped after step (\d+)", output_of(folder))
    assert read_checkpoint(folder / "0" / "checkpoints" / "last.ckpt")["global_step"] == int(step)


def test_a_job_whose_time_is_over_resumes_until_it_is_done(start, tmp_path):
    folder = tmp_path / "sweep"
    num_steps = 400  # More than a job can do in the minute that is the least of SLURM.
    sweep = start(
        *(SPEAKER, folder, "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke"),
        *(f"trainer.max_steps={num_steps}", "trainer.step_limit=null"),
        *(f"trainer.val_check_interval={num_steps}", "network.num_frozen_steps=1"),
        *("speaker.dataloader.train_batch_size=8", "hydra.launcher.timeout_min=1"),
        # SLURM looks every 30 s, and tells a job so much earlier.
        "hydra.launcher.signal_delay_s=10",
    )
    printed, _ = sweep.communicate()
    output = output_of(folder)
    assert sweep.returncode == 0, printed + output
    stopped = [int(step) for step in re.findall(r"stopped after step (\d+)", output)]
    going_on = [int(step) for step in re.findall(r"resuming from step (\d+)", output)]
    assert len(stopped) > 0
    assert stopped[0] > 0
    assert stopped == sorted(set(stopped))
    # Told before it trains, as on a busy machine, or in its test, a job is queued again as it came:
    # the next one goes on from the same step. Who was told while it trained has saved.
    assert going_on == sorted(going_on)
    assert {*going_on, num_steps} == {*stopped, num_steps}
    assert output.count("finishing the step and saving") == len(stopped)
    with (folder / "0" / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train_loss"]]
    assert steps == list(range(num_steps))
    assert json.loads((folder / "0" / "metrics.json").read_text())["tested_step"] == num_steps


def test_a_job_of_two_tasks_trains_and_tests_as_two_processes_of_this_machine(
    start, start_here, tmp_path
):
    command = (
        *("+experiment=multi_task_2heads_vanilla", "data=mt_vox1_libri", "+debug=smoke"),
        *("seed=1,2", "trainer.devices=2"),
    )
    in_slurm = start(MT, tmp_path / "slurm", *command)
    tasks = set()
    while in_slurm.poll() is None:
        tasks |= set(answer("squeue", "-h", "-r", "-t", "running", "-o", "%C cores").splitlines())
        time.sleep(0.2)
    output = output_of(tmp_path / "slurm")
    assert in_slurm.returncode == 0, in_slurm.stdout.read() + output
    assert tasks == {"2 cores"}
    assert "GLOBAL_RANK: 1, MEMBER: 2/2" in output

    here = start_here(MT, tmp_path / "here", *command)
    printed, _ = here.communicate()
    assert here.returncode == 0, printed
    for number in range(2):
        metrics = [
            json.loads((tmp_path / where / str(number) / "metrics.json").read_text())
            for where in ("slurm", "here")
        ]
        assert len(metrics[0]) > 10
        for facts in metrics:
            del facts["tested_checkpoint"]
        assert metrics[0] == metrics[1]


def test_an_option_that_slurm_refuses_is_one_sentence(start, tmp_path):
    sweep = start(
        *(SPEAKER, tmp_path / "sweep", "+experiment=baseline_speaker_mean", "data=voxceleb1"),
        *("seed=1,2", "hydra.launcher.partition=nowhere", "+debug=smoke"),
    )
    printed, _ = sweep.communicate()
    assert sweep.returncode == 1
    assert "Traceback" not in printed
    assert re.search(r"^ValueError: the jobs cannot be submitted \(.*partition", printed, re.M)


@pytest.fixture
def small_disk(tmp_path):
    """The folder of job 3 on a disk without room for a checkpoint; a call gives it room."""
    folder = tmp_path / "sweep" / "3"
    folder.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs", "-o", "size=300k,mode=755", "tmpfs", str(folder))
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)

    yield enlarge
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def processes_of(folder: Path) -> list[str]:
    command = ["ps", "-eo", "pid,args"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.splitlines() if str(folder) in line]
    return [line for line in lines if int(line.split()[0]) != os.getpid()]


def test_every_job_of_a_disturbed_sweep_ends_with_its_result_exactly_once(
    start, small_disk, architecture, tmp_path
):
    """STORM_SEED=1 and STORM_ROUNDS=2 in the environment try other disturbances, and more."""
    folder = tmp_path / "sweep"
    results: dict[str, int] = {}
    storm = Storm(folder, STORM_WAYS, max_step=NUM_STORM_STEPS // 3, spared=["3"], seed=STORM_SEED)
    deadline = time.monotonic() + STORM_LIMIT_SEC
    command = (
        *(SPEAKER, folder, "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke"),
        *(f"trainer.max_steps={NUM_STORM_STEPS}", "trainer.step_limit=null"),
        *(f"trainer.val_check_interval={NUM_STORM_STEPS // 2}", "network.num_frozen_steps=1"),
        *(f"network.wav2vec_huggingface_id={architecture}", "hydra.launcher.array_parallelism=4"),
        *("speaker.dataloader.train_batch_size=4", "seed=1,2,3,4,5,6,7,8,9,10,11,12"),
        "callbacks.last_checkpoint={_target_: w2v2_mt.training.callbacks.last_checkpoint."
        "LastCheckpoint, save_every_minutes: 15}",
    )
    corrupt = folder / "5" / "checkpoints" / "last.ckpt"
    corrupt.parent.mkdir(parents=True)
    corrupt.write_text("no checkpoint")
    for round_number in range(NUM_STORM_ROUNDS):
        sweep = start(*command)
        if round_number == 0:
            wait_for(lambda: (folder / ".lock").exists(), "the first launcher")
            second = start(*command)  # Somebody else starts the same sweep.
        while sweep.poll() is None:
            assert time.monotonic() < deadline, answer("squeue", "-r") + output_of(folder)
            storm.disturb()
            for path in folder.glob("*/metrics.json"):
                written = path.stat().st_mtime_ns
                assert results.setdefault(path.parent.name, written) == written
            time.sleep(0.1)
        printed = sweep.stdout.read()
        assert "Traceback" not in printed
        if sweep.returncode == 0:
            break
        errors = (folder / "errors.txt").read_text()
        if round_number == 0:
            assert "is in use by process" in second.communicate()[0]
            assert second.returncode == 1
            assert f"{corrupt} is corrupt" in errors
            assert f"cannot save {folder / '3'}" in errors
            corrupt.unlink()
            small_disk()
    assert sweep.returncode == 0, printed + output_of(folder)
    assert storm.done == Counter(STORM_WAYS)
    assert len(results) == 12
    for number in range(12):
        run = folder / str(number)
        tested_step = json.loads((run / "metrics.json").read_text())["tested_step"]
        assert tested_step in (NUM_STORM_STEPS // 2, NUM_STORM_STEPS)
        with (run / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        steps = [int(row["step"]) for row in rows if row["train_loss"]]
        assert steps == list(range(NUM_STORM_STEPS))
        assert sum(bool(row["test_eer_o"]) for row in rows) == 1
    assert re.findall(r"^│ (\d+) +│ done", printed, flags=re.MULTILINE) == [*map(str, range(12))]
    assert answer("squeue", "-h") == ""
    assert processes_of(folder) == []
    left = {path.name for path in folder.glob("*/checkpoints/*")}
    assert left == {"best.ckpt", "last.ckpt", "last.previous.ckpt"}
    assert [*folder.rglob(".lock*"), *folder.rglob("*.part")] == []
