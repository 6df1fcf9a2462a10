"""Text files of the user: read up to a size, and split at line feeds, spaces and tabs only.

`str.splitlines` and `str.split` also split at characters such as U+0085 and U+2028, which may be
part of a sentence or of a key.
"""

from pathlib import Path

from w2v2_mt.core.limits import MAX_TEXT_BYTES, size_in_mib


def read_text(path: Path, *, max_bytes: int = MAX_TEXT_BYTES, errors: str = "strict") -> str:
    """Return the text of a file in UTF-8, without a byte-order mark; line ends are as in the file.

    Args:
        errors: The treatment of other encodings, as of `bytes.decode`.

    Raises:
        ValueError: The file is larger than `max_bytes`, or is not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(
            f"{path} is larger than {size_in_mib(max_bytes)}, the most that is read of such a "
            "file. Give another file."
        )
    return content.decode("utf-8-sig", errors=errors)


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, each of which ends in a line feed or in CRLF."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def split_fields(line: str) -> list[str]:
    """Return the fields of a line, which are separated by spaces and tabs."""
    return [field for field in line.replace("\t", " ").split(" ") if field]
