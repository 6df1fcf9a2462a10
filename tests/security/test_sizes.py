"""Files that claim to be huge, or are, take no more memory than a limit in the message."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.helpers.archive_files import noise
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.core import limits
from w2v2_mt.core.tar_headers import MAX_HEADER_BYTES
from w2v2_mt.data.shards import read_shard
from w2v2_mt.data.trials import read_trials
from w2v2_mt.decoding.language_model import NgramModel
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.prepare import archives
from w2v2_mt.prepare.archives import Refused, tar_gz_members, zip_members
from w2v2_mt.prepare.voxceleb_utterances import read_sexes

GOOD = ("a/good.wav", encoded_audio(noise(0)))
TB = 1 << 40


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The test fails if Python allocates more than 32 MiB at once."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


def members_of(archive: Path) -> list[tuple[str, bytes | Refused]]:
    return list(tar_gz_members(archive, suffixes=(".wav",), on_position=int))


def write_tar(path: Path, header: bytes, content: bytes = b"") -> Path:
    """A compressed tar of a member, and of a good one after it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        good = tarfile.TarInfo(GOOD[0])
        good.size = len(GOOD[1])
        tar.addfile(good, io.BytesIO(GOOD[1]))
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    path.write_bytes(gzip.compress(header + content + padding + buffer.getvalue(), 1))
    return path


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["a/sparse.wav", f"a/{'long' * 30}.wav"])
def test_a_sparse_member_is_refused_and_the_next_is_read(tmp_path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.GNUTYPE_SPARSE
    headers = member.tobuf(tarfile.GNU_FORMAT)  # a long name has a header of its own
    header = bytearray(headers[-tarfile.BLOCKSIZE :])
    header[482] = 1  # a block of the map follows
    header[483:495] = b"%011o\0" % TB.bit_length()
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    more = (b"00000000001\0" * 42 + b"\1" + bytes(7)) * 20_000 + bytes(512)
    headers = headers[: -tarfile.BLOCKSIZE] + bytes(header)
    archive = write_tar(tmp_path / "x.tar.gz", headers, more)
    tracemalloc.reset_peak()
    sparse, good = members_of(archive)
    assert sparse == (name, Refused("it is stored as a sparse file; only plain files are read."))
    assert good == GOOD


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("num_pieces", [1000, 4_000_000])
def test_a_map_of_a_sparse_file_in_its_content_is_bounded(tmp_path: Path, num_pieces: int) -> None:
    content = b"%d\n" % num_pieces + b"0\n1\n" * num_pieces
    member = tarfile.TarInfo("a/sparse.wav")
    member.size = len(content)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    archive = write_tar(tmp_path / "x.tar.gz", member.tobuf(tarfile.PAX_FORMAT), content)
    del content
    tracemalloc.reset_peak()
    if num_pieces == 1000:
        (_, refused), good = members_of(archive)
        assert isinstance(refused, Refused)
        assert good == GOOD
    else:
        with pytest.raises(ValueError, match=f"x.tar.gz is corrupt .*{MAX_HEADER_BYTES} are the"):
            members_of(archive)


@pytest.mark.usefixtures("little_memory")
def test_a_member_over_the_limit_is_refused_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_AUDIO_BYTES", 40 << 20)
    member = tarfile.TarInfo("a/large.wav")
    member.size = 48 << 20
    archive = write_tar(tmp_path / "x.tar.gz", b"")
    with gzip.open(tmp_path / "x.tar.gz") as file:
        rest = file.read()
    with gzip.open(archive, "wb", 1) as file:
        file.write(member.tobuf())
        for _ in range(48):
            file.write(bytes(1 << 20))
        file.write(rest)
    (name, refused), good = members_of(archive)
    assert (name, good) == ("a/large.wav", GOOD)
    assert refused == Refused(f"it has {48 << 20} bytes; files of up to 40 MiB are read.")


@pytest.mark.usefixtures("little_memory")
def test_a_header_of_long_names_is_bounded(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        member = tarfile.TarInfo("a/long.wav")
        member.type = kind
        member.size = TB
        archive = write_tar(tmp_path / "x.tar.gz", member.tobuf(tarfile.GNU_FORMAT))
        with pytest.raises(ValueError, match=f"x.tar.gz is corrupt .*{MAX_HEADER_BYTES} are the"):
            members_of(archive)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("claimed", [1000, 4 << 30])
def test_a_zip_bomb_is_refused_and_the_next_is_read(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a/bomb.wav", "w") as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
        archive.writestr(*GOOD)
    size = (64 << 20).to_bytes(4, "little")
    changed = min(claimed, 0xFFFFFFFE).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, changed))
    bomb, good = zip_members(path, suffixes=(".wav",))
    with path.open("rb") as stream:
        with pytest.raises(ValueError, match="inflated" if claimed == 1000 else "up to 512 MiB"):
            bomb.read(stream)
        assert good.read(stream) == GOOD[1]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("open_file", [open, gzip.open])
def test_a_language_model_of_one_long_line_is_refused(
    tmp_path: Path, open_file: Callable[..., IO[bytes]]
) -> None:
    with open_file(tmp_path / "lm.arpa", "wb") as file:
        for _ in range(64):
            file.write(b" " * (1 << 20))
    with pytest.raises(ValueError, match=r"lm.arpa, line 1: a line must not .* 65536 bytes"):
        NgramModel(tmp_path / "lm.arpa")


@pytest.mark.usefixtures("little_memory")
def test_texts_over_the_limit_are_refused_with_it(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(limits.MAX_JSON_BYTES + 1)
    with pytest.raises(ValueError, match="large is larger than 16 MiB"):
        LetterTokenizer(vocabulary_path=str(path))


def test_lists_over_the_limit_are_refused_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(limits.MAX_TEXT_BYTES + 1)
    for read in (lambda: read_trials(path, producer="x"), lambda: read_sexes(path)):
        with pytest.raises(ValueError, match="large is larger than 256 MiB"):
            read()


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("suffix", ["json", "wav"])
def test_a_member_of_a_shard_over_the_limit_is_refused(tmp_path: Path, suffix: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("a/large." + suffix)
        member.size = TB
        tar.addfile(member)
        text = json.dumps({"key": "a"}).encode()
        member = tarfile.TarInfo("b.json")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    with pytest.raises(ValueError, match=rf"a.tar .*large.{suffix} has {TB} bytes.*MiB are read"):
        list(read_shard(tmp_path / "a.tar"))
