"""The number of samples in a FLAC file, counted by its last frame instead of its header.

Bytes may follow the last frame, such as tags, and an encoder that writes to a pipe leaves the count
in the header at 0. Source: RFC 9639.
"""

import os
import re

from w2v2_mt.audio.completeness import BinaryFile

FRAME_START = re.compile(rb"(?=\xff[\xf8\xf9])")
MAX_HEADER_BYTES = 16
BLOCK_BYTES = 1 << 15
START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""The mark of the format, and the header of its first block of metadata."""


def is_flac(file: BinaryFile) -> bool:
    """Return True for FLAC, also after tags (ID3)."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return head[:4] == b"fLaC"
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        position += 10 + size


def count_flac_samples(file: BinaryFile, *, name: str) -> int:
    """Return the number of samples to the end of the last frame, or 0 if no frame is found.

    Raises:
        ValueError: Several files were joined, or more samples follow than the header counts.
    """
    starts = _find_starts(file)
    if len(starts) > 1:
        raise ValueError(
            f"{name} is {len(starts)} FLAC files joined into one, of which decoders read only the "
            "first. Split it, or decode and join the parts."
        )
    if not starts:
        return 0
    file.seek(starts[0] + 8)
    info = file.read(34)
    if len(info) < 34:
        return 0
    header_count = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    frame_count = _count_by_last_frame(file, starts[0] + 42, int.from_bytes(info[2:4], "big"))
    if 0 < header_count < frame_count:
        raise ValueError(
            f"{name} has {frame_count} samples, but its header counts only {header_count}. Get the "
            "file again, or encode it again."
        )
    return header_count or frame_count


def _find_starts(file: BinaryFile) -> list[int]:
    starts: list[int] = []
    overlap, position = b"", 0
    file.seek(0)
    while block := file.read(1 << 20):
        content = overlap + block
        starts += [position - len(overlap) + found.start() for found in START.finditer(content)]
        overlap, position = content[-7:], position + len(block)
    return starts


def _count_by_last_frame(file: BinaryFile, first: int, block_size: int) -> int:
    """Search backwards for the headers of two frames, the later of which begins at the other's end.

    A single header may be a chance pattern within a frame.
    """
    ends: dict[int, int] = {}
    end = file.seek(0, os.SEEK_END)
    code = None  # the bits that all frames share: kind of blocks, sample rate and bit depth
    for stop in range(end, first, -BLOCK_BYTES):
        start = max(first, stop - BLOCK_BYTES)
        file.seek(start)
        content = file.read(stop - start + MAX_HEADER_BYTES)
        for found in reversed([*FRAME_START.finditer(content, 0, stop - start + 1)]):
            header = content[found.start() : found.start() + MAX_HEADER_BYTES]
            frame = _read_frame_header(header, block_size)
            if frame is None:
                continue
            if code is None:
                code = _first_code(file, first)
            if code is not None and _code(header) != code:
                continue
            if frame.stop in ends:
                return ends[frame.stop]
            if frame.start == 0:
                return frame.stop
            ends[frame.start] = frame.stop
    return 0


def _code(header: bytes) -> tuple[int, int, int]:
    return header[1], header[2] & 0x0F, header[3] & 0x0F


def _first_code(file: BinaryFile, first: int) -> tuple[int, int, int] | None:
    """Return the shared bits of the first frame, which follows the blocks of metadata."""
    position, is_last = first - 38, False
    while not is_last:
        file.seek(position)
        head = file.read(4)
        if len(head) < 4:
            return None
        is_last, position = head[0] >= 0x80, position + 4 + int.from_bytes(head[1:], "big")
    file.seek(position)
    header = file.read(4)
    return _code(header) if len(header) == 4 else None


def _read_frame_header(header: bytes, block_size: int) -> range | None:
    """Return the samples of a frame, or None if the bytes are not the header of one."""
    size_code, rate_code = header[2] >> 4 if len(header) > 5 else 0, header[2:3]
    if not size_code or rate_code[0] & 15 == 15 or header[3] >> 4 > 10 or header[3] & 1:
        return None
    # The number of the frame, or of its first sample, is coded like a character of UTF-8.
    num_bytes = 1 if header[4] < 0x80 else 8 - (header[4] ^ 0xFF).bit_length()
    if header[4] >= 0x80 and not 2 <= num_bytes <= 7:
        return None
    number = header[4] & (0x7F if num_bytes == 1 else (1 << (7 - num_bytes)) - 1)
    for byte in header[5 : 4 + num_bytes]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    position = 4 + num_bytes
    if size_code in (6, 7):
        size = int.from_bytes(header[position : position + size_code - 5], "big") + 1
        position += size_code - 5
    elif size_code == 1:
        size = 192
    else:
        size = 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    position += {12: 1, 13: 2, 14: 2}.get(rate_code[0] & 15, 0)
    if position >= len(header) or _crc8(header[:position]) != header[position]:
        return None
    start = number if header[1] & 1 else number * block_size
    return range(start, start + size)


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ 0x107 if crc & 0x80 else crc << 1
    return crc
