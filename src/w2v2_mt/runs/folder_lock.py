"""A lock on the folder of a run, a sweep or a report, so that two processes never write to it.

The lock is a file that names its process. It needs no `flock`, which some network file systems do
not have, and it survives a kill, so that a lock of a process that is gone must be recognised.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from w2v2_mt.core.errors import OutputExistsError

LOCK_FILE = ".lock"

_BEAT_SEC = 20
_STALE_AFTER_SEC = 300
"""The age at which a lock of another machine is stale; its process renews it every 20 s."""
_WRITTEN_AFTER_SEC = 10
"""The age at which an empty lock is that of a process that was killed before it wrote its name."""
_POLL_SEC = 0.2
_MAX_NUM_CHARACTERS = 10_000


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock.

    Args:
        machine: The boot of the machine and its process ids, which containers count on their own.
        start: The start of the process in clock ticks after the boot: ids are used again.
        job: The id of its SLURM job, or an empty string.
        restart: The number of times that SLURM has queued the job again.
    """

    host: str
    machine: str
    pid: int
    start: int
    job: str
    restart: int
    since: str

    @classmethod
    def of_this_process(cls) -> "Holder":
        """Describe this process."""
        return cls(
            host=platform.node(),
            machine=_read_machine(),
            pid=os.getpid(),
            start=_read_start(os.getpid()) or 0,
            job=os.environ.get("SLURM_JOB_ID", ""),
            restart=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
            since=datetime.now().astimezone().isoformat(timespec="seconds"),
        )

    def is_gone(self, me: "Holder", *, age_sec: float) -> bool:
        """Return True if the process has ended, as far as `me` can know.

        Args:
            age_sec: The time since the lock was made or renewed, in seconds.
        """
        if self.machine == me.machine:
            return _read_start(self.pid) != self.start
        if self.job and self.job == me.job:
            return self.restart < me.restart  # SLURM ends a job before it queues it again.
        return age_sec > _STALE_AFTER_SEC


_HOLDER = TypeAdapter(Holder)


def _read_machine() -> str:
    """Identify what process ids of this process refer to; empty outside of Linux."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _read_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks after the boot; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, start = fields[0], int(fields[19])
    return None if state in "ZX" else start


@contextmanager
def locked(folder: Path, *, wait_sec: float = 0) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it does not exist.

    Within the context, the same process gets the lock again.

    Args:
        wait_sec: The time to wait for another process, in seconds.

    Raises:
        OutputExistsError: Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, me = folder / LOCK_FILE, Holder.of_this_process()
    if (held := _read_holder(lock)) is not None and replace(held, since=me.since) == me:
        yield
        return
    deadline = time.monotonic() + wait_sec
    while not _take(lock, me):
        if time.monotonic() >= deadline:
            raise OutputExistsError(_describe(lock))
        time.sleep(_POLL_SEC)
    is_over = threading.Event()
    threading.Thread(target=_renew, args=(lock, is_over), daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
        # A process that was forked within the context does not end it.
        if os.getpid() == me.pid and _read_holder(lock) == me:
            lock.unlink()


def _describe(lock: Path) -> str:
    holder = _read_holder(lock)
    process = "another process"
    if holder is not None:
        process = f"process {holder.pid} on {holder.host} since {holder.since}"
    return (
        f"{lock.parent} is in use by {process}. Wait until it has ended, stop it, or choose "
        f"another folder (hydra.run.dir, hydra.sweep.dir); if it is gone, remove {lock}."
    )


def _renew(lock: Path, is_over: threading.Event) -> None:
    while not is_over.wait(_BEAT_SEC):
        with suppress(OSError):
            os.utime(lock, follow_symlinks=False)


def _take(lock: Path, me: Holder) -> bool:
    """Return True if this process holds the lock now, False if another one does."""
    while True:
        with suppress(FileExistsError), lock.open("x") as file:
            file.write(json.dumps(asdict(me)))
            return True
        with suppress(FileNotFoundError):  # Its process has just removed it.
            age_sec = time.time() - lock.lstat().st_mtime
            holder = _read_holder(lock)
            if holder is None and age_sec < _WRITTEN_AFTER_SEC:
                return False
            if holder is not None and not holder.is_gone(me, age_sec=age_sec):
                return False
            # Of several processes that see the old lock, one moves it away. Another one that has
            # moved the new lock instead puts it back.
            old = lock.with_name(f"{LOCK_FILE}.{me.host}.{me.pid}")
            lock.rename(old)
            if _read_holder(old) == holder:
                old.unlink()
            else:
                old.rename(lock)


def _read_holder(lock: Path) -> Holder | None:
    """Return the process that a lock file names; None if it names none."""
    if not lock.is_file():  # A pipe could be read forever.
        return None
    try:
        with lock.open() as file:
            return _HOLDER.validate_json(file.read(_MAX_NUM_CHARACTERS), strict=True)
    except (OSError, ValueError):
        return None
