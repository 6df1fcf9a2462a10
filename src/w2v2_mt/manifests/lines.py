"""The lines of a text file of any length, plain or gzipped, read one at a time."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from w2v2_mt.core.limits import MAX_LINE_BYTES, MAX_MANIFEST_BYTES, size_in_mib

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, without its end and without a byte-order mark.

    Lines end in a line feed or in CRLF.

    Raises:
        ValueError: The file is not UTF-8, is a corrupt gzip file, or has a line or a size that is
            more than is read.
    """
    if not path.is_file():
        kind = "is not a plain file" if path.exists() else "does not exist"
        raise ValueError(f"{path} {kind}. Name a manifest.")
    num_bytes = 0
    try:
        with _open(path) as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                num_bytes += len(line)
                if len(line) > MAX_LINE_BYTES or num_bytes > MAX_MANIFEST_BYTES:
                    limit = MAX_LINE_BYTES if len(line) > MAX_LINE_BYTES else MAX_MANIFEST_BYTES
                    raise ValueError(
                        f"{path}, line {number}: more than {size_in_mib(limit)} "
                        f"{'in one line' if limit == MAX_LINE_BYTES else 'in all'}; a manifest "
                        "has one recording in each line. Give another file."
                    )
                if number == 1:
                    if line.startswith(_MARKS_OF_UTF_16) or b"\0" in line:
                        raise ValueError(
                            f"{path} is in UTF-16, or is not text. Save it as UTF-8, for example "
                            "with `iconv -f UTF-16 -t UTF-8`."
                        )
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                yield number, _decode(line, path, number).removesuffix("\n").removesuffix("\r")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path} is corrupt or truncated ({error}). Get the file again."
        ) from error


def first_line(path: Path) -> str:
    """Return the first line of a file that is not blank; raise ValueError if there is none."""
    for _, line in read_lines(path):
        if line.strip():
            return line
    raise ValueError(f"{path} is empty. Name a manifest with one recording in each line.")


def _open(path: Path) -> BufferedReader | gzip.GzipFile:
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.GzipFile(path) if is_gzipped else path.open("rb")


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number}: byte {line[error.start]:#04x} is not UTF-8. Save the file as "
            "UTF-8, for example with `iconv -f WINDOWS-1252 -t UTF-8`."
        ) from error
