"""Archives: their members, read in place, in the order in which they lie there."""

import gzip
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from w2v2_mt.data.preparation.stored_files import ZipMember

UNIX_MODE_SHIFT = 16  # the upper half of a zip entry's external attributes is the Unix file mode
ENCRYPTED_FLAG = 0x1
DRAIN_BYTES = 1 << 20


def tar_gz_members(
    archive: Path,
    *,
    suffixes: tuple[str, ...],
    num_skipped: int = 0,
    on_position: Callable[[int], object],
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files that end in `suffixes`; one pass, nothing is unpacked.

    The case of a suffix does not matter. The first `num_skipped` files are passed over.
    `on_position` is told how many bytes of the archive have been read. Raises ValueError for an
    unsafe member and for an archive that is damaged or ends early.
    """
    with open(archive, "rb") as compressed, gzip.GzipFile(fileobj=compressed) as stream:
        try:
            with _opened_tar(archive, stream) as members:
                while (member := _next_member(archive, members)) is not None:
                    # tarfile would remember every member.
                    members.members.clear()  # type: ignore[attr-defined]
                    _check_tar_member(archive, member)
                    if not member.isfile() or not member.name.lower().endswith(suffixes):
                        continue
                    if num_skipped > 0:
                        num_skipped -= 1
                        continue
                    content = members.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
                    on_position(compressed.tell())
                _read_to_the_end(members)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(_damaged(archive, error)) from error
        on_position(compressed.tell())


def zip_members(archive: Path, *, suffixes: tuple[str, ...]) -> Iterator[ZipMember]:
    """Yield the files that end in `suffixes`, in the order in which they are stored.

    The case of a suffix does not matter. Raises ValueError for an unsafe member and for an archive
    that is damaged or ends early.
    """
    with _opened_zip(archive) as members:
        stored = members.infolist()
        members.NameToInfo.clear()
    stored.sort(key=lambda member: member.header_offset, reverse=True)
    while stored:
        member = stored.pop()  # so that what is read of a million members is not held twice
        _check_zip_member(archive, member)
        if member.is_dir() or not member.filename.lower().endswith(suffixes):
            continue
        yield ZipMember(
            container=archive,
            name=member.filename,
            offset=member.header_offset,
            num_compressed_bytes=member.compress_size,
            is_deflated=member.compress_type == zipfile.ZIP_DEFLATED,
            crc=member.CRC,
        )


def _opened_tar(archive: Path, stream: gzip.GzipFile) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r|")  # which reads the first member
    except (ValueError, LookupError, OverflowError) as error:  # as in _next_member
        raise ValueError(_damaged(archive, error)) from error


def _next_member(archive: Path, members: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return members.next()
    except (ValueError, LookupError, OverflowError) as error:  # junk where a number should stand
        raise ValueError(_damaged(archive, error)) from error


def _read_to_the_end(members: tarfile.TarFile) -> None:
    # The checksum stands at the very end, behind what tarfile asks for, and tarfile takes a broken
    # header for the end of the archive, behind which there are only zeros.
    assert members.fileobj is not None
    while rest := members.fileobj.read(DRAIN_BYTES):
        if any(rest):
            raise tarfile.ReadError("the header of a member cannot be read")


def _opened_zip(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except NotImplementedError as error:
        raise ValueError(
            f"{archive} cannot be read ({error}); only stored and deflated members of plain zip "
            "archives can be, so use the official archive."
        ) from error
    # ValueError: names that are not UTF-8 though they say so, places before the beginning.
    except (zipfile.BadZipFile, ValueError, struct.error) as error:
        raise ValueError(_damaged(archive, error)) from error


def _damaged(archive: Path, error: Exception) -> str:
    return f"{archive} is damaged or incomplete ({error}); download it again."


def _check_tar_member(archive: Path, member: tarfile.TarInfo) -> None:
    _check_name(archive, member.name)
    # A sparse file of a few bytes may unfold to any size.
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise ValueError(_unsafe(archive, member.name))


def _check_zip_member(archive: Path, member: zipfile.ZipInfo) -> None:
    # zipfile cuts a name at a null byte, so the name as stored is what has to be safe.
    _check_name(archive, member.orig_filename)
    if stat.S_ISLNK(member.external_attr >> UNIX_MODE_SHIFT):
        raise ValueError(_unsafe(archive, member.filename))
    if member.flag_bits & ENCRYPTED_FLAG:
        raise ValueError(
            f"{archive} holds the encrypted member {member.filename!r}; only plain zip archives "
            "can be read, so pack it again without a password."
        )
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{archive} holds {member.filename!r}, compressed by method {member.compress_type}; "
            "only stored and deflated members can be read, so use the official archive."
        )


def _check_name(archive: Path, name: str) -> None:
    is_absolute = name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None
    if is_absolute or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts:
        raise ValueError(_unsafe(archive, name))


def _unsafe(archive: Path, name: str) -> str:
    return (
        f"{archive} holds the unsafe member {name!r}; only files and folders with relative paths "
        "and without '..' are read, so use the official archive."
    )
