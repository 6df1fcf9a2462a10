"""Archives and their members: listed without unpacking, and read in place."""

import errno
import gzip
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from w2v2_mt.audio.file_names import is_hidden
from w2v2_mt.core.errors import ARCHIVE_ERRORS, name_in_errors
from w2v2_mt.core.limits import MAX_AUDIO_BYTES, size_in_mib
from w2v2_mt.core.tar_headers import BoundedTarInfo
from w2v2_mt.prepare.audio import decode
from w2v2_mt.prepare.audio_sources import AudioSource, DecodedAudio, OpenFiles

ZIP_HEADER = struct.Struct("<4s22xHH")
"""Local header of a zip member: its mark, and the lengths of its name and its extra field."""


CORRUPTION = (
    *(*ARCHIVE_ERRORS, gzip.BadGzipFile, struct.error),
    *(ValueError, LookupError, OverflowError, RecursionError),  # junk for a number or a name
)
"""Errors of the standard library for archives that are corrupt or truncated."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The reason why a member is not read, while the others of its archive are."""

    reason: str


class StoredFile(AudioSource):
    """A file within a container, such as an archive; `name` is what it is called there."""

    __slots__ = ()
    container: Path
    name: str

    @abstractmethod
    def read(self, stream: BinaryIO) -> bytes:
        """Return the content, from the opened container; raise ValueError if it is corrupt."""

    def decode(self, files: OpenFiles, *, source: str) -> DecodedAudio:
        """Return the audio of the file; raise ValueError if it cannot be used."""
        with name_in_errors(self.container):
            content = self.read(files.open(self.container))
        return DecodedAudio(*decode(content, source=source), len(content))


@dataclass(frozen=True, slots=True)
class Piece(StoredFile):
    """A stretch of bytes of a file."""

    container: Path
    name: str
    offset: int
    num_bytes: int

    def read(self, stream: BinaryIO) -> bytes:
        """Return the content of the member from the opened container."""
        stream.seek(self.offset)
        content = stream.read(self.num_bytes)
        if len(content) != self.num_bytes:
            raise ValueError(f"{self.container} ends within {self.name}")
        return content


@dataclass(frozen=True, slots=True)
class ZipMember(StoredFile):
    """A member of a zip archive, stored as it is or deflated; `offset` is that of its header.

    Reading by offset spares each process the directory of the archive, which takes gigabytes for
    a million members. Source: APPNOTE.TXT 6.3.10, section 4.3.7.
    """

    container: Path
    name: str
    offset: int
    num_compressed_bytes: int
    num_bytes: int
    is_deflated: bool
    crc: int

    def read(self, stream: BinaryIO) -> bytes:
        """Return the content of the member from the opened container."""
        if (refused := _check_size(max(self.num_bytes, self.num_compressed_bytes))) is not None:
            raise ValueError(refused.reason)
        stream.seek(self.offset)
        header = stream.read(ZIP_HEADER.size)
        if len(header) < ZIP_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise ValueError("the zip archive has no member where its directory says")
        _, name_length, extra_length = ZIP_HEADER.unpack(header)
        stream.seek(self.offset + ZIP_HEADER.size + name_length + extra_length)
        content = stream.read(self.num_compressed_bytes)
        if self.is_deflated:
            try:
                inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
                content = inflater.decompress(content, self.num_bytes + 1)
                if not inflater.eof:
                    raise zlib.error("it does not end after the bytes of its directory entry")
            except zlib.error as error:
                raise ValueError(f"the zip member cannot be inflated ({error})") from error
        if zlib.crc32(content) != self.crc:
            raise ValueError("the zip member is corrupt: its checksum is wrong")
        return content


