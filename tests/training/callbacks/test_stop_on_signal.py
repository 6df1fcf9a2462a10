"""A run that is told to stop by hand, as the command in a terminal is: with Ctrl-C."""

import csv
import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel, RandomDataset
from torch.utils.data import DataLoader

from w2v2_mt.training.callbacks.stop_on_signal import StopOnSignal
from w2v2_mt.training.checkpoints import read_checkpoint

SETTINGS = ["trainer.max_steps=99999", "trainer.val_check_interval=3"]


@pytest.fixture
def training(start_command, tmp_path):
    """Starts the same run again; gives its process once it has saved a step of its own."""
    processes = []
    last = tmp_path / "checkpoints" / "last.ckpt"

    def start():
        saved_at = last.stat().st_mtime_ns if last.exists() else 0
        process = start_command(tmp_path, "train_speech", *SETTINGS)
        processes.append(process)
        for _ in range(6000):
            with suppress(FileNotFoundError):
                if last.stat().st_mtime_ns > saved_at:
                    return process
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.1)
                break
        process.kill()
        raise AssertionError("".join(process.communicate()))

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def interrupt(process):
    process.send_signal(signal.SIGINT)


def ended(process):
    output, errors = process.communicate(timeout=600)
    return output + errors


def stopped_after(printed):
    return int(re.search(r"stopped after step (\d+)", printed)[1])


def test_ctrl_c_saves_the_step_and_the_run_resumes_from_it(training, tmp_path):
    process = training()
    interrupt(process)
    printed = ended(process)
    assert "SIGINT: finishing the step and saving; press again to stop at once" in printed
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in printed
    step = stopped_after(printed)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == step

    process = training()
    interrupt(process)
    lines = ended(process)
    assert stopped_after(lines) > step
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows if row["train_loss"]]
    assert len(steps) > 1
    assert steps == sorted(set(steps))


def test_a_second_ctrl_c_stops_at_once_and_leaves_a_whole_checkpoint(training, tmp_path):
    process = training()
    interrupt(process)
    assert any("press again" in line for line in process.stdout)
    interrupt(process)
    ended(process)
    # Where the first was done at once, the second comes too late.
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    step = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"]
    process = training()
    interrupt(process)
    assert stopped_after(ended(process)) > step


INTERRUPTED_TWICE = """
    import os, signal, time
    from w2v2_mt.training.callbacks.stop_on_signal import StopOnSignal

    with StopOnSignal() as stop_on_signal:
        stop_on_signal.on_train_start(None, None)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the same request
        time.sleep(1)
        print("goes on", flush=True)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            print("unwinds", flush=True)
"""


def test_a_second_ctrl_c_ends_the_process_wherever_it_is():
    """A KeyboardInterrupt within a lock of a library would have it wait for ever."""
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED_TWICE)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.stdout == "goes on\n"
    assert finished.returncode == -signal.SIGINT


def test_a_lost_connection_does_not_stop_a_run_that_nohup_started():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopOnSignal():
            os.kill(os.getpid(), signal.SIGHUP)  # It would end this process.
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_stop_while_lightning_opens_the_data_is_not_hidden_by_its_cleanup(tmp_path):
    class Stopped(DataLoader):
        def __iter__(self):
            os.kill(os.getpid(), signal.SIGUSR2)
            return super().__iter__()

    stop_on_signal = StopOnSignal()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[stop_on_signal], enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, max_steps=1,
    )  # fmt: skip
    former = signal.signal(signal.SIGUSR2, lambda *_: sys.exit(9))  # as a launcher's library does
    try:
        with pytest.raises(SystemExit) as end, stop_on_signal:
            trainer.fit(BoringModel(), Stopped(RandomDataset(32, 4)))
    finally:
        signal.signal(signal.SIGUSR2, former)
    assert end.value.code == 9
