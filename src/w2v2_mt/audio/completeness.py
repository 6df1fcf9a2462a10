"""Signs of a truncated or joined file that its decoder passes over."""

import os
import re
import string
from io import BufferedReader, BytesIO
from typing import Literal

from w2v2_mt.core.units import count

BinaryFile = BufferedReader | BytesIO

UNKNOWN_SIZE = 0x7FFF0000
"""From this size on, a program that wrote to a pipe means that it did not know the size."""

RIFF_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM")
"""The first bytes of wav files and their relatives: Sony Wave64 (riff), AIFF and 8SVX (FORM)."""

RIFF_HEADER_BYTES = 8
SAMPLE_CHUNKS = (b"data", b"SSND", b"BODY")
OGG_HEADER_BYTES = 27
OGG_MAX_PAGE_BYTES = 65_307
OGG_END_OF_STREAM = 4
MATROSKA_MAGIC, MATROSKA_SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
ASF_MAGIC = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")

TAG = re.compile(rb"[\0\s]*(?:TAG|ID3|APETAGEX|LYRICSBEGIN|id3 )")
"""The beginning of a tag after the samples."""

TEXT = string.printable.encode() + b"\0"
MAX_TAIL_BYTES = 64 << 20
MAGIC_BYTES = 8


def check_complete(file: BinaryFile, *, name: str) -> None:
    """Check that a file reaches to its end by its header; the position in the file changes.

    libsndfile takes what is left of a truncated wav file for the whole, FFmpeg what is left of an
    Ogg, Matroska or ASF file. Source: EBU Tech 3306 (RF64), Sony Wave64, RFC 3533 (Ogg), RFC 8794
    (Matroska), ISO/IEC 14496-12 (MP4), Microsoft's ASF specification.

    Args:
        name: The file's name in messages.

    Raises:
        ValueError: The file is truncated, or holds more than its header counts.
    """
    file.seek(0)
    head = file.read(4096)
    num_bytes = file.seek(0, os.SEEK_END)
    if head[:4] in RIFF_MAGICS:
        if num_bytes < (promised := _riff_size(head)) < UNKNOWN_SIZE:
            raise _truncated(name, num_bytes, promised)
        if head[:4] != b"riff":
            _check_sample_chunk(file, head, name)
        elif RIFF_HEADER_BYTES < promised < num_bytes:
            raise _followed(name, num_bytes - promised)
    elif head[:4] == b"OggS":
        file.seek(max(0, num_bytes - OGG_MAX_PAGE_BYTES))
        if not _has_ogg_end(file.read()):
            raise ValueError(f"{name} is truncated: its end is missing. Get the file again.")
    elif head[4:8] == b"ftyp":
        _check_mp4(file, num_bytes, name)
    elif head.startswith(MATROSKA_MAGIC) and num_bytes < (promised := _matroska_size(head)):
        raise _truncated(name, num_bytes, promised)
    elif head.startswith(ASF_MAGIC) and (at := head.find(ASF_FILE_PROPERTIES)) > 0:
        promised = int.from_bytes(head[at + 40 : at + 48], "little")
        if num_bytes < promised < UNKNOWN_SIZE:
            raise _truncated(name, num_bytes, promised)


def lacks_size(file: BinaryFile) -> bool:
    """Return True for a wav file whose header counts 0 bytes of samples, though some follow."""
    file.seek(0)
    head = file.read(4)
    if head not in (b"RIFF", b"RIFX"):
        return False
    start, size, left = _find_sample_chunk(file, head)
    file.seek(start)
    return size == 0 and left > 0 and _is_unaccounted(file.read(min(left, MAX_TAIL_BYTES)))


def check_nothing_follows(file: BinaryFile, end: int, *, name: str) -> None:
    """Check that no second file of the same format begins after the last samples, at `end`.

    Raises:
        ValueError: The file is several files, joined.
    """
    position = file.tell()
    file.seek(0)
    magic = file.read(MAGIC_BYTES)
    file.seek(max(end, MAGIC_BYTES))
    overlap = b""
    while len(magic) == MAGIC_BYTES and (block := file.read(1 << 18)):
        if magic in overlap + block:
            raise _joined(name)
        overlap = block[1 - MAGIC_BYTES :]
    file.seek(position)


