"""An archive is the same bytes whenever and wherever it is written."""

import tarfile
import zipfile

import pytest

from w2v2_mt.synthetic.corpus import write_tar_gz, write_zip

MEMBERS = [("b/two.txt", b"2" * 1000), ("a/one.txt", b"1"), ("empty", b"")]


@pytest.mark.parametrize("write", [write_tar_gz, write_zip])
def test_two_archives_of_the_same_members_are_equal(write, tmp_path, monkeypatch):
    write(tmp_path / "early", MEMBERS)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write(tmp_path / "late", MEMBERS)
    assert (tmp_path / "early").read_bytes() == (tmp_path / "late").read_bytes()


def test_a_tar_gz_gives_back_its_members_in_order(tmp_path):
    write_tar_gz(tmp_path / "x.tar.gz", MEMBERS)
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        read = [(member.name, archive.extractfile(member).read()) for member in archive]
    assert read == MEMBERS


def test_a_zip_gives_back_its_members_in_order(tmp_path):
    write_zip(tmp_path / "x.zip", MEMBERS)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None
        assert [(name, archive.read(name)) for name in archive.namelist()] == MEMBERS
