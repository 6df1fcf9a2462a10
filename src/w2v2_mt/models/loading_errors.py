"""Say in one sentence why a pretrained model cannot be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten

from safetensors import SafetensorError

_LFS_POINTER = b"version https://git-lfs"
_MAX_REASON_LENGTH = 200

ARCHITECTURES = resources.files("w2v2_mt.models") / "architectures"


def list_architectures() -> list[str]:
    """Return the names of the architectures in this package, which have no weights."""
    return sorted(Path(entry.name).stem for entry in ARCHITECTURES.iterdir())


def is_path(huggingface_id: str) -> bool:
    """Return True for what can only be a path, such as "./model", and never the id of a hub."""
    begins_like_one = huggingface_id.startswith((".", "/", "~"))
    return begins_like_one or "\\" in huggingface_id or huggingface_id.count("/") > 1


@contextmanager
def report_loading_errors(huggingface_id: str, *, instead: str) -> Iterator[None]:
    """Raise any error as a ValueError in one sentence, with what to do about it.

    A corrupt file, or a wrong value in a config, raises errors of many kinds in transformers.

    Args:
        instead: What to do without the model, such as "set network.reset_weights=true".
    """
    try:
        yield
    except Exception as error:
        raise _loading_failed(huggingface_id, error, instead) from error


def _loading_failed(huggingface_id: str, reason: Exception, instead: str) -> ValueError:
    folder = Path(huggingface_id)
    if (is_path(huggingface_id) and not folder.is_dir()) or folder.is_file():
        begins = " ('~' is not expanded in it)" if huggingface_id.startswith("~") else ""
        return ValueError(
            f"cannot load {huggingface_id!r}: this folder does not exist{begins}. Name that of "
            "a model, with its config.json and model.safetensors, or a hub id."
        )
    if folder.is_dir() and (problem := _find_unusable_file(folder)):
        return ValueError(f"cannot load the folder {huggingface_id!r}: its {problem}.")
    if isinstance(reason, UnpicklingError):  # The text of torch advises to run the code.
        return ValueError(
            f"cannot load {huggingface_id!r}: its weights are a pickle that is corrupt or names "
            "code, which is not run. Name a model with a model.safetensors."
        )
    # Of a wrong value, the first line names the key, and the others the rule.
    text = shorten(str(reason) or type(reason).__name__, _MAX_REASON_LENGTH).rstrip(".")
    if folder.is_dir():
        return ValueError(
            f"cannot load the folder {huggingface_id!r} ({text}): it needs the complete "
            "config.json and model.safetensors of a model; copy them again, or name another one."
        )
    if isinstance(reason, SafetensorError):
        advice = (
            "its file in the cache of HF_HOME is corrupt; remove it, and download it with "
            f"`hf download {huggingface_id}`."
        )
    else:
        advice = (
            "it is neither a local folder nor in the cache of HF_HOME, and the hub does not answer "
            f"or has no such model; download it with `hf download {huggingface_id}` where there is "
            f"network and copy HF_HOME, or {instead}."
        )
    return ValueError(f"cannot load {huggingface_id!r} ({text}): {advice}")


def _find_unusable_file(folder: Path) -> str | None:
    """Return the problem of a file that was not copied whole, or None."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors", ".bin") or not path.is_file():
            continue
        with path.open("rb") as file:
            beginning = file.read(len(_LFS_POINTER))
        if beginning == _LFS_POINTER:
            return f"{path.name} is a pointer of git-lfs; run `git lfs pull` in that folder"
        if not beginning:
            return f"{path.name} is empty; copy it again"
    return None
