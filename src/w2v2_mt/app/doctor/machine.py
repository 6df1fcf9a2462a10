"""Check Python, programs, folders, accounts and the cache of pretrained weights."""

import os
import pwd
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.app.doctor.shards import check_shards, find_space
from w2v2_mt.settings.command_line import CONFIG_FOLDER
from w2v2_mt.settings.environment import PROJECT_FOLDER, find_wandb_login, load_environment

_PYTHONS = ((3, 10), (3, 13))
_INSTALL = "./scripts/setup_dependencies.sh"
_HUB_ID = re.compile(r"^\s*\w*huggingface_id:\s*([\w.-]+/[\w.-]+)\s*(?:#.*)?$", re.MULTILINE)
_MIN_GB_OF_DISK = 10
_MIN_NUM_OPEN_FILES = 1024
_MIN_GB_OF_SHARED_MEMORY = 1
_FOLDERS = {
    "DATA_FOLDER": "archives and shards",
    "LOG_FOLDER": "run folders: a checkpoint of wav2vec2-base with its optimizer has 1.1 GB",
    "TEMP_FOLDER": "temporary files",
}


def check_machine() -> list[Finding]:
    """Run all checks, in the order in which a new user meets what they check."""
    load_environment()
    return [
        check_python(),
        check_packages(),
        *check_setup(os.environ),
        check_gpus(),
        *check_shards(Path(os.environ["DATA_FOLDER"])),
        *check_pretrained_weights(os.environ),
        *check_slurm(),
    ]


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Check that the project supports a version of Python."""
    first, last = _PYTHONS
    state, found = State.OK, ".".join(map(str, version))
    if not first <= version[:2] <= last:
        state = State.MISSING
        found += f", not {first[0]}.{first[1]} to {last[0]}.{last[1]}"
    commands = [f"rm -rf .venv && PYTHON=python3.12 {_INSTALL}"]
    return Finding("Python", state, found, "every command", commands, is_required=True)


def check_packages(requirements: Sequence[str] | None = None) -> Finding:
    """Compare the installed packages with the requirements, by default those of this project."""
    try:
        requirements = requirements or metadata.requires("w2v2-mt") or []
    except metadata.PackageNotFoundError:
        requirements = ["w2v2-mt"]
    wrong = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
            if not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{requirement.name} {version}, not {requirement.specifier}")
        except metadata.PackageNotFoundError:
            wrong.append(f"no {requirement.name}")
    state = State.MISSING if wrong else State.OK
    found = "; ".join(wrong) or f"all {len(requirements)}, in their versions"
    return Finding("packages", state, found, "every command", [_INSTALL], is_required=True)


def check_setup(
    environment: Mapping[str, str],
    *,
    project_folder: Path = PROJECT_FOLDER,
    shared_memory: Path = Path("/dev/shm"),
) -> Iterator[Finding]:
    """Check `.env`, folders, shared memory, curl and the login of wandb, whose key is not shown."""
    state, found = State.NOTE, "not there, so all folders are in the project folder"
    if (project_folder / ".env").is_file():
        state, found = State.OK, "read"
    needed_for = "your own folders, GPUs, wandb and cluster"
    yield Finding(".env", state, found, needed_for, ["cp .env.example .env"])

    for name, needed_for in _FOLDERS.items():
        folder = Path(environment[name])
        nearest, free_gb = find_space(folder)
        state = State.NOTE if free_gb < _MIN_GB_OF_DISK else State.OK
        created = "" if nearest == folder else " (created when needed)"
        found = f"{folder}, {free_gb:.0f} GB free{created}"
        if not (os.access(nearest, os.W_OK) and nearest.is_dir()):
            state, found = State.MISSING, f"{folder}: cannot be written"
        yield Finding(name, state, found, needed_for, [f"df -h {nearest}"])

    num_gb = shutil.disk_usage(shared_memory).total / 1e9 if shared_memory.exists() else 0
    state, found = State.OK, f"{num_gb:.1f} GB in {shared_memory}"
    if num_gb < _MIN_GB_OF_SHARED_MEMORY:
        state = State.NOTE
        found += "; in a container, --shm-size=8g raises it, or set num_workers=0"
    # DataLoader workers pass batches through it.
    yield Finding("shared memory", state, found, "num_workers above 0")

    state, found = State.OK, str(Path.home())
    try:
        found = f"{pwd.getpwuid(os.getuid()).pw_name}, {found}"
    except KeyError:  # `ensure_user_and_home` has given it both.
        state, found = State.NOTE, f"user id {os.getuid()} has no name; {found} is its home here"
    yield Finding("user and home", state, found, "caches of torch, wandb and matplotlib")

    num_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    state = State.OK if num_files >= _MIN_NUM_OPEN_FILES else State.NOTE
    found = f"at most {num_files}"
    fix = [f"ulimit -n {_MIN_NUM_OPEN_FILES}"]
    yield Finding("open files", state, found, "DataLoader workers, one shard of each set", fix)

    path = shutil.which("curl")
    state, found = (State.OK, path) if path else (State.MISSING, "not on PATH")
    yield Finding("curl", state, found, "scripts/download/*.sh", ["apt-get install curl"])

    is_used = environment.get("USE_WANDB", "").lower() == "true"
    state, found = State.OK, find_wandb_login(environment) or ""
    if not found:
        state = State.MISSING if is_used else State.NOTE
        found = "no login, though USE_WANDB=true" if is_used else "no login"
    needed_for = "use_wandb=true; WANDB_MODE=offline needs no account"
    yield Finding("wandb", state, found, needed_for, ["wandb login"])


def check_gpus() -> Finding:
    """Check that there is a GPU and that torch can use it."""
    query = ("--query-gpu=name,memory.total", "--format=csv,noheader")
    has_answered, answer = run_program("nvidia-smi", *query)
    if not has_answered:
        needed_for = "training in reasonable time; gpus=0 runs on the CPU, slowly"
        return Finding("GPU", State.NOTE, answer, needed_for)
    state, found = State.OK, "; ".join(answer.splitlines())
    # Importing torch takes seconds, and a broken driver may kill the process that does it.
    code = "import torch; print(torch.cuda.device_count(), torch.version.cuda)"
    has_answered, answer = run_program(sys.executable, "-c", code, timeout_sec=120)
    if not (has_answered and re.match("[1-9]", answer)):
        state = State.MISSING
        found += (
            f", but torch (CUDA {answer.split()[-1] if has_answered else answer}) cannot use it: "
            "its driver is too old, or this process is not allowed to see it"
        )
    return Finding("GPU", state, found, "gpus=1", ["nvidia-smi"])


def check_pretrained_weights(
    environment: Mapping[str, str], config_folder: Path = CONFIG_FOLDER
) -> Iterator[Finding]:
    """Look for the weights that the configs name in the cache of HuggingFace, without the hub."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(config_folder.rglob("*.yaml"))]
    home = Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(environment.get("HF_HUB_CACHE") or home / "hub")
    for hub_id in dict.fromkeys(_HUB_ID.findall("\n".join(texts))):
        snapshots = hub / f"models--{hub_id.replace('/', '--')}" / "snapshots"
        weights = [*snapshots.glob("*/*.safetensors"), *snapshots.glob("*/*.bin")]
        state, found = State.NOTE, f"not in {hub}; downloaded at first use"
        if any(path.exists() for path in weights):
            state, found = State.OK, f"in {hub}"
        needed_for = "fine-tuning it; network.reset_weights=true and +size=tiny need none"
        yield Finding(hub_id, state, found, needed_for, [f"hf download {hub_id}"])


def check_slurm() -> Iterator[Finding]:
    """Describe each partition of SLURM, if there is SLURM."""
    line = "%P (%a): %D nodes of %c cores, %m MB, %G, at most %l"
    has_answered, answer = run_program("sinfo", "--noheader", f"--format={line}")
    rows = [f"{answer}; hydra/launcher=local runs sweeps on this machine alone"]
    if has_answered:
        rows = [f"partition {row}" for row in answer.replace("(null)", "no GPU").splitlines()]
    for found in rows or ["sinfo names no partition"]:
        state = State.OK if "(up): " in found else State.NOTE
        yield Finding("SLURM", state, found, "sweeps with hydra/launcher=slurm")


def run_program(*command: str, timeout_sec: float = 10) -> tuple[bool, str]:
    """Run a program and return True and its output, or False and why there is none."""
    name = command[0]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_sec
        )
    except FileNotFoundError:
        return False, f"there is no {name}"
    except subprocess.TimeoutExpired:
        return False, f"{name} did not answer in {timeout_sec} s"
    except OSError as error:
        return False, f"{name} does not start ({error.strerror})"
    if done.returncode == 0:
        return True, done.stdout.strip()
    lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
    return False, f"{name} failed: {lines[-1]}"
