from pathlib import Path

import pytest

from tests.helpers.archive_files import write_tar_gz
from w2v2_mt.prepare.archives import Piece
from w2v2_mt.prepare.buckets import NUM_BUCKETS, Buckets

MEMBERS = [
    (f"folder{number // 10}/{number}.trans.txt", f"text {number}".encode())
    if number % 5 == 0
    else (f"folder{number // 10}/{number}.flac", bytes([number]) * number)
    for number in range(1, 100)
]


def place_of(name: str) -> int:
    """From the first to the last bucket, by the number in the name."""
    return (int(Path(name).name.partition(".")[0]) << 64) // 100


def fill(
    buckets: Buckets, archive: Path, *, stops_after: int | None = None, limit: int | None = None
) -> None:
    seen: list[str] = []

    def stop(name: str) -> int:
        if stops_after is not None and len(seen) == stops_after:
            raise KeyboardInterrupt
        seen.append(name)
        return place_of(name)

    buckets.fill(
        archive,
        place_of=stop,
        on_position=lambda position: None,
        limit=limit,
    )


def content_of(buckets: Buckets) -> list[tuple[str, bytes]]:
    contents = []
    for name, content in buckets.files():
        if isinstance(content, Piece):
            with open(content.container, "rb") as stream:
                content = content.read(stream)
        assert isinstance(content, bytes)
        contents.append((name, content))
    return contents


def test_every_file_can_be_read_from_its_bucket(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "buckets")
    fill(buckets, write_tar_gz(tmp_path / "archive.tar.gz", MEMBERS))
    assert content_of(buckets) == MEMBERS
    for name, content in buckets.files():
        if isinstance(content, Piece):
            number = int(content.container.name.removeprefix("bucket_"))
            assert number == place_of(name) * NUM_BUCKETS >> 64


@pytest.mark.parametrize("stops", [(0,), (1, 5, 30), (40, 10, 10, 10)])
def test_a_stopped_run_resumes_and_ends_with_the_same_bytes(
    tmp_path: Path, stops: tuple[int, ...]
) -> None:
    archive = write_tar_gz(tmp_path / "archive.tar.gz", MEMBERS)
    for number in stops:
        with pytest.raises(KeyboardInterrupt):
            fill(Buckets(tmp_path / "stopped"), archive, stops_after=number)
    fill(Buckets(tmp_path / "stopped"), archive)
    fill(Buckets(tmp_path / "undisturbed"), archive)
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "stopped" / path.name).read_bytes() == path.read_bytes()


def test_a_complete_archive_is_not_read_again(tmp_path: Path) -> None:
    archive = write_tar_gz(tmp_path / "archive.tar.gz", MEMBERS)
    fill(Buckets(tmp_path / "buckets"), archive)
    archive.unlink()
    fill(Buckets(tmp_path / "buckets"), archive)
    assert content_of(Buckets(tmp_path / "buckets")) == MEMBERS


def test_reading_ends_when_it_is_enough(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "buckets")
    fill(buckets, write_tar_gz(tmp_path / "archive.tar.gz", MEMBERS), limit=7)
    assert content_of(buckets) == MEMBERS[:9]


def test_only_buckets_that_come_before_are_removed(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "buckets")
    fill(buckets, write_tar_gz(tmp_path / "archive.tar.gz", MEMBERS))
    buckets.remove_before(place_of("folder5/51.flac"))
    left = sorted(path.name for path in (tmp_path / "buckets").glob("bucket_*"))
    assert left == [f"bucket_{number:03d}" for number in range(65, NUM_BUCKETS)]
    audio = dict(buckets.files())["folder5/51.flac"]
    assert isinstance(audio, Piece)
    assert audio.container.name == "bucket_065"
