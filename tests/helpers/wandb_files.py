"""Read back what wandb has written to the folder of a run.

Its file is a log in the format of LevelDB: after seven bytes of its own, blocks of 32 KiB hold
pieces of records, each behind a checksum, a length and whether it is a whole, first, middle or last
piece. Source: log_format.md of LevelDB.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

_BLOCK_SIZE = 32_768
_FILE_HEADER_SIZE = 7
_PIECE_HEADER = struct.Struct("<IHB")
_WHOLE, _LAST = 1, 4


@dataclass
class WandbFile:
    """The records of one start of a run."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def values(self, name: str) -> dict[int, float]:
        """Of a metric, by step."""
        return {row["global_step"]: row[name] for row in self.history if name in row}

    def table(self, name: str) -> dict[str, Any]:
        """Columns and data."""
        return json.loads((self.folder / "files" / self.media()[name]).read_text())

    def media(self) -> dict[str, str]:
        """Where tables and pictures lie below `files`, by name."""
        return {
            name.removesuffix(".path"): str(path)
            for row in self.history
            for name, path in row.items()
            if name.endswith(".path")
        }


def wandb_files(run_folder: Path) -> list[WandbFile]:
    """In the order in which they were begun."""
    return [_read(path) for path in sorted((run_folder / "wandb").glob("offline-run-*/*.wandb"))]


def _read(path: Path) -> WandbFile:
    content = WandbFile(folder=path.parent)
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            content.run = record.run
            content.config |= _items(record.run.config.update)
        elif kind == "config":
            content.config |= _items(record.config.update)
        elif kind == "history":
            content.history.append(_items(record.history.item))
        elif kind == "summary":
            content.summary |= _items(record.summary.update)
        elif kind == "exit":
            content.exit_code = record.exit.exit_code
    return content


def _items(items: Any) -> dict[str, Any]:
    return {
        item.key or ".".join(item.nested_key): json.loads(item.value_json)
        for item in items
        if item.value_json
    }


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    position, pieces = _FILE_HEADER_SIZE, b""
    while position + _PIECE_HEADER.size <= len(data):
        left_in_block = _BLOCK_SIZE - position % _BLOCK_SIZE
        if left_in_block < _PIECE_HEADER.size:
            position += left_in_block
            continue
        _, length, kind = _PIECE_HEADER.unpack_from(data, position)
        position += _PIECE_HEADER.size
        pieces += data[position : position + length]
        position += length
        if kind in (_WHOLE, _LAST):
            yield pieces
            pieces = b""
