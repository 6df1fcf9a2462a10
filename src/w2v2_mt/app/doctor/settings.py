"""What `.env`, folders, accounts and caches offer."""

import netrc
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.app.environment import PROJECT_FOLDER

_CONFIG_FOLDER = PROJECT_FOLDER / "config"
_HUB_ID = re.compile(r"^\s*\w*huggingface_id:\s*([\w.-]+/[\w.-]+)\s*(?:#.*)?$", re.MULTILINE)
_FEW_GB_OF_CHECKPOINTS = 10
_FEW_GB_OF_SHARED_MEMORY = 1
_FOLDERS = {
    "DATA_FOLDER": "archives and shards",
    "LOG_FOLDER": "folders of runs: a checkpoint of wav2vec2-base with its optimiser has 1.1 GB",
    "TEMP_FOLDER": "temporary files",
}
_WANDB_HOST = "api.wandb.ai"


def env_file(project_folder: Path = PROJECT_FOLDER) -> Finding:
    is_there = (project_folder / ".env").is_file()
    return Finding(
        subject=".env",
        state=State.OK if is_there else State.NOTE,
        found="read" if is_there else "not there, so folders are below the project",
        needed_for="folders, GPUs, wandb and the cluster of your own",
        commands=() if is_there else ("cp .env.example .env",),
    )


def folders(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each can be written, and what is free there."""
    for name, needed_for in _FOLDERS.items():
        folder = Path(environment[name])
        place = next(path for path in (folder, *folder.parents) if os.path.exists(path))
        try:
            free_gb = shutil.disk_usage(place).free / 1e9
        except OSError as error:
            free_gb, reason = 0.0, error.strerror or str(error)
        else:
            reason = "" if os.access(place, os.W_OK) and place.is_dir() else "cannot be written"
        if reason:
            state, found = State.MISSING, f"{folder}: {reason}"
        else:
            is_full = free_gb < _FEW_GB_OF_CHECKPOINTS
            state = State.NOTE if is_full else State.OK
            found = f"{folder}, {free_gb:.0f} GB free"
            found += "" if place == folder else " (made when it is needed)"
        yield Finding(
            subject=name,
            state=state,
            found=found,
            needed_for=needed_for,
            commands=(f"df -h {place}",) if state is not State.OK else (),
        )


def shared_memory(path: Path = Path("/dev/shm")) -> Finding:
    """Readers hand over batches in it."""
    try:
        num_gb = shutil.disk_usage(path).total / 1e9
    except OSError:
        num_gb = 0.0
    is_enough = num_gb >= _FEW_GB_OF_SHARED_MEMORY
    return Finding(
        subject="shared memory",
        state=State.OK if is_enough else State.NOTE,
        found=f"{num_gb:.1f} GB in {path}"
        + ("" if is_enough else "; in a container, --shm-size=8g raises it, or set num_workers=0"),
        needed_for="num_workers above 0",
    )


def wandb_login(environment: Mapping[str, str], home: Path | None = None) -> Finding:
    """Whether there is a key, never which."""
    needed_for = "use_wandb=true; WANDB_MODE=offline needs no account"
    if environment.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        found, state = f"WANDB_MODE={environment['WANDB_MODE']}, no login needed", State.OK
    elif environment.get("WANDB_API_KEY"):
        found, state = "a key in WANDB_API_KEY", State.OK
    elif _has_login((home or Path.home()) / ".netrc"):
        found, state = "a login in ~/.netrc", State.OK
    else:
        is_used = environment.get("USE_WANDB", "").lower() == "true"
        found = f"no login{', though USE_WANDB=true' if is_used else ''}"
        state = State.MISSING if is_used else State.NOTE
    return Finding(
        subject="wandb",
        state=state,
        found=found,
        needed_for=needed_for,
        commands=() if state is State.OK else ("wandb login",),
    )


def _has_login(path: Path) -> bool:
    try:
        return _WANDB_HOST in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def pretrained_weights(
    environment: Mapping[str, str], config_folder: Path = _CONFIG_FOLDER
) -> Iterator[Finding]:
    """Those that a configuration names, in the cache of HuggingFace; the hub is not asked."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(config_folder.rglob("*.yaml"))]
    home = Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(environment.get("HF_HUB_CACHE") or home / "hub")
    for hub_id in dict.fromkeys(found for text in texts for found in _HUB_ID.findall(text)):
        folder = hub / f"models--{hub_id.replace('/', '--')}" / "snapshots"
        weights = [path for name in ("*.safetensors", "*.bin") for path in folder.glob(f"*/{name}")]
        is_there = any(os.path.exists(path) for path in weights)
        yield Finding(
            subject=hub_id,
            state=State.OK if is_there else State.NOTE,
            found=f"in {hub}" if is_there else f"not in {hub}; downloaded at first use",
            needed_for="fine-tuning it; network.reset_weights=true and +size=tiny need none",
            commands=() if is_there else (f"hf download {hub_id}",),
        )
