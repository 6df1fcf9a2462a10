import os
import signal
import subprocess
import sys
import textwrap

import pytest
from pytorch_lightning.utilities import rank_zero_only

from tests.helpers.running import running
from w2v2_mt.training.process_launch import run_in_processes


def rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def environment_of(**arguments):
    names = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR")
    return {name: os.environ[name] for name in names} | arguments


def check_the_rank_that_lightning_knows() -> None:
    known = rank_zero_only.rank  # type: ignore[attr-defined]
    if known != rank():
        raise ValueError(f"{known} is not {rank()}.")


def hang() -> None:
    signal.pause()


def raise_in_the_second():
    if rank() == 1:
        raise ValueError("the shard is corrupt.")
    hang()


def crash_in_the_second():
    if rank() == 1:
        raise ZeroDivisionError("by zero")
    hang()


def kill_the_second():
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    hang()


def test_the_result_is_that_of_the_first_process_and_each_has_its_rank():
    before = dict(os.environ)
    assert run_in_processes(environment_of, 3, word="x") == {
        "LOCAL_RANK": "0",
        "RANK": "0",
        "WORLD_SIZE": "3",
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "word": "x",
    }
    assert dict(os.environ) == before


def test_lightning_knows_the_rank_though_it_was_imported_before_the_fork():
    run_in_processes(check_the_rank_that_lightning_knows, 2)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (raise_in_the_second, r"^the shard is corrupt\.$"),
        (crash_in_the_second, "^ZeroDivisionError: by zero$"),
        (kill_the_second, "^process 1 of 2 was killed by SIGKILL. Start the run again in its"),
    ],
)
def test_a_process_that_dies_ends_the_others_with_its_error(function, sentence, monkeypatch):
    monkeypatch.setattr("w2v2_mt.training.process_launch._SECONDS_TO_FAIL", 0.1)
    with pytest.raises(ValueError, match=sentence):
        run_in_processes(function, 2)


WAITS_FOR_A_SIGNAL = """
    import signal, sys
    from w2v2_mt.training.process_launch import run_in_processes

    def wait():
        def stop(number, frame):
            print(f"stopped {number}\\n", end="", flush=True)
            sys.exit(128 + number)
        signal.signal(signal.SIGUSR2, stop)
        signal.signal(signal.SIGINT, stop)
        print("ready\\n", end="", flush=True)
        while True:
            signal.pause()

    if sys.argv[1] == "handled":
        signal.signal(signal.SIGUSR2, lambda number, frame: print("handed on", flush=True))
    run_in_processes(wait, 2)
"""


@pytest.mark.parametrize(
    ("number", "how", "last"),
    [
        (signal.SIGUSR2, "handled", ["handed on"]),
        (signal.SIGUSR2, "default", []),
        (signal.SIGINT, "default", []),
    ],
)
def test_a_signal_reaches_all_processes_before_the_handler_of_the_parent(number, how, last):
    command = [sys.executable, "-c", textwrap.dedent(WAITS_FOR_A_SIGNAL), how]
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        process.send_signal(number)
        rest = process.stdout.read().splitlines()
    assert rest == [f"stopped {int(number)}"] * 2 + last
    assert process.returncode == 128 + number


def test_processes_do_not_outlive_their_parent():
    command = [sys.executable, "-c", textwrap.dedent(WAITS_FOR_A_SIGNAL), "default"]
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        process.kill()
        # The end of their output is their end.
        assert process.stdout.read() == ""