def _check_sample_chunk(file: BinaryFile, head: bytes, name: str) -> None:
    """Check that the samples are as many as their chunk states, and that only tags follow."""
    start, size, left = _find_sample_chunk(file, head)
    if size == 0 or size >= UNKNOWN_SIZE:
        return
    if size > left:
        raise _truncated(name, start + left, start + size)
    file.seek(start + size + size % 2)
    tail = file.read(min(left - size, MAX_TAIL_BYTES))
    position = 0
    while len(chunk := tail[position : position + 8]) == 8 and chunk[:4].isascii():
        if chunk[:4] in (*RIFF_MAGICS, *SAMPLE_CHUNKS):
            raise _joined(name)
        chunk_bytes = int.from_bytes(chunk[4:], _byteorder(head))
        if not chunk[:4].decode().isprintable() or position + 8 + chunk_bytes > len(tail):
            break
        position += 8 + chunk_bytes + chunk_bytes % 2
    if _is_unaccounted(tail[position:]):
        raise _followed(name, len(tail) - position)


def _find_sample_chunk(file: BinaryFile, head: bytes) -> tuple[int, int, int]:
    """Return the start of the samples, the size in their header, and the bytes that follow.

    All are 0 if there are no samples.
    """
    num_bytes, large_size, position = file.seek(0, os.SEEK_END), 0, 12
    while position + 8 <= num_bytes:
        file.seek(position)
        chunk = file.read(24)
        size = int.from_bytes(chunk[4:8], _byteorder(head))
        if chunk[:4] == b"ds64":
            large_size = int.from_bytes(chunk[16:24], "little")
        if chunk[:4] in SAMPLE_CHUNKS:
            if size == 0xFFFFFFFF and large_size:
                size = large_size
            return position + 8, size, num_bytes - position - 8
        position += 8 + size + size % 2
    return 0, 0, 0


def _byteorder(head: bytes) -> Literal["big", "little"]:
    return "big" if head[:4] in (b"RIFX", b"FORM") else "little"


def _is_unaccounted(tail: bytes) -> bool:
    """Return True if bytes after the samples are not padding, text or a tag."""
    return TAG.match(tail) is None and tail.translate(None, delete=TEXT) != b""


def _check_mp4(file: BinaryFile, num_bytes: int, name: str) -> None:
    """Check that the last box is complete, and that one file is not appended to another."""
    position = 0
    while position + 8 <= num_bytes:
        file.seek(position)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == b"ftyp" and position > 0:
            raise _joined(name)
        if not kind.isalnum():
            return  # what follows the last box
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return  # 0: to the end of the file
        position += size
    if position > num_bytes:
        raise _truncated(name, num_bytes, position)


def _matroska_size(head: bytes) -> int:
    """Return the size of a file by its header, or 0 if the header does not hold it."""
    at = head.find(MATROSKA_SEGMENT)
    if at < 0 or not head[at + 4 : at + 5]:
        return 0
    length = 9 - head[at + 4].bit_length()
    size = int.from_bytes(head[at + 4 : at + 4 + length], "big") & (1 << 7 * length) - 1
    return 0 if size == (1 << 7 * length) - 1 else at + 4 + length + size


def _riff_size(head: bytes) -> int:
    """Return the size of a file by its header; W64 and RF64 have 64 bits for it."""
    if head[:4] == b"riff":
        return int.from_bytes(head[16:24], "little")
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return RIFF_HEADER_BYTES + int.from_bytes(head[20:28], "little")
    return RIFF_HEADER_BYTES + int.from_bytes(head[4:8], _byteorder(head))


def _has_ogg_end(tail: bytes) -> bool:
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < OGG_HEADER_BYTES or not page[5] & OGG_END_OF_STREAM:
        return False
    header_bytes = OGG_HEADER_BYTES + page[26]  # the number of segments, whose sizes follow
    return len(page) >= header_bytes + sum(page[OGG_HEADER_BYTES:header_bytes])


def _truncated(name: str, num_bytes: int, promised: int) -> ValueError:
    return ValueError(
        f"{name} is truncated: it has {count(num_bytes, 'byte')}, but its header promises "
        f"{promised}. Get the file again."
    )


def _followed(name: str, num_bytes: int) -> ValueError:
    return ValueError(
        f"{name} has {count(num_bytes, 'byte')} after the samples that its header counts, "
        "which are not a tag and may be samples. Get the file again, or convert it."
    )


def _joined(name: str) -> ValueError:
    return ValueError(
        f"{name} is several files joined into one, of which only the first would be read. Split "
        "it, or convert and join the parts."
    )
