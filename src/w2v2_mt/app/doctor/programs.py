"""The programs of this machine and what they say: Python, packages, ffmpeg, GPUs, SLURM."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from shutil import which

from w2v2_mt.app.doctor.finding import Finding, State

_INSTALL = "./scripts/setup_dependencies.sh"
_TIMEOUT_SEC = 10
_ALL = "every command"
_SWEEPS = "sweeps with hydra/launcher=slurm"
_TRAINING = "training in reasonable time; with gpus=0 everything runs, slowly, on the CPU"
_PYTHONS = ((3, 10), (3, 13))


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Whether this Python is one that the project runs on."""
    first, last = _PYTHONS
    is_right = first <= version[:2] <= last
    found = ".".join(map(str, version))
    allowed = f"{first[0]}.{first[1]} to {last[0]}.{last[1]}"
    return Finding(
        subject="Python",
        state=State.OK if is_right else State.MISSING,
        found=found if is_right else f"{found}, not {allowed}",
        needed_for=_ALL,
        commands=() if is_right else (f"rm -rf .venv && PYTHON=python3.12 {_INSTALL}",),
        all_need_it=True,
    )


def packages(requirements: Sequence[str] | None = None) -> Finding:
    """The installed packages against what the project asks for, or against `requirements`."""
    from packaging.requirements import Requirement

    if requirements is None:
        try:
            requirements = metadata.requires("w2v2-mt") or []
        except metadata.PackageNotFoundError:
            requirements = ["w2v2-mt"]
    wrong = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"no {requirement.name}")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}, not {requirement.specifier}")
    return Finding(
        subject="packages",
        state=State.MISSING if wrong else State.OK,
        found="; ".join(wrong) or f"all {len(requirements)}, in their versions",
        needed_for=_ALL,
        commands=(_INSTALL,) if wrong else (),
        all_need_it=True,
    )


def ffmpeg() -> Finding:
    return _program("ffmpeg", "preparing VoxCeleb2 from its m4a files (vox2_*_aac.zip)")


def curl() -> Finding:
    return _program("curl", "scripts/download/*.sh")


def _program(name: str, needed_for: str) -> Finding:
    path = which(name)
    return Finding(
        subject=name,
        state=State.MISSING if path is None else State.OK,
        found=path or "not on PATH",
        needed_for=needed_for,
        commands=(f"apt-get install {name}",) if path is None else (),
    )


def gpus() -> Finding:
    """What the driver says, and whether torch can use it."""
    try:
        said = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    except _NoAnswerError as error:
        return Finding(subject="GPU", state=State.NOTE, found=str(error), needed_for=_TRAINING)
    names = "; ".join(said.splitlines())
    # In a process of its own: importing torch takes seconds, and a broken driver can end it.
    code = "import torch; print(torch.cuda.device_count(), torch.version.cuda)"
    try:
        count, cuda = _output(sys.executable, "-c", code, timeout_sec=120).split()
    except (_NoAnswerError, ValueError) as error:
        count, cuda = "0", str(error)
    if count == "0":
        return Finding(
            subject="GPU",
            state=State.MISSING,
            found=f"{names}, but torch (CUDA {cuda}) cannot use it: its driver is too old, or not "
            "for this process to see",
            needed_for="gpus=1",
            commands=("nvidia-smi",),
        )
    return Finding(subject="GPU", state=State.OK, found=names, needed_for="gpus=1")


def slurm() -> Iterator[Finding]:
    """A line for each partition."""
    try:
        said = _output("sinfo", "--noheader", "--format=%P|%a|%l|%D|%c|%m|%G")
    except _NoAnswerError as error:
        yield Finding(
            subject="SLURM",
            state=State.NOTE,
            found=f"{error}; hydra/launcher=submitit_local runs sweeps on this machine alone",
            needed_for=_SWEEPS,
        )
        return
    rows = [line.split("|") for line in said.splitlines() if line.count("|") == 6]
    if not rows:
        yield Finding(
            subject="SLURM", state=State.NOTE, found="sinfo names no partition", needed_for=_SWEEPS
        )
    for name, available, time_limit, num_nodes, num_cores, memory_mb, devices in rows:
        is_up = available == "up"
        yield Finding(
            subject="SLURM",
            state=State.OK if is_up else State.NOTE,
            found=f"partition {name.removesuffix('*')}{' (default)' if name.endswith('*') else ''}"
            f"{'' if is_up else f', {available}'}: {num_nodes} nodes of {num_cores} cores, "
            f"{memory_mb} MB, {'no GPU' if devices == '(null)' else devices}, at most {time_limit}",
            needed_for=_SWEEPS,
        )


class _NoAnswerError(Exception):
    """In a few words, why a program did not answer."""


def _output(*command: str, timeout_sec: float = _TIMEOUT_SEC) -> str:
    name = command[0]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_sec
        )
    except FileNotFoundError:
        raise _NoAnswerError(f"there is no {name}") from None
    except subprocess.TimeoutExpired:
        raise _NoAnswerError(f"{name} did not answer in {timeout_sec} s") from None
    except OSError as error:
        raise _NoAnswerError(f"{name} does not start ({error.strerror})") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise _NoAnswerError(f"{name} failed: {lines[-1]}")
    return done.stdout.strip()
