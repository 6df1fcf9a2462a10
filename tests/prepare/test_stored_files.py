import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from w2v2_mt.prepare.archives import Piece, ZipMember, zip_members

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def member(tmp_path: Path) -> ZipMember:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.wav", b"first")
        archive.writestr("second.wav", CONTENT)
    return list(zip_members(tmp_path / "x.zip", suffixes=(".wav",)))[1]


def read(stored: Piece | ZipMember) -> bytes:
    with open(stored.container, "rb") as stream:
        return stored.read(stream)


def test_a_piece_is_the_bytes_from_its_offset(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    assert read(Piece(tmp_path / "x", "name", 10, 20)) == CONTENT[10:30]
    with pytest.raises(ValueError, match="ends within name"):
        read(Piece(tmp_path / "x", "name", len(CONTENT) - 5, 6))


def test_a_member_is_read_by_its_offset(member: ZipMember) -> None:
    assert read(member) == CONTENT


def test_a_corrupt_member_is_reported(member: ZipMember) -> None:
    with pytest.raises(ValueError, match="checksum is wrong"):
        read(replace(member, crc=member.crc ^ 1))
    with pytest.raises(ValueError, match="no member where its directory says"):
        read(replace(member, offset=member.offset + 1))
    with pytest.raises(ValueError, match="no member where its directory says"):
        read(replace(member, offset=member.container.stat().st_size - 3))
    with pytest.raises(ValueError, match="cannot be inflated"):
        read(replace(member, num_compressed_bytes=member.num_compressed_bytes - 5))
