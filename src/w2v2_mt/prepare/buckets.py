"""Buckets: the audio of a `.tar.gz` copied to files where each utterance can be read by itself.

A compressed tar can only be read from its beginning. So its audio is copied once, as it is, into
buckets by the place that each utterance will have among the shards; a bucket is removed when its
last shard is written. Together they take no more than the shards that they become, but for the
audio of those shards that are being written.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES
from w2v2_mt.prepare.archives import Piece, Refused, StoredFile, tar_gz_members
from w2v2_mt.prepare.shard_sets import PLACE_BYTES
from w2v2_mt.prepare.work_folder import write_atomically

TRANSCRIPT_SUFFIX = ".trans.txt"
NUM_BUCKETS = 128
BUCKETS = tuple(f"bucket_{number:03d}" for number in range(NUM_BUCKETS))
INDEX_FILE = "index.jsonl"
JOURNAL_FILE = "journal.json"
JOURNAL_BYTES = 64 << 20
"""The journal of how far the archive has been read is written after this many bytes."""


@dataclass(frozen=True)
class Buckets:
    """A folder of buckets with the audio and the transcripts of one archive."""

    folder: Path

    def fill(
        self,
        archive: Path,
        *,
        place_of: Callable[[str], int],
        on_position: Callable[[int], object],
        limit: int | None,
    ) -> None:
        """Copy the files of an archive into the buckets, from where an earlier call was stopped.

        The reading ends before the first folder that is not needed for `limit` audio files. Raises
        ValueError for an archive that is corrupt or unsafe.
        """
        journal_path = self.folder / JOURNAL_FILE
        journal: dict[str, Any] = {"is_complete": False, "sizes": {}}
        if journal_path.exists():
            journal = json.loads(journal_path.read_text(encoding="utf-8"))
        if journal["is_complete"]:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path != journal_path:
                with open(path, "ab") as file:
                    file.truncate(journal["sizes"].get(path.name, 0))
        copied = list(self.files())
        last_folder = copied[-1][0].rpartition("/")[0] if copied else ""
        num_audio = sum(isinstance(content, Piece) for _, content in copied)
        num_bytes = 0
        passed_over: list[str] = []
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context(open(self.folder / name, "ab"))
                for name in (INDEX_FILE, *BUCKETS)
            }

            def write_journal(*, is_complete: bool) -> None:
                for stream in streams.values():
                    stream.flush()
                sizes = {name: stream.tell() for name, stream in streams.items()}
                journal = {
                    "is_complete": is_complete,
                    "sizes": sizes,
                    "num_passed_over": len(passed_over),
                    "passed_over": passed_over[:1],
                }
                write_atomically(journal_path, json.dumps(journal))

            members = tar_gz_members(
                archive,
                suffixes=(*AUDIO_SUFFIXES, TRANSCRIPT_SUFFIX),
                on_position=on_position,
                on_passed_over=passed_over.append,
            )
            for name, content in islice(members, len(copied), None):
                folder = name.rpartition("/")[0]
                if limit is not None and num_audio >= limit and folder != last_folder:
                    break
                last_folder = folder
                entry: dict[str, object] = {"name": name}
                if isinstance(content, Refused):
                    entry["refused"] = content.reason
                elif name.lower().endswith(TRANSCRIPT_SUFFIX):
                    entry["text"] = content.decode("utf-8", errors="replace")
                else:
                    bucket = BUCKETS[place_of(name) * NUM_BUCKETS >> 8 * PLACE_BYTES]
                    offset = streams[bucket].tell()
                    entry |= {"bucket": bucket, "offset": offset, "num_bytes": len(content)}
                    streams[bucket].write(content)
                    num_audio += 1
                    num_bytes += len(content)
                streams[INDEX_FILE].write(json.dumps(entry).encode() + b"\n")
                if num_bytes >= JOURNAL_BYTES:
                    write_journal(is_complete=False)
                    num_bytes = 0
            write_journal(is_complete=True)

    def files(self) -> Iterator[tuple[str, bytes | Piece | Refused]]:
        """Yield the copied files in the order of the archive: the name, and the content."""
        index = self.folder / INDEX_FILE
        if not index.exists():
            return
        with open(index, encoding="utf-8") as lines:
            for entry in map(json.loads, lines):
                name = entry["name"]
                if "refused" in entry:
                    yield name, Refused(entry["refused"])
                elif "text" in entry:
                    yield name, entry["text"].encode()
                else:
                    container = self.folder / entry["bucket"]
                    yield name, Piece(container, name, entry["offset"], entry["num_bytes"])

    def passed_over(self) -> tuple[int, str]:
        """Return the number of files that do not count by their names, and the first of them."""
        journal = json.loads((self.folder / JOURNAL_FILE).read_text(encoding="utf-8"))
        return journal["num_passed_over"], "".join(journal["passed_over"])

    def remove_before(self, audio: StoredFile) -> None:
        """Remove the buckets whose utterances all come before this one."""
        for bucket in BUCKETS:
            if bucket < audio.container.name:
                (self.folder / bucket).unlink(missing_ok=True)
