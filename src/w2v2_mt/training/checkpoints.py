"""Write and read checkpoints: the full state of a run in one file."""

import os
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO

from w2v2_mt.core.atomic_output import atomic_replacement, check_no_link
from w2v2_mt.core.errors import error_chain
from w2v2_mt.core.symbols import describe_difference
from w2v2_mt.settings.renamed_targets import with_current_targets

RECORD_KEY = "w2v2_mt"
"""Key of what this project adds to a checkpoint: settings, number of speakers, metrics."""

_ADVICE = "Name a complete one of this project, such as <run folder>/checkpoints/best.ckpt."
_KEYS = ("state_dict", "global_step", RECORD_KEY)
_RECORD: dict[str, Any] = {
    "config_name": str,
    "config": dict,
    "precision": str,
    "metrics": dict,
    "num_speakers": int | None,
    "architecture": dict,
    "vocabulary": list | tuple | None,
    "speakers": list | tuple | None,
}
"""The entries of a record and their types; earlier versions do not have all of them."""
_WITHOUT_SHAPE = (
    "model_type",
    "num_attention_heads",
    "hidden_act",
    "feat_extract_activation",
    "do_stable_layer_norm",
    "conv_stride",
    "layer_norm_eps",
)
"""Entries of an architecture that no shape of a weight shows."""
_DATA_MODULES = {"LibriSpeechData": "SpeechData", "VoxCelebData": "SpeakerData"}
"""Present names of the classes of version 0.1 under which the position in the data is stored."""
_WITH_POSITION = ("SpeechData", "SpeakerData", "JointData")


class AtomicCheckpointIO(TorchCheckpointIO):
    """A writer that replaces a checkpoint only after the new one is complete on the disk.

    A file that cannot be written is a ValueError. It reads names of earlier versions too, and never
    runs code that a checkpoint names.
    """

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        content = super().load_checkpoint(path, *arguments, **{**options, "weights_only": True})
        return {_DATA_MODULES.get(key, key): value for key, value in content.items()}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        path = Path(path)
        check_no_link(path.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_replacement(path) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            # torch answers an OSError with an error of its own.
            cause = next((e for e in error_chain(error) if isinstance(e, OSError)), error)
            reason = str(cause).partition("\n")[0] or type(error).__name__
            raise ValueError(
                f"cannot save {path} ({reason}). Make room for it and start the run again in its "
                "folder, where it resumes from the last saved state."
            ) from error

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file of a checkpoint; a path from a checkpoint may name anything else."""
        path = Path(path)
        if path.is_file() and path.suffix == ".ckpt" and ".." not in path.parts:
            path.unlink()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; a ValueError says that it is missing, corrupt or not of this project."""
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}. {_ADVICE}")
    try:
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        is_own = isinstance(content, dict) and all(name in content for name in _KEYS)
        problem = _find_problem(content) if is_own else None
    except Exception as error:  # Unpickling foreign bytes may raise anything.
        raise ValueError(f"{path} is corrupt or not a checkpoint. {_ADVICE}") from error
    if not is_own:
        raise ValueError(f"{path} is not a checkpoint of this project. {_ADVICE}")
    if problem is not None:
        raise ValueError(f"{path} is not a checkpoint as a run writes it ({problem}). {_ADVICE}")
    return {**content, RECORD_KEY: with_current_targets(content[RECORD_KEY])}


def _check_archive(path: Path) -> None:
    """Raise a ValueError if the parts of a checkpoint are more than its file, as of a zip bomb."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    is_packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if is_packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")


def _find_problem(content: dict[str, Any]) -> str | None:
    """Return what is wrong with the values of a checkpoint, without its tensors' shapes."""
    record = content[RECORD_KEY]
    if not isinstance(record, dict):
        return "its record is not a dict"
    for name, kinds in _RECORD.items():
        if name in record and not isinstance(record[name], kinds):
            return f"{name} is a {type(record[name]).__name__}"
    if type(content["global_step"]) is not int:
        return "global_step is not an integer"
    if not all(isinstance(value, int | float) for value in record.get("metrics", {}).values()):
        return "a metric is not a number"
    for name in ("vocabulary", "speakers"):
        if not all(isinstance(each, str) for each in record.get(name) or ()):
            return f"an entry of {name} is not a text"
    if not isinstance(content["state_dict"], dict):
        return "state_dict is not a dict"
    for name, value in content["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            return "a weight is not a tensor with a name"
        # A view can claim any number of values of one stored number.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            return f"{name} has more values than are stored"
    return None


def has_position(content: Mapping[str, Any]) -> bool:
    """Return True if a checkpoint has the position in the data, and not only the batches done."""
    return any(
        isinstance(content.get(name), dict) and content[name].get("position") is not None
        for name in _WITH_POSITION
    )


def read_whole_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as `read_checkpoint` does, after a check of all its bytes."""
    if path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                corrupt = archive.testzip()
        except Exception as error:  # Reading foreign bytes as a zip file may raise anything.
            raise ValueError(f"{path} is corrupt or not a checkpoint. {_ADVICE}") from error
        if corrupt is not None:
            raise ValueError(f"{path} is corrupt (checksum of {corrupt}). {_ADVICE}")
    return read_checkpoint(path)


def check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Raise a ValueError if weights of a checkpoint have the shapes, but not the meaning, of a run.

    Args:
        path: A checkpoint; those of earlier versions lack entries, which are not compared.
        record: `architecture`, `vocabulary` and `speakers` of the present run, or None.
    """
    trained = read_checkpoint(path)[RECORD_KEY]
    theirs, ours = (each.get("architecture") or {} for each in (trained, record))
    for name in _WITHOUT_SHAPE:
        if name in theirs and name in ours and theirs[name] != ours[name]:
            raise ValueError(
                f"the network of {path} is not the one that the settings describe: its {name} is "
                f"{theirs[name]} and not {ours[name]}. Set network.wav2vec_huggingface_id to the "
                "model of its run."
            )
    for name, noun, classes, advice in (
        (
            "vocabulary",
            "token",
            "CTC head of {path} was not trained with the vocabulary of speech.tokenizer",
            "Set speech.tokenizer.vocabulary_path to the vocabulary of its run",
        ),
        (
            "speakers",
            "speaker",
            "speaker head of {path} was not trained with the speakers of the training set",
            "Use the training set of its run (train_set, DATA_FOLDER)",
        ),
    ):
        theirs, ours = trained.get(name), record.get(name)
        if theirs is None or ours is None:
            continue
        if problem := describe_difference(theirs, ours, noun=noun):
            raise ValueError(f"the {classes.format(path=path)}: it {problem}. {advice}.")


def load_network(task: pl.LightningModule, path: Path) -> None:
    """Load the weights of a checkpoint into a task; a ValueError says that they do not fit."""
    content = read_whole_checkpoint(path)
    try:
        task.load_state_dict(content["state_dict"], strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"the network of {path} is not the one that the settings describe "
            f"({textwrap.shorten(str(error), 200)}). Use the settings in config.yaml of its run."
        ) from error
