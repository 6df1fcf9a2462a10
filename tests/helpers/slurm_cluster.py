"""A real SLURM of two small nodes on this machine alone, for tests and for trying a sweep out.

By hand, as root, with the packages slurm-wlm and munge:

    eval "$(python tests/helpers/slurm_cluster.py start)"    # sets SLURM_CONF
    sinfo
    python tests/helpers/slurm_cluster.py stop
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

NODES = ("node1", "node2")
CPUS_OF_A_NODE = 2
PARTITION = "short"
_MEMORY_OF_A_NODE_MB = 8_000
_COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # Where Debian keeps the daemons.
_START_SEC = 300
_STOP_SEC = 20


def what_is_missing() -> str | None:
    """Why there can be no cluster here, None where there can."""
    missing = [name for name in _COMMANDS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"SLURM is not installed (no {', '.join(missing)}): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM is started as root only"
    return None


def wait_for(is_true: Callable[[], object], what: str, limit_sec: float = 600) -> None:
    deadline = time.monotonic() + limit_sec
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


class Cluster:
    """munged, slurmctld and one slurmd for each node; their files lie in a folder of their own.

    Nothing outside of that folder is read or written, the ports are free ones, and each process is
    ended by its own id: another cluster, or a munged of this machine, is not touched.

    Raises:
        RuntimeError: a node is not ready in time; what the processes wrote is in the message.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "log", *NODES):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)  # munged refuses a socket that others cannot reach.
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        self.configuration.write_text(self._settings())
        os.environ["SLURM_CONF"] = str(self.configuration)
        try:
            socket_path = self._socket
            self._launch(
                "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_path}",
                f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munged.seed",
                f"--log-file={self.folder}/log/munged",
            )  # fmt: skip
            self._wait_for(socket_path.exists, "munged")
            self._launch("slurmctld", "-D", "-f", str(self.configuration))
            for node in NODES:
                self._launch("slurmd", "-D", "-N", node, "-f", str(self.configuration))
            self._wait_for(self._is_ready, "the nodes")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all jobs, then the processes in the opposite order of their start."""
        # Jobs that do not end in time lose their node.
        with contextlib.suppress(subprocess.SubprocessError, OSError, RuntimeError):
            subprocess.run(
                ["scancel", f"--partition={PARTITION}"], timeout=_STOP_SEC, capture_output=True
            )
            self._wait_for(lambda: not answer("squeue", "-h"), "the jobs", limit_sec=_STOP_SEC)
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(_STOP_SEC)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        os.environ.pop("SLURM_CONF", None)

    @property
    def process_ids(self) -> list[int]:
        return [process.pid for process in self._processes]

    @property
    def _socket(self) -> Path:
        return self.folder / "munge.socket"

    def _launch(self, name: str, *arguments: str) -> None:
        path = shutil.which(name, path=_PATH)
        assert path is not None
        with (self.folder / "log" / f"{name}-{len(self._processes)}.output").open("wb") as output:
            process = subprocess.Popen(
                [path, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests.
            )
        self._processes.append(process)

    def _is_ready(self) -> bool:
        dead = [str(process.args) for process in self._processes if process.poll() is not None]
        if dead:
            raise RuntimeError(f"these ended at once: {dead}\n{self._output()}")
        try:
            states = answer("sinfo", "-h", "-N", "-o", "%T").split()
        except subprocess.CalledProcessError:
            return False
        return states == ["idle"] * len(NODES)

    def _wait_for(
        self, is_done: Callable[[], bool], what: str, *, limit_sec: float = _START_SEC
    ) -> None:
        deadline = time.monotonic() + limit_sec
        while not is_done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"SLURM waited in vain for {what}.\n{self._output()}")
            time.sleep(0.2)

    def _output(self) -> str:
        files = sorted((self.folder / "log").iterdir())
        return "\n".join(f"== {file.name}\n{file.read_text()[-2_000:]}" for file in files)

    def _settings(self) -> str:
        controller, *nodes = _free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        lines = [
            "ClusterName=tests",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            "SlurmUser=root",
            "AuthType=auth/munge",
            # A job that is queued again starts when its former credential has expired.
            f"AuthInfo=socket={self._socket},cred_expire=5",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/%n.pid",
            f"SlurmctldLogFile={self.folder}/log/slurmctld",
            f"SlurmdLogFile={self.folder}/log/%n",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "MpiDefault=none",
            "AccountingStorageType=accounting_storage/none",
            "JobAcctGatherType=jobacct_gather/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SchedulerParameters=sched_interval=2,bf_interval=2",
            "ReturnToService=2",
            "KillWait=120",  # Seconds from SIGTERM to SIGKILL: saving can be slow here.
            "SlurmdParameters=config_overrides",  # More processors than this machine may have.
            *(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={CPUS_OF_A_NODE} RealMemory={_MEMORY_OF_A_NODE_MB}"
                for node, port in zip(NODES, nodes, strict=True)
            ),
            f"PartitionName={PARTITION} Nodes={','.join(NODES)} Default=YES MaxTime=60",
        ]
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster while the block lasts; SLURM_CONF names it to the commands of SLURM."""
    cluster = Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def answer(*command: str) -> str:
    """What a command of SLURM prints; CalledProcessError where it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for free in sockets:
            free.bind(("", 0))
        return [free.getsockname()[1] for free in sockets]
    finally:
        for free in sockets:
            free.close()


def _start_by_hand(folder: Path) -> None:
    cluster = Cluster(folder)
    cluster.start()
    (folder / "process_ids").write_text("\n".join(map(str, cluster.process_ids)))
    print(f"export SLURM_CONF={cluster.configuration}")


def _stop_by_hand(folder: Path) -> None:
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        answer("scancel", f"--partition={PARTITION}")
    for process_id in reversed((folder / "process_ids").read_text().split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process_id), signal.SIGTERM)
    print("unset SLURM_CONF")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("action", choices=("start", "stop"))
    action = parser.parse_args().action
    problem = what_is_missing()
    if problem is not None:
        sys.exit(f"Error: {problem}")
    if action == "start":
        _start_by_hand(Path(tempfile.mkdtemp(prefix="slurm-")))
    elif "SLURM_CONF" not in os.environ:
        sys.exit("Error: SLURM_CONF does not say which cluster to stop.")
    else:
        _stop_by_hand(Path(os.environ["SLURM_CONF"]).parent)


if __name__ == "__main__":
    main()