def archive_metadata(archives: Sequence[Path]) -> list[dict[str, object]]:
    """Return what distinguishes each archive from another one of the same name."""
    return [
        {"name": path.name, "num_bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        for path in archives
    ]


def no_audio_error(archive: Path, suffixes: Collection[str]) -> ValueError:
    """Return the error for an archive without any file that ends in one of the suffixes."""
    return ValueError(
        f"{archive} holds no audio file, by the suffixes {', '.join(sorted(suffixes))}. Get the "
        "official archive."
    )


def tar_gz_members(
    archive: Path,
    *,
    suffixes: tuple[str, ...],
    on_position: Callable[[int], object],
    on_passed_over: Callable[[str], object] = lambda name: None,
) -> Iterator[tuple[str, bytes | Refused]]:
    """Yield (name, content) of the files that end in `suffixes`; one pass, nothing is unpacked.

    The case of a suffix does not matter. A tar that is not compressed is read too. `on_position`
    receives how many bytes of the archive have been read, `on_passed_over` the name of each hidden
    file and of each one with another suffix. A sparse or too large file is `Refused`. Raises
    ValueError for an unsafe member and for an archive that is corrupt or truncated.
    """
    with name_in_errors(archive), ExitStack() as stack:
        compressed = stack.enter_context(open(archive, "rb"))
        stream: BufferedReader | gzip.GzipFile = compressed
        if compressed.peek(tarfile.BLOCKSIZE)[257:262] != b"ustar":
            stream = stack.enter_context(gzip.GzipFile(fileobj=compressed))
        with _report_corruption(archive):
            tar = tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedTarInfo)  # noqa: SIM115
        while True:
            with _report_corruption(archive):
                member = tar.next()
            if member is None:
                break
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would remember every member
            _check_safe(archive, member.name, is_plain=member.isfile() or member.isdir())
            if not member.isfile():
                continue
            if not _is_wanted(member.name, suffixes):
                on_passed_over(member.name)
                continue
            refused = _check_size(member.size)
            if member.issparse():  # a sparse file of a few bytes may unfold to any size
                refused = Refused("it is stored as a sparse file; only plain files are read.")
            if refused is not None:
                yield member.name, refused
                continue
            with _report_corruption(archive):
                file = tar.extractfile(member)
                assert file is not None
                content = file.read()
            yield member.name, content
            on_position(compressed.tell())
        # The checksum is at the very end, after what tarfile reads, and tarfile takes a broken
        # header for the end of the archive, after which there are only zeros.
        with _report_corruption(archive):
            assert tar.fileobj is not None
            while rest := tar.fileobj.read(1 << 20):
                if rest.count(0) < len(rest):
                    raise tarfile.ReadError("the header of a member cannot be read")
        on_position(compressed.tell())


def zip_members(
    archive: Path,
    *,
    suffixes: tuple[str, ...],
    on_passed_over: Callable[[str], object] = lambda name: None,
) -> Iterator[ZipMember]:
    """Yield the files that end in `suffixes`, in the order in which they are stored.

    The case of a suffix does not matter. `on_passed_over` receives the name of each hidden file and
    of each one with another suffix. Raises ValueError for an unsafe member and for an archive
    that is corrupt or truncated.
    """
    with _report_corruption(archive), zipfile.ZipFile(archive) as opened:
        members = sorted(opened.infolist(), key=lambda each: each.header_offset, reverse=True)
    del opened
    if members and members[-1].header_offset < 0:
        raise _corrupt(archive, "its beginning is missing")
    while members:
        member = members.pop()  # so that what is read of a million members is not held twice
        # The upper half of the attributes is the Unix file mode. zipfile truncates a name at a null
        # byte, so the name as stored must be safe.
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        _check_safe(archive, member.orig_filename, is_plain=not is_link)
        if member.flag_bits & 1:
            raise ValueError(
                f"{archive} holds the encrypted member {member.filename!r}; only plain zip "
                "archives can be read, so pack it again without a password."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"{archive} holds {member.filename!r}, compressed by method "
                f"{member.compress_type}; only stored and deflated members can be read, so use "
                "the official archive."
            )
        if member.is_dir():
            continue
        if not _is_wanted(member.filename, suffixes):
            on_passed_over(member.filename)
        else:
            yield ZipMember(
                container=archive,
                name=member.filename,
                offset=member.header_offset,
                num_compressed_bytes=member.compress_size,
                num_bytes=member.file_size,
                is_deflated=member.compress_type == zipfile.ZIP_DEFLATED,
                crc=member.CRC,
            )


@contextmanager
def _report_corruption(archive: Path) -> Iterator[None]:
    try:
        yield
    except CORRUPTION as error:
        raise _corrupt(archive, str(error)) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # zipfile seeks to before the beginning of what was joined from too few parts.
        raise _corrupt(archive, "its beginning is missing") from error
    except NotImplementedError as error:
        raise ValueError(
            f"{archive} cannot be read ({error}); only stored and deflated members of plain zip "
            "archives can be, so use the official archive."
        ) from error


def _corrupt(archive: Path, reason: str) -> ValueError:
    parts = ""
    if archive.suffix == ".zip":
        parts = " If it was joined from parts, one may be missing: join all of them, in order."
    return ValueError(f"{archive} is corrupt or truncated ({reason}); download it again.{parts}")


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not is_hidden(PurePosixPath(name))


def _check_size(num_bytes: int) -> Refused | None:
    if 0 <= num_bytes <= MAX_AUDIO_BYTES:
        return None
    return Refused(
        f"it has {num_bytes} bytes; files of up to {size_in_mib(MAX_AUDIO_BYTES)} are read."
    )


def _check_safe(archive: Path, name: str, *, is_plain: bool) -> None:
    is_absolute = name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None
    parts = PurePosixPath(name).parts
    if is_absolute or "\\" in name or "\0" in name or ".." in parts or not is_plain:
        raise ValueError(
            f"{archive} holds the unsafe member {name!r}; only files and folders with relative "
            "paths and without '..' are read, so use the official archive."
        )
