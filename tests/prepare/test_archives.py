import errno
import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.archive_files import tar_bytes, write_tar_gz, write_zip
from w2v2_mt.prepare.archives import Refused, tar_gz_members, zip_members

MEMBERS = [(f"a/{number}.flac", os.urandom(3000)) for number in range(9)]


def read_tar(path: Path) -> list[tuple[str, bytes | Refused]]:
    return list(tar_gz_members(path, suffixes=(".flac",), on_position=lambda _: None))


def read_zip(path: Path, *, suffix: str = ".flac") -> list[tuple[str, bytes]]:
    with open(path, "rb") as stream:
        return [
            (member.name, member.read(stream)) for member in zip_members(path, suffixes=(suffix,))
        ]


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
    with pytest.raises(ValueError, match=r"x\.tar\.gz is corrupt or truncated .* download it"):
        read_tar(archive)


def test_a_tar_without_its_checksum_is_refused(tmp_path: Path) -> None:
    archive = write_tar_gz(tmp_path / "x.tar.gz", MEMBERS)
    archive.write_bytes(archive.read_bytes()[:-8])
    with pytest.raises(ValueError, match="corrupt or truncated"):
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
        read_zip(packed)


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
        read_zip(tmp_path / "x.zip", suffix=".wav")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_of_a_zip_come_in_stored_order(tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", compression) as archive:
        for name, content in [("a/", b""), *MEMBERS[::-1], ("a/readme.txt", b"")]:
            archive.writestr(name, content)
    assert read_zip(tmp_path / "x.zip") == MEMBERS[::-1]


def test_a_zip_in_the_64_bit_format_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in MEMBERS:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert read_zip(tmp_path / "x.zip") == MEMBERS


def test_another_compression_is_refused_by_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a/b.flac", b"")
    with pytest.raises(ValueError, match=r"'a/b\.flac', compressed by method 14; only stored"):
        read_zip(tmp_path / "x.zip")


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", MEMBERS)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"x\.zip is corrupt or truncated .* download it"):
        read_zip(archive)


def test_a_zip_that_needs_a_later_version_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", MEMBERS)
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 99
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.zip cannot be read .*use the official archive"):
        read_zip(archive)


def test_a_zip_with_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", [("a/\u00e9.flac", b"")])
    archive.write_bytes(archive.read_bytes().replace("\u00e9".encode(), b"\xff\xfe"))
    with pytest.raises(ValueError, match=r"x\.zip is corrupt or truncated"):
        read_zip(archive)


@pytest.mark.parametrize("value", ["junk", "0,10"])
def test_sparse_files_in_a_tar_are_not_read(tmp_path: Path, value: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a/sparse.flac")
        member.pax_headers = {"GNU.sparse.map": value, "GNU.sparse.size": "10"}
        tar.addfile(member)
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(gzip.compress(buffer.getvalue()))
    if value == "junk":
        with pytest.raises(ValueError, match="corrupt or truncated"):
            read_tar(archive)
    else:
        reason = "it is stored as a sparse file; only plain files are read."
        assert read_tar(archive) == [("a/sparse.flac", Refused(reason))]


def test_a_tar_that_is_not_compressed_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tar_bytes(MEMBERS))
    assert read_tar(tmp_path / "x.tar.gz") == MEMBERS


def test_hidden_files_and_those_with_other_suffixes_are_passed_over(tmp_path: Path) -> None:
    others = [(f"a/{name}", b"") for name in ("._0.flac", ".x/0.flac", "__MACOSX/0.flac", "x.txt")]
    members = [*others, ("a/0.flac", b"content")]
    packed = write_tar_gz(tmp_path / "x.tar.gz", members)
    for read in (
        lambda names: list(
            tar_gz_members(
                packed, suffixes=(".flac",), on_position=int, on_passed_over=names.append
            )
        ),
        lambda names: list(
            zip_members(
                write_zip(tmp_path / "x.zip", members),
                suffixes=(".flac",),
                on_passed_over=names.append,
            )
        ),
    ):
        passed_over: list[str] = []
        assert len(read(passed_over)) == 1
        assert passed_over == [name for name, _ in others]


def test_a_zip_without_its_first_part_is_named_with_the_remedy(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", MEMBERS)
    archive.write_bytes(archive.read_bytes()[10_000:])
    with pytest.raises(ValueError, match=r"x\.zip is corrupt .* parts, one may be missing"):
        read_zip(archive)


def test_an_error_of_the_system_while_a_zip_is_opened_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "x.zip", MEMBERS)

    def seek_before_the_beginning(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    # As zipfile of some versions of Python, where the directory lies before the beginning.
    monkeypatch.setattr(zipfile, "ZipFile", seek_before_the_beginning)
    with pytest.raises(ValueError, match=r"x\.zip is corrupt .* parts, one may be missing"):
        read_zip(archive)


def test_the_case_of_a_suffix_does_not_matter(tmp_path: Path) -> None:
    members = [("a/1.FLAC", b"content")]
    assert read_tar(write_tar_gz(tmp_path / "x.tar.gz", members)) == members
    assert read_zip(write_zip(tmp_path / "x.zip", members)) == members
