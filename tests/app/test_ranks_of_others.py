"""Runs in surroundings whose variables name ranks that are not those of the run."""

import os
import signal
import socket

import pytest


@pytest.fixture
def one_of_two():
    """The variables of the first of two processes, of which the other one never starts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip


def test_a_run_of_one_process_is_the_first_whatever_its_surroundings_say(
    start_command, tmp_path, monkeypatch
):
    for name, value in (
        *(("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "nowhere")),
        *(("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "4"), ("SLURM_PROCID", "1")),
    ):
        monkeypatch.setenv(name, value)
    command = start_command(tmp_path, "train_speaker")
    output, errors = command.communicate(timeout=300)
    assert command.returncode == 0, output + errors
    assert (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("names", [("LOCAL_RANK",), ("SLURM_NTASKS", "SLURM_PROCID")])
def test_a_run_starts_its_processes_itself_in_part_of_a_launchers_variables(
    start_command, tmp_path, monkeypatch, names
):
    for name in names:
        monkeypatch.setenv(name, "2" if name == "SLURM_NTASKS" else "0")
    command = start_command(tmp_path, "train_speaker", "trainer.devices=2")
    output, errors = command.communicate(timeout=300)
    assert command.returncode == 0, output + errors
    assert (tmp_path / "metrics.json").exists()


def test_processes_that_do_not_find_each_other_end_with_a_sentence(
    start_command, one_of_two, tmp_path, monkeypatch
):
    for name, value in one_of_two.items():
        monkeypatch.setenv(name, value)
    command = start_command(
        tmp_path, "train_speaker", "trainer.devices=2", "trainer.rendezvous_timeout_sec=1"
    )
    output, errors = command.communicate(timeout=300)
    assert command.returncode == 1, output + errors
    assert "have not found each other at 127.0.0.1:" in errors
    assert "Traceback" not in errors


def test_ctrl_c_ends_a_process_that_waits_for_the_others(
    start_command, one_of_two, tmp_path, monkeypatch
):
    for name, value in one_of_two.items():
        monkeypatch.setenv(name, value)
    command = start_command(tmp_path, "train_speaker", "trainer.devices=2")
    for line in command.stdout:
        if line.startswith("waiting for all 2 processes"):
            break
    os.kill(command.pid, signal.SIGINT)
    assert command.wait(timeout=60) == -signal.SIGINT


def test_a_process_that_is_not_the_first_leaves_no_folder_of_its_own(
    start_command, one_of_two, tmp_path, monkeypatch
):
    # As torchrun starts them, in two different seconds without hydra.run.dir.
    commands = []
    for rank in ("0", "1"):
        for name, value in {**one_of_two, "RANK": rank, "LOCAL_RANK": rank}.items():
            monkeypatch.setenv(name, value)
        folder = tmp_path / f"second {rank}" / "name"
        commands.append(start_command(folder, "train_speaker", "trainer.devices=2"))
    for command in commands:
        output, errors = command.communicate(timeout=300)
        assert command.returncode == 0, output + errors
    assert (tmp_path / "second 0" / "name" / "metrics.json").exists()
    assert not (tmp_path / "second 1").exists()
