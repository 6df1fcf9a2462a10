"""Several processes for one run, one for each device: started and watched over here.

A cluster that starts them itself, with one task for each, needs none of this.
"""

import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from w2v2_mt.app.folder_taken import FolderTakenError

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
_SECONDS_TO_SAVE = 60
"""For the others, when a signal has ended one."""
_SECONDS_TO_FAIL = 2
"""For the others, when one has failed, for which they would wait for ever."""


@dataclass(frozen=True)
class Processes:
    """How many a run has on each of its nodes, and of how many GPUs: one for each GPU."""

    num_gpus: int
    num_of_node: int
    num_nodes: int

    @classmethod
    def of_settings(cls, *, gpus: int, devices: int | None, num_nodes: int) -> "Processes":
        """One for each GPU; on the CPU one, or as many as `devices` says."""
        return cls(num_gpus=gpus, num_of_node=devices or max(1, gpus), num_nodes=num_nodes)

    def __str__(self) -> str:
        kind = f"gpus={self.num_gpus}" if self.num_gpus else f"trainer.devices={self.num_of_node}"
        return f"{kind} trainer.num_nodes={self.num_nodes}"

    def check_started(self, environment: Mapping[str, str]) -> None:
        """Raises ValueError where nothing has started those of the other nodes."""
        if self.num_nodes > 1 and not is_started_outside(environment):
            raise ValueError(
                f"trainer.num_nodes={self.num_nodes}, but nothing has started a process on each "
                "node; submit the run with -m hydra/launcher=slurm, start it with srun or "
                "torchrun, or set trainer.num_nodes=1."
            )


def is_started_outside(environment: Mapping[str, str]) -> bool:
    """Whether torchrun or srun started several processes, of which this is one."""
    return "LOCAL_RANK" in environment or int(environment.get("SLURM_NTASKS", 1)) > 1


def is_started_here(environment: Mapping[str, str]) -> bool:
    """Whether this process is one of `run_in_processes`."""
    return "LOCAL_RANK" in environment and "TORCHELASTIC_RUN_ID" not in environment


def run_in_processes(function: Callable[..., Any], num_processes: int, **arguments: Any) -> Any:
    """What the first of `num_processes` returns, which all call `function(**arguments)`.

    They find each other through the environment, as Lightning and torch expect. Signals go to all
    of them; where they stop because of one, it then takes its usual way here.

    Raises:
        ValueError: what one of them raised, or which one died of what; the others are ended.
        SystemExit: they stopped for a signal.
    """
    context = get_context("fork")
    port = _free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(num_processes)]
    members: list[BaseProcess] = [
        context.Process(
            target=_member,
            args=(function, arguments, rank, num_processes, port, pipes[rank][1]),
            name=f"process {rank} of {num_processes}",
        )
        for rank in range(num_processes)
    ]
    with _handed_to(members) as received:
        for member in members:
            member.start()
        for _, writer in pipes:
            writer.close()
        try:
            failed = _first_failed(members)
        finally:
            if any(member.exitcode is None for member in members):
                _end(members, num_seconds=_SECONDS_TO_SAVE if received else _SECONDS_TO_FAIL)
    if received:
        _on_the_usual_way(received[0])
        raise SystemExit(128 + received[0])
    if failed is not None:
        raise _why(failed, pipes[members.index(failed)][0])
    outcome, result = pipes[0][0].recv()
    assert outcome == "returned"
    return result


def _member(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    rank: int,
    num_processes: int,
    port: int,
    writer: connection.Connection,
) -> None:
    # A terminal would send its signals to all processes of a group, which get them from their head.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_head, daemon=True).start()
    for number in _SIGNALS:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(num_processes),
        "LOCAL_RANK": str(rank),
        "RANK": str(rank),
        "NODE_RANK": "0",
    }
    if rank > 0:
        logging.disable(logging.INFO)
    try:
        result = function(**arguments)
    except ValueError as error:
        outcome = "refused" if isinstance(error, FolderTakenError) else "raised"
        writer.send((outcome, str(error)))
        raise SystemExit(1) from error
    except Exception:
        traceback.print_exc()
        writer.send(("raised", traceback.format_exc().splitlines()[-1]))
        raise SystemExit(1) from None
    writer.send(("returned", result))


def _end_with_head() -> None:
    head = parent_process()
    assert head is not None
    connection.wait([head.sentinel])
    os._exit(1)


def _first_failed(members: list[BaseProcess]) -> BaseProcess | None:
    """Wait until one has failed or all have ended well."""
    running = list(members)
    while running:
        connection.wait([member.sentinel for member in running])
        for member in [member for member in running if member.exitcode is not None]:
            running.remove(member)
            if member.exitcode != 0:
                return member
    return None


def _end(members: list[BaseProcess], *, num_seconds: float) -> None:
    deadline = time.monotonic() + num_seconds
    for member in members:
        member.join(max(0, deadline - time.monotonic()))
        if member.exitcode is None:
            member.kill()
            member.join()


def _why(failed: BaseProcess, reader: connection.Connection) -> ValueError:
    try:
        outcome, sentence = reader.recv()
    except EOFError:
        code = failed.exitcode or 0
        cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return ValueError(
            f"{failed.name} {cause}; start the run again in its folder, where it goes on."
        )
    return FolderTakenError(sentence) if outcome == "refused" else ValueError(sentence)


@contextmanager
def _handed_to(members: list[BaseProcess]) -> Iterator[list[signal.Signals]]:
    """Hand signals to all members; yields the list of those that came."""
    received: list[signal.Signals] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        for member in members:
            if member.pid is not None and member.exitcode is None:
                os.kill(member.pid, number)

    former = {number: signal.signal(number, hand_on) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _on_the_usual_way(number: signal.Signals) -> None:
    handler = signal.getsignal(number)
    if callable(handler) and number != signal.SIGINT:
        handler(number, None)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
