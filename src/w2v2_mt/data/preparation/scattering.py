"""The files of a `.tar.gz`, scattered over buckets, where each can be read without the others.

A compressed tar can only be read from its beginning. So its audio is copied once, as it is, into
buckets by the place that each utterance will have among the shards; a bucket is removed when its
last shard is written. Together they take no more than the shards that they become, but for the
audio of those shards that are being written.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from w2v2_mt.data.preparation.archives import tar_gz_members
from w2v2_mt.data.preparation.shard_sets import PLACE_BYTES
from w2v2_mt.data.preparation.stored_files import Piece
from w2v2_mt.data.preparation.workspace import write_atomically

NUM_BUCKETS = 128
INDEX_FILE = "index.jsonl"
JOURNAL_FILE = "journal.json"
JOURNAL_BYTES = 64 << 20
"""After so many bytes it is written down how far the archive has been read."""


@dataclass(frozen=True)
class ScatteredFile:
    """A file of the archive: a text with its content, or audio with the bucket that it lies in."""

    name: str
    text: bytes | None
    audio: Piece | None


class Buckets:
    """The scattered files of one archive, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(
        self,
        archive: Path,
        *,
        audio_suffix: str,
        text_suffix: str,
        place_of: Callable[[str], int],
        on_position: Callable[[int], object],
        is_enough: Callable[[str], bool],
    ) -> None:
        """Scatter the archive, from where an earlier call was stopped.

        `is_enough` is asked with the name of each file; the first True ends the reading. Raises
        ValueError for an archive that is damaged or unsafe.
        """
        journal = self._journal()
        if journal["is_complete"]:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes: dict[str, int] = journal["sizes"]
        num_members: int = journal["num_members"]
        for path in self.folder.iterdir():
            if path.name != JOURNAL_FILE:
                with open(path, "ab") as file:
                    file.truncate(sizes.get(path.name, 0))
        was_enough = False
        for scattered in self.files():  # all of them, since the question may count
            was_enough |= is_enough(scattered.name)
        num_bytes = 0
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context(open(self.folder / name, "ab"))
                for name in (INDEX_FILE, *map(_bucket_name, range(NUM_BUCKETS)))
            }

            def write_journal(*, is_complete: bool) -> None:
                for stream in streams.values():
                    stream.flush()
                facts = {
                    "is_complete": is_complete,
                    "num_members": num_members,
                    "sizes": {name: stream.tell() for name, stream in streams.items()},
                }
                write_atomically(self.folder / JOURNAL_FILE, json.dumps(facts))

            members = tar_gz_members(
                archive,
                suffixes=(audio_suffix, text_suffix),
                num_skipped=num_members,
                on_position=on_position,
            )
            for name, content in () if was_enough else members:
                entry: dict[str, object] = {"name": name}
                if name.lower().endswith(text_suffix):
                    entry["text"] = content.decode("utf-8", errors="replace")
                else:
                    bucket = _bucket_name(place_of(name) * NUM_BUCKETS >> 8 * PLACE_BYTES)
                    entry |= {
                        "bucket": bucket,
                        "offset": streams[bucket].tell(),
                        "num_bytes": len(content),
                    }
                    streams[bucket].write(content)
                streams[INDEX_FILE].write(json.dumps(entry).encode() + b"\n")
                num_members += 1
                num_bytes += len(content)
                if num_bytes >= JOURNAL_BYTES:
                    write_journal(is_complete=False)
                    num_bytes = 0
                if is_enough(name):
                    break
            write_journal(is_complete=True)

    def files(self) -> Iterator[ScatteredFile]:
        """What has been scattered, in the order of the archive."""
        index = self.folder / INDEX_FILE
        if not index.exists():
            return
        with open(index, encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                name = entry["name"]
                if "text" in entry:
                    yield ScatteredFile(name, entry["text"].encode(), None)
                    continue
                container = self.folder / entry["bucket"]
                piece = Piece(container, name, entry["offset"], entry["num_bytes"])
                yield ScatteredFile(name, None, piece)

    def remove_before(self, audio: Piece) -> None:
        """Remove the buckets whose utterances all come before this one."""
        for number in range(NUM_BUCKETS):
            if _bucket_name(number) >= audio.container.name:
                break
            (self.folder / _bucket_name(number)).unlink(missing_ok=True)

    def _journal(self) -> dict:
        path = self.folder / JOURNAL_FILE
        if not path.exists():
            return {"is_complete": False, "num_members": 0, "sizes": {}}
        return json.loads(path.read_text(encoding="utf-8"))


def _bucket_name(number: int) -> str:
    return f"bucket_{number:03d}"
