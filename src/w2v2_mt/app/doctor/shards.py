"""Check the shards of each data config and, if they do not exist yet, the archives."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.core.addresses import is_remote
from w2v2_mt.prepare.options import MINI_SUBSETS, SUBSETS
from w2v2_mt.settings.command_line import CONFIG_FOLDER

_COUNTED = ("utterances", "speakers")
_GB_PER_HOUR = 16_000 * 2 * 3_600 / 1e9


class Corpus(NamedTuple):
    """The archives below the data folder (`a|b` is either), their download, and their size."""

    archives: list[str]
    download: str
    num_hours: int  # According to the paper of the corpus.
    is_public: bool = False


_VOX1 = ["voxceleb_archives/vox1_dev_wav.zip", "voxceleb_archives/vox1_test_wav.zip"]
_VOX2 = "voxceleb_archives/vox2_dev_wav.zip|voxceleb_archives/vox2_dev_aac.zip"
_VOX_METADATA = "./scripts/download/download_voxceleb_meta.sh"
_MINI = (*MINI_SUBSETS, "test-clean")
CORPORA = {
    "librispeech": Corpus(
        archives=[f"librispeech/{subset}.tar.gz" for subset in SUBSETS],
        download="./scripts/download/download_librispeech.sh",
        num_hours=982,
        is_public=True,
    ),
    "librispeech_mini_speech": Corpus(
        archives=[f"librispeech/{subset}.tar.gz" for subset in _MINI],
        download=f"./scripts/download/download_librispeech.sh {' '.join(_MINI)}",
        num_hours=13,
        is_public=True,
    ),
    "speech_commands_speech": Corpus(
        archives=[
            "speech_commands/speech_commands_v0.02.tar.gz|speech_commands/mini_speech_commands.zip"
        ],
        download="./scripts/download/download_speech_commands.sh",
        num_hours=29,
        is_public=True,
    ),
    "voxceleb1": Corpus(archives=_VOX1, download=_VOX_METADATA, num_hours=352),
    "voxceleb2": Corpus(archives=[*_VOX1, _VOX2], download=_VOX_METADATA, num_hours=2_442 + 352),
}


def find_space(folder: Path) -> tuple[Path, float]:
    """Return the nearest parent that exists, or the folder itself, and its free space in GB."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return nearest, shutil.disk_usage(nearest).free / 1e9


def check_shards(data_folder: Path, config_folder: Path = CONFIG_FOLDER) -> Iterator[Finding]:
    """Check each corpus that a config in `data/` names on its own.

    Configs of one corpus, such as those of two tasks, are checked once, by the one with all sets.
    """
    names = [path.stem for path in sorted((config_folder / "data").glob("*.yaml"))]
    corpora = {name: _read_corpora(name, data_folder, config_folder) for name in names}
    alone = {name: blocks[0] for name, blocks in corpora.items() if len(blocks) == 1}
    owners = {name: _find_owner(settings, alone) for name, settings in alone.items()}
    for name, settings in alone.items():
        if owners[name] != name or is_remote(settings["shards_folder"]):
            continue  # Other machines are asked by a run only.
        root = Path(settings["shards_folder"])
        sets = {each: _describe_set(root / each) for each in _list_sets(settings)}
        problems = {each: text for each, (is_complete, text) in sets.items() if not is_complete}
        members = [alone[each] for each, owner in owners.items() if owner == name]
        users = [user for user in names if any(each in corpora[user] for each in members)]
        needed_for = ", ".join(f"data={user}" for user in users)
        if not problems:
            found = "; ".join(f"{each} ({text})" for each, (_, text) in sets.items())
            yield Finding(f"shards of {name}", State.OK, found, needed_for)
            continue
        named = "all sets" if len(problems) == len(sets) else ", ".join(problems)
        reasons = " and ".join(sorted(set(problems.values())))
        advice, commands = _how_to_prepare(name, settings, data_folder)
        found = f"{named} in {root}: {reasons}{advice}"
        yield Finding(f"shards of {name}", State.MISSING, found, needed_for, commands)


def _find_owner(settings: dict[str, Any], blocks: dict[str, dict[str, Any]]) -> str:
    """Return the name of the block of the same corpus with these sets and most others."""

    def identity(block: dict[str, Any]) -> tuple[object, object]:
        return block["shards_folder"], block.get("prepared_by")

    sets = {name: set(_list_sets(block)) for name, block in blocks.items()}
    return max(
        (
            name
            for name, block in blocks.items()
            if identity(block) == identity(settings) and sets[name] >= set(_list_sets(settings))
        ),
        key=lambda name: (len(sets[name]), name),
    )


def _how_to_prepare(
    name: str, settings: dict[str, Any], data_folder: Path
) -> tuple[str, list[str]]:
    """Describe missing archives and disk space, and name the commands that make the shards."""
    commands = [f"./{settings['prepared_by']}"] if "prepared_by" in settings else []
    if (corpus := CORPORA.get(name)) is None:
        return "", commands
    archives = [
        each
        for each in corpus.archives
        if not any((data_folder / path).is_file() for path in each.split("|"))
    ]
    advice = ""
    if archives or not corpus.is_public:
        commands = [corpus.download, *commands]
    if archives:
        advice = f"; missing archives: {', '.join(archives).replace('|', ' or ')}"
        if not corpus.is_public:
            advice += ", which must be requested on the page of the corpus"
    num_gb, (_, free_gb) = corpus.num_hours * _GB_PER_HOUR, find_space(data_folder)
    if free_gb < num_gb:
        advice += (
            f"; all of it takes about {num_gb:.0f} GB as wav, and {free_gb:.0f} GB are free "
            "(--audio_format flac takes about half, --limit a part)"
        )
    return advice, commands


def _read_corpora(name: str, data_folder: Path, config_folder: Path) -> list[dict[str, Any]]:
    """Return the blocks with shards in a data config; none if it cannot be composed."""
    try:
        with (
            warnings.catch_warnings(),
            hydra.initialize_config_dir(str(config_folder), version_base="1.3"),
        ):
            # Hydra warns about a missing `_self_` only if a config is composed on its own.
            warnings.simplefilter("ignore")
            composed = hydra.compose(f"data/{name}")
        composed = OmegaConf.create({**composed, "data_folder": str(data_folder)})
        settings: Any = OmegaConf.to_container(composed.data, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError):
        return []
    blocks = (settings, *settings.values())
    return [block for block in blocks if isinstance(block, dict) and "shards_folder" in block]


def _list_sets(settings: dict[str, Any]) -> Iterator[str]:
    for key in ("train_sets", "train_set", "val_sets", "val_set", "test_sets"):
        sets = settings.get(key, [])
        if isinstance(sets, dict):
            sets = sets.values()
        yield from [sets] if isinstance(sets, str) else sets


def _describe_set(folder: Path) -> tuple[bool, str]:
    """Return whether a set is complete, and its size or what is wrong with it."""
    try:
        metadata = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        size = ", ".join(f"{metadata.get(f'num_{each}', '?')} {each}" for each in _COUNTED)
    except FileNotFoundError:
        return False, "not there"
    except (OSError, ValueError, AttributeError):  # A list has no `get`.
        return False, "not readable"
    return (True, size) if any(folder.glob("*.tar")) else (False, "without shards")
