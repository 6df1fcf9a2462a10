"""Headers of tar files, read in bounded memory whatever sizes they state."""

import tarfile
from typing import Any

MAX_HEADER_BYTES = 1 << 20
"""The most that the headers of a member may have: long names, attributes, map of a sparse file."""


class _HeaderStream:
    """A stream of an archive, of which not more is read than the headers of one member."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.num_left = MAX_HEADER_BYTES

    def read(self, num_bytes: int) -> bytes:
        if not 0 <= num_bytes <= self.num_left:
            raise tarfile.ReadError(
                f"a header of {num_bytes} bytes, where {MAX_HEADER_BYTES} are the most that is read"
            )
        self.num_left -= num_bytes
        return self.stream.read(num_bytes)

    def tell(self) -> int:
        return self.stream.tell()


class BoundedTarInfo(tarfile.TarInfo):
    """A member whose headers take little memory; pass the class to `tarfile.open`.

    `issparse` is right, but the content of a sparse file must not be read: the map of GNU tar,
    whose blocks may be any number, is skipped.
    """

    is_map_next = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "BoundedTarInfo":
        """Read a member from the 512 bytes of its header. Source: GNU tar manual, 'oldgnu'."""
        member = super().frombuf(buf, encoding, errors)
        if member.type == tarfile.GNUTYPE_SPARSE:
            member.type, member.is_map_next = tarfile.REGTYPE, buf[482] != 0
            member.sparse = []  # type: ignore[assignment]
        return member

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "BoundedTarInfo":
        """Read the next member of an archive, with the headers that belong to it."""
        stream: Any = archive.fileobj
        if isinstance(stream, _HeaderStream):  # A header with a long name comes before this one.
            return super().fromtarfile(archive)
        try:
            archive.fileobj = _HeaderStream(stream)  # type: ignore[assignment]
            member = super().fromtarfile(archive)
        finally:
            archive.fileobj = stream
        start = stream.tell()
        while member.is_map_next:
            block = stream.read(tarfile.BLOCKSIZE)
            member.is_map_next = len(block) == tarfile.BLOCKSIZE and block[504] != 0
        member.offset_data += stream.tell() - start
        archive.offset += stream.tell() - start
        return member
