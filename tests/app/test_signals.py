"""Runs whose whole process group is signalled, as by `timeout`, systemd and SLURM."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.helpers.pause import PAUSED
from tests.helpers.running import running
from w2v2_mt.training.checkpoints import read_checkpoint

HOOKS = {
    "start": "setup",
    "training": "on_train_batch_start",
    "validation": "on_validation_batch_start",
    "test": "on_test_batch_start",
}


@pytest.fixture
def paused(start_command, tmp_path):
    """Starts a run with workers in a process group; gives it once it waits in a phase."""
    commands = []

    def start(phase, num_processes):
        pause = ["+callbacks.pause._target_=tests.helpers.pause.Pause"]
        pause += [f"+callbacks.pause.phase={HOOKS[phase]}"]
        command = start_command(
            tmp_path, "train_mt_speaker_speech", *pause,
            f"+callbacks.pause.go_on={tmp_path / 'go_on'}", f"num_workers={2 // num_processes}",
            f"trainer.devices={num_processes}", f"trainer.max_steps={2 if phase == 'test' else 9}",
            "trainer.val_check_interval=2" if phase == "test" else "trainer.val_check_interval=3",
            leads_group=True,
        )  # fmt: skip
        commands.append(command)
        num_paused = 0
        for line in command.stdout:
            num_paused += line.strip() == PAUSED
            if num_paused == num_processes:
                return command
        raise AssertionError("".join(command.communicate()))

    yield start
    for command in commands:
        command.kill()
        command.communicate(timeout=60)


def signal_twice(command, number):
    """Signal a process and then its group, as `timeout` does."""
    os.kill(command.pid, number)
    os.killpg(command.pid, number)


def end_of(command, tmp_path):
    (tmp_path / "go_on").touch()
    output, errors = command.communicate(timeout=120)
    assert "Error" not in output + errors
    assert "Traceback" not in output + errors
    return output


@pytest.mark.parametrize(
    ("phase", "number", "num_processes", "saved_step"),
    [
        ("training", signal.SIGTERM, 1, 2),
        ("training", signal.SIGINT, 1, 2),
        ("training", signal.SIGUSR1, 1, 2),
        ("training", signal.SIGHUP, 1, 2),
        ("validation", signal.SIGUSR2, 1, 3),
        ("training", signal.SIGINT, 2, 2),
        ("validation", signal.SIGTERM, 2, 3),
        ("test", signal.SIGINT, 1, None),
        ("test", signal.SIGUSR1, 2, None),
        ("start", signal.SIGINT, 1, None),
        ("start", signal.SIGTERM, 2, None),
    ],
)
def test_a_signal_to_the_group_saves_the_step_in_training_and_else_ends_the_run_at_once(
    paused, tmp_path, phase, number, num_processes, saved_step
):
    command = paused(phase, num_processes)
    signal_twice(command, number)
    output = end_of(command, tmp_path)
    assert command.returncode in (128 + number, -number, -signal.SIGUSR2)
    if saved_step is None:
        assert not (tmp_path / "metrics.json").exists()
    else:
        assert f"stopped after step {saved_step} (" in output
        saved = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
        assert saved["global_step"] == saved_step


UNTIL_ASKED_TWICE = """
    import signal, time
    from w2v2_mt.training.callbacks.stop_on_signal import StopOnSignal

    with StopOnSignal() as stop_on_signal:
        stop_on_signal.on_train_start()
        print("training", flush=True)
        time.sleep(3)
        print("still there", flush=True)
"""


@pytest.mark.programs("timeout")
def test_timeout_sends_one_request():
    command = ["timeout", "-s", "TERM", "600", sys.executable, "-c"]
    command.append(textwrap.dedent(UNTIL_ASKED_TWICE))
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "still there\n"


def test_a_run_outlives_the_reader_of_its_output(start_command, tmp_path):
    command = start_command(tmp_path, "train_speaker")
    assert command.stdout.readline()
    command.stdout.close()
    assert command.wait(timeout=300) == 0
    assert (tmp_path / "metrics.json").exists()
