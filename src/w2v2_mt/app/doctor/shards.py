"""The shards of each data configuration and, where they are not made yet, the archives."""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.app.environment import PROJECT_FOLDER

_CONFIG_FOLDER = PROJECT_FOLDER / "config"
_GB_OF_AN_HOUR = 16_000 * 2 * 3_600 / 1e9


@dataclass(frozen=True)
class _Corpus:
    """From where its shards come, and how many hours they hold, by the papers of the corpora.

    Of `archives`, alternatives are separated by a bar.
    """

    archives: Sequence[str]
    commands: Sequence[str]
    num_hours: int


_VOX1 = ("vox1_dev_wav.zip", "vox1_test_wav.zip")
_META = "./scripts/download/download_voxceleb_meta.sh"
_CORPORA = {
    "librispeech": _Corpus(
        archives=[
            f"librispeech/{subset}.tar.gz"
            for subset in (
                *("train-clean-100", "train-clean-360", "train-other-500"),
                *("dev-clean", "dev-other", "test-clean", "test-other"),
            )
        ],
        commands=[
            "./scripts/download/download_librispeech.sh",
            "./scripts/data/librispeech/produce_librispeech_shards.sh",
        ],
        num_hours=982,
    ),
    "voxceleb1": _Corpus(
        archives=[f"voxceleb_archives/{name}" for name in _VOX1],
        commands=[_META, "./scripts/data/voxceleb/produce_vox1_train_val_test.sh"],
        num_hours=352,
    ),
    "voxceleb2": _Corpus(
        archives=[
            *(f"voxceleb_archives/{name}" for name in _VOX1),
            "voxceleb_archives/vox2_dev_wav.zip|voxceleb_archives/vox2_dev_aac.zip",
        ],
        commands=[_META, "./scripts/data/voxceleb/produce_vox2_train_val_test3.sh"],
        num_hours=2_442 + 352,
    ),
}


def shards(data_folder: Path, config_folder: Path = _CONFIG_FOLDER) -> Iterator[Finding]:
    """One finding for each corpus that a configuration in `data/` of `config_folder` names."""
    blocks = {
        path.stem: _corpora_of(path.stem, data_folder, config_folder)
        for path in sorted((config_folder / "data").glob("*.yaml"))
    }
    for name, corpora in blocks.items():
        if len(corpora) != 1:
            continue
        users = [f"data={user}" for user, others in blocks.items() if corpora[0] in others]
        yield _finding(name, corpora[0], data_folder, needed_for=", ".join(users))


def _finding(
    name: str, settings: Mapping[str, Any], data_folder: Path, *, needed_for: str
) -> Finding:
    root = Path(settings["shards_folder"])
    folders = [root / folder for folder in _sets(settings)]
    facts = {folder: _facts(folder) for folder in folders}
    absent = [str(folder.relative_to(root)) for folder in folders if isinstance(facts[folder], str)]
    if not absent:
        return Finding(
            subject=f"shards of {name}",
            state=State.OK,
            found="; ".join(
                f"{folder.relative_to(root)} {_counts(found)}"
                for folder, found in facts.items()
                if not isinstance(found, str)
            ),
            needed_for=needed_for,
        )
    reasons = {found for found in facts.values() if isinstance(found, str)}
    which = "all sets" if len(absent) == len(folders) else ", ".join(absent)
    found = f"{which} in {root}: {' and '.join(sorted(reasons))}"
    corpus = _CORPORA.get(name)
    if corpus is None:
        return Finding(
            subject=f"shards of {name}", state=State.MISSING, found=found, needed_for=needed_for
        )
    archives = [
        names
        for names in corpus.archives
        if not any((data_folder / path).is_file() for path in names.split("|"))
    ]
    if archives:
        which = ", ".join(archives).replace("|", " or ")
        found += f"; archives that are not there: {which}"
        if name != "librispeech":
            found += ", which have to be asked for at the page of the corpus"
    num_gb = corpus.num_hours * _GB_OF_AN_HOUR
    free_gb = _free_gb(data_folder)
    if free_gb is not None and free_gb < num_gb:
        found += (
            f"; all of it takes about {num_gb:.0f} GB as wav, and {free_gb:.0f} GB are free "
            "(--audio_format flac takes about half, --limit a part)"
        )
    commands = corpus.commands if archives or name != "librispeech" else corpus.commands[1:]
    return Finding(
        subject=f"shards of {name}",
        state=State.MISSING,
        found=found,
        needed_for=needed_for,
        commands=commands,
    )


def _corpora_of(name: str, data_folder: Path, config_folder: Path) -> list[dict[str, Any]]:
    """The blocks with shards in a configuration; none where it cannot be composed."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        with (
            warnings.catch_warnings(),
            hydra.initialize_config_dir(str(config_folder), version_base="1.3"),
        ):
            # Composed on its own, a part of the settings misses `_self_`; the whole does not.
            warnings.simplefilter("ignore")
            composed = hydra.compose(f"data/{name}")
        with open_dict(composed):
            composed["data_folder"] = str(data_folder)
        settings: Any = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError):
        return []
    return [
        corpus
        for corpus in (settings["data"], *settings["data"].values())
        if isinstance(corpus, dict) and "shards_folder" in corpus
    ]


def _sets(settings: Mapping[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    for key in ("train_sets", "train_set", "val_sets", "val_set", "test_sets"):
        sets = settings.get(key, [])
        if isinstance(sets, str):
            sets = [sets]
        found |= dict.fromkeys(sets.values() if isinstance(sets, dict) else sets)
    return list(found)


def _facts(folder: Path) -> dict[str, Any] | str:
    """What meta.json says, or what is wrong."""
    try:
        facts = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        num_shards = sum(1 for _ in folder.glob("*.tar"))
    except FileNotFoundError:
        return "not there"
    except (OSError, ValueError):
        return "not readable"
    if not isinstance(facts, dict):
        return "not readable"
    if num_shards == 0:
        return "without shards"
    return facts


def _counts(facts: Mapping[str, Any]) -> str:
    counts = [facts.get(f"num_{name}", "?") for name in ("utterances", "speakers")]
    return f"({counts[0]} utterances, {counts[1]} speakers)"


def _free_gb(folder: Path) -> float | None:
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free / 1e9
        except OSError:
            continue
    return None
