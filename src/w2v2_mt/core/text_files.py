"""Text files of the user: read up to a size, and split at line feeds, spaces and tabs only.

`str.splitlines` and `str.split` also split at characters such as U+0085 and U+2028, which may be
part of a sentence or of a key.
"""

import json
import os
from pathlib import Path
from typing import Any

from w2v2_mt.core.limits import MAX_JSON_BYTES, MAX_TEXT_BYTES, size_in_mib


def check_is_file(path: Path) -> None:
    """Raise a ValueError for a folder, and for a pipe or device, which could be read forever."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} must be a file, and not a folder, pipe or device. Move it away.")


def read_text(path: Path, *, max_bytes: int = MAX_TEXT_BYTES, errors: str = "strict") -> str:
    """Return the text of a file in UTF-8, without a byte-order mark; line ends are as in the file.

    Args:
        errors: The treatment of other encodings, as of `bytes.decode`.

    Raises:
        ValueError: It is not a file, is larger than `max_bytes`, or is not UTF-8.
    """
    check_is_file(path)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise ValueError(
                f"{path} is larger than {size_in_mib(max_bytes)}, the most that is read of such a "
                "file. Give another file."
            )
        content = file.read(max_bytes)
    try:
        return content.decode("utf-8-sig", errors=errors)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be in UTF-8 ({error.reason} at byte {error.start}). Save it in this "
            "encoding, or get the file again."
        ) from error


def read_json_object(path: Path, *, advice: str) -> dict[str, Any]:
    """Return the content of a JSON file, which must be an object.

    Args:
        advice: A sentence on what to do about a file that is not.

    Raises:
        ValueError: The file is not text, is too large, or holds something else.
    """
    text = read_text(path, max_bytes=MAX_JSON_BYTES)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}). {advice}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not map names to values, as a JSON object does. {advice}")
    return content


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, each of which ends in a line feed or in CRLF."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def split_fields(line: str) -> list[str]:
    """Return the fields of a line, which are separated by spaces and tabs."""
    return [field for field in line.replace("\t", " ").split(" ") if field]
