"""The form of a manifest, recognised by what it holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from w2v2_mt.core.terminal import visible
from w2v2_mt.manifests.audio_folders import find_tables, read_audio_folder
from w2v2_mt.manifests.audio_root import AudioRoot
from w2v2_mt.manifests.kaldi import AUDIO_LIST, find_kaldi_folders, read_kaldi
from w2v2_mt.manifests.lhotse import is_of_lhotse, read_cuts
from w2v2_mt.manifests.lines import first_line
from w2v2_mt.manifests.rows import Rows
from w2v2_mt.manifests.tables import read_json_lines, read_separated


@dataclass(frozen=True, kw_only=True)
class Form:
    """A manifest in a recognised form, of which the rows are still to be read.

    Args:
        name: The name of the form, for people.
        root: The folder that holds all audio.
        rows: The rows, once.
        columns: What each column holds, which is complete after all rows are read.
    """

    name: str
    root: Path
    rows: Rows
    columns: Mapping[str, str | None]


def open_form(path: Path, *, root: Path | None) -> Form:
    """Recognise the form of a file or a folder.

    Args:
        path: The manifest.
        root: The folder that holds all audio; by default that of the manifest.

    Raises:
        ValueError: The manifest does not exist or has an unknown form.
    """
    columns: dict[str, str | None] = {}
    if path.name == AUDIO_LIST:
        path = path.parent
    if path.is_dir():
        name, rows = _open_folder(path, columns)
        folder = path
    else:
        name, rows = _open_file(path, columns)
        folder = path.parent
    return Form(name=name, root=(root or folder).absolute(), rows=rows, columns=columns)


def _open_folder(folder: Path, columns: dict[str, str | None]) -> tuple[str, Rows]:
    if find_kaldi_folders(folder):
        return "Kaldi", read_kaldi(folder, columns=columns)
    tables = find_tables(folder)
    for table in tables:
        if not AudioRoot(folder).contains(table):
            raise ValueError(f"{table} is or goes through a link that leads out of {folder}.")
    if tables:
        return "audiofolder", read_audio_folder(folder, tables, columns=columns)
    raise ValueError(
        f"{folder} holds no manifest: neither wav.scp (Kaldi) nor metadata.csv or metadata.jsonl "
        "(audiofolder). Name a file, or one of these folders."
    )


def _open_file(path: Path, columns: dict[str, str | None]) -> tuple[str, Rows]:
    line = first_line(path).strip()
    name = visible(path.name, keep="")
    if line.startswith("["):
        raise ValueError(
            f"{path} is a JSON list. Write one JSON object in each line, without the brackets and "
            "the commas between them: `jq -c '.[]'` does that."
        )
    if path.stem == "metadata" and "file_name" in line:
        return "audiofolder", read_audio_folder(path.parent, [path], columns=columns)
    if not line.startswith("{"):
        return "table", read_separated(path, name=name, columns=columns)
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = {}  # The line will be rejected.
    if is_of_lhotse(values):
        return "lhotse", read_cuts(path, name=name, columns=columns)
    is_nemo = "audio_filepath" in values
    return "NeMo" if is_nemo else "JSON lines", read_json_lines(path, name=name, columns=columns)
