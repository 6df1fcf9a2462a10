"""Folders of audio with a table, the `audiofolder` of HuggingFace datasets.

Source: https://huggingface.co/docs/datasets/audio_dataset#audiofolder
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from w2v2_mt.core.terminal import visible
from w2v2_mt.manifests.labels import SPLIT_NAMES
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.manifests.rows import Rows
from w2v2_mt.manifests.tables import read_json_lines, read_separated

_TABLES = ("metadata.csv", "metadata.jsonl")


def find_tables(folder: Path) -> list[Path]:
    """Return the tables of a folder or, if it has none, of its sub-folders, in their order.

    Raises:
        ValueError: A folder has two tables.
    """
    for pattern in ("", "*/", "data/*/"):
        tables = sorted(table for name in _TABLES for table in folder.glob(pattern + name))
        folders = [table.parent for table in tables]
        for parent in folders:
            if folders.count(parent) > 1:
                raise ValueError(f"{parent} holds {' and '.join(_TABLES)}. Remove one of them.")
        if tables:
            return tables
    return []


def read_audio_folder(
    folder: Path, tables: Sequence[Path], *, columns: dict[str, str | None]
) -> Rows:
    """Yield the rows of tables whose paths are relative to the folder of their table.

    Without a column of splits, a folder with the name of a split is the split of what is in it.

    Args:
        folder: The folder of the corpus.
        tables: The tables in it.
        columns: Receives what each column holds.
    """
    for table in tables:
        read = read_json_lines if table.suffix == ".jsonl" else read_separated
        name = visible(table.relative_to(folder), keep="")
        for row in read(table, name=name, columns=columns):
            if isinstance(row, Rejection) or not row.labels.get("path"):
                yield row
                continue
            path = os.path.normpath(table.parent / row.labels["path"])
            labels = {**row.labels, "path": path}
            if not labels.get("split"):
                labels["split"] = _split_of_folder(os.path.relpath(path, folder))
            yield replace(row, labels=labels)


def _split_of_folder(path: str) -> str:
    folders = PurePosixPath(path).parts[:-1]
    if folders[:1] == ("data",):
        folders = folders[1:]
    return next((each for each in folders[:1] if each.casefold() in SPLIT_NAMES), "")
