"""Archives whose bytes follow from their members alone: no time, owner or own name inside."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

Member = tuple[str, bytes]
"""The name of a file in an archive, and its content."""

_COMPRESSION_LEVEL = 1  # audio hardly shrinks, whatever the effort
_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o644


def write_tar_gz(path: Path, members: Iterable[Member]) -> None:
    """Write the members in their order."""
    with (
        open(path, "wb") as file,
        gzip.GzipFile(
            filename="", mode="wb", compresslevel=_COMPRESSION_LEVEL, fileobj=file, mtime=0
        ) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in members:
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            facts.mode = _FILE_MODE
            archive.addfile(facts, io.BytesIO(content))


def write_zip(path: Path, members: Iterable[Member]) -> None:
    """Write the members in their order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            facts = zipfile.ZipInfo(name, date_time=_EARLIEST_ZIP_TIME)
            facts.create_system = 3  # Unix, wherever this runs
            facts.external_attr = _FILE_MODE << 16
            archive.writestr(
                facts,
                content,
                compress_type=zipfile.ZIP_DEFLATED,
                compresslevel=_COMPRESSION_LEVEL,
            )
