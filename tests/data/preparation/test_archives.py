import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.data.preparation.archive_files import tar_bytes, write_tar_gz, write_zip
from w2v2_mt.data.preparation.archives import tar_gz_members, zip_contents, zip_member_names

MEMBERS = [(f"a/{number}.flac", os.urandom(3000)) for number in range(9)]


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    return list(tar_gz_members(path, suffixes=(".flac",), on_position=lambda _: None))


def test_members_of_a_tar_come_in_stored_order_without_other_files(tmp_path: Path) -> None:
    archive = write_tar_gz(tmp_path / "x.tar.gz", [("a/readme.txt", b"no"), *MEMBERS[::-1]])
    assert read_tar(archive) == MEMBERS[::-1]


def test_the_position_reaches_the_size_of_the_archive(tmp_path: Path) -> None:
    archive = write_tar_gz(tmp_path / "x.tar.gz", MEMBERS)
    positions: list[int] = []
    list(tar_gz_members(archive, suffixes=(".flac",), on_position=positions.append))
    assert positions == sorted(positions)
    assert positions[-1] == archive.stat().st_size


@pytest.mark.parametrize("share_kept", [0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_tar_is_refused(tmp_path: Path, share_kept: float) -> None:
    archive = write_tar_gz(tmp_path / "x.tar.gz", MEMBERS)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share_kept * len(content))])
    with pytest.raises(ValueError, match=r"x\.tar\.gz is damaged or incomplete .* download it"):
        read_tar(archive)


def test_a_tar_without_its_checksum_is_refused(tmp_path: Path) -> None:
    archive = write_tar_gz(tmp_path / "x.tar.gz", MEMBERS)
    archive.write_bytes(archive.read_bytes()[:-8])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        read_tar(archive)


def test_a_broken_header_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    content = bytearray(tar_bytes(MEMBERS))
    fifth_header = 4 * (tarfile.BLOCKSIZE + 3072)
    content[fifth_header + 148 : fifth_header + 156] = b"99999999"  # the header's checksum
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ValueError, match="header of a member"):
        read_tar(archive)


@pytest.mark.parametrize("name", ["/etc/x.flac", "a/../../x.flac", "a\\x.flac", "C:/x.flac"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    tar = write_tar_gz(tmp_path / "x.tar.gz", [(name, b"")])
    with pytest.raises(ValueError, match="unsafe member"):
        read_tar(tar)
    packed = write_zip(tmp_path / "x.zip", [(name, b"")])
    with pytest.raises(ValueError, match="unsafe member"):
        zip_member_names(packed, suffixes=(".flac",))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("a/link.flac")
        member.type, member.linkname = kind, "elsewhere"
        tar.addfile(member)
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(gzip.compress(buffer.getvalue()))
    with pytest.raises(ValueError, match=r"unsafe member 'a/link\.flac'"):
        read_tar(archive)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/link.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match=r"unsafe member 'a/link\.wav'"):
        zip_member_names(tmp_path / "x.zip", suffixes=(".wav",))


def test_members_of_a_zip_come_in_stored_order(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", [("a/", b""), *MEMBERS[::-1], ("a/readme.txt", b"")])
    names = zip_member_names(archive, suffixes=(".flac",))
    assert list(zip_contents(archive, names=names)) == MEMBERS[::-1]


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", MEMBERS)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"x\.zip is damaged or incomplete .* download it"):
        zip_member_names(archive, suffixes=(".flac",))


def test_a_zip_member_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", MEMBERS)
    content = bytearray(archive.read_bytes())
    content[content.index(MEMBERS[4][1]) + 7] ^= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"damaged or incomplete .*a/4\.flac"):
        list(zip_contents(archive, names=[name for name, _ in MEMBERS]))
