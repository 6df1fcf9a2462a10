"""Files inside larger ones: where their bytes lie, read only when they are wanted."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ZIP_HEADER = struct.Struct("<4s22xHH")
"""Of a member of a zip: its mark, and how long its name and its extra field are."""

ZIP_MARK = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of bytes."""

    container: Path
    name: str
    offset: int
    num_bytes: int

    def read(self, stream: BinaryIO) -> bytes:
        stream.seek(self.offset)
        content = stream.read(self.num_bytes)
        if len(content) != self.num_bytes:
            raise ValueError(f"{self.container} ends within {self.name}")
        return content


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of a zip archive, stored as it is or deflated; `offset` is that of its header.

    Reading by offset spares each process the directory of the archive, which takes gigabytes for
    a million members. Source: APPNOTE.TXT 6.3.10, section 4.3.7.
    """

    container: Path
    name: str
    offset: int
    num_compressed_bytes: int
    is_deflated: bool
    crc: int

    def read(self, stream: BinaryIO) -> bytes:
        stream.seek(self.offset)
        header = stream.read(ZIP_HEADER.size)
        if len(header) < ZIP_HEADER.size or not header.startswith(ZIP_MARK):
            raise ValueError("the zip archive has no member where its directory says")
        _, name_length, extra_length = ZIP_HEADER.unpack(header)
        stream.seek(self.offset + ZIP_HEADER.size + name_length + extra_length)
        content = stream.read(self.num_compressed_bytes)
        if self.is_deflated:
            try:
                content = zlib.decompress(content, wbits=-zlib.MAX_WBITS)
            except zlib.error as error:
                raise ValueError(f"the zip member cannot be inflated ({error})") from error
        if zlib.crc32(content) != self.crc:
            raise ValueError("the zip member is damaged: its checksum is wrong")
        return content


StoredFile = Piece | ZipMember
"""`read` gives the content, from the opened container, or raises ValueError where it is damaged;
`name` is what the file is called in the container."""
