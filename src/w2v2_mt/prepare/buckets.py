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
from pathlib import Path

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES
from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.prepare.archives import Piece, Refused, tar_gz_members
from w2v2_mt.prepare.shard_sets import PLACE_BYTES

TRANSCRIPT_SUFFIX = ".trans.txt"
NUM_BUCKETS = 128
BUCKETS = tuple(f"bucket_{number:03d}" for number in range(NUM_BUCKETS))


@dataclass(frozen=True)
class Buckets:
    """A folder of buckets with the audio and the texts of one archive."""

    folder: Path

    def fill(
        self,
        archive: Path,
        *,
        place_of: Callable[[str], int],
        on_position: Callable[[int], object],
        limit: int | None,
        text_suffixes: tuple[str, ...] = (TRANSCRIPT_SUFFIX,),
    ) -> None:
        """Copy the files of an archive into the buckets, unless an earlier call has done so.

        A call that was stopped is repeated, since the archive must be read from its beginning. The
        reading ends before the first folder that is not needed for `limit` audio files. Files that
        end in `text_suffixes` are kept as text. Raises ValueError for an archive that is corrupt or
        unsafe.
        """
        if self._index_path.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        files: list[dict[str, object]] = []
        passed_over: list[str] = []
        last_folder, num_audio = "", 0
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context(open(self.folder / name, "wb")) for name in BUCKETS
            }
            members = tar_gz_members(
                archive,
                suffixes=(*AUDIO_SUFFIXES, *text_suffixes),
                on_position=on_position,
                on_passed_over=passed_over.append,
            )
            for name, content in members:
                folder = name.rpartition("/")[0]
                if limit is not None and num_audio >= limit and folder != last_folder:
                    break
                last_folder = folder
                if isinstance(content, Refused):
                    files.append({"name": name, "refused": content.reason})
                elif name.lower().endswith(text_suffixes):
                    files.append({"name": name, "text": content.decode("utf-8", errors="replace")})
                else:
                    bucket = BUCKETS[_bucket_number(place_of(name))]
                    stream = streams[bucket]
                    piece = {"bucket": bucket, "offset": stream.tell(), "num_bytes": len(content)}
                    files.append({"name": name, **piece})
                    stream.write(content)
                    num_audio += 1
        replace_text(self._index_path, json.dumps({"files": files, "passed_over": passed_over}))

    @property
    def _index_path(self) -> Path:
        return self.folder / "index.json"

    def files(self) -> Iterator[tuple[str, bytes | Piece | Refused]]:
        """Yield the copied files in the order of the archive: the name, and the content."""
        for entry in json.loads(self._index_path.read_text(encoding="utf-8"))["files"]:
            name = entry["name"]
            if "refused" in entry:
                yield name, Refused(entry["refused"])
            elif "text" in entry:
                yield name, entry["text"].encode()
            else:
                container = self.folder / entry["bucket"]
                yield name, Piece(container, name, entry["offset"], entry["num_bytes"])

    def passed_over(self) -> list[str]:
        """Return the names of the files that do not count as audio or transcripts."""
        return json.loads(self._index_path.read_text(encoding="utf-8"))["passed_over"]

    def remove_before(self, place: int) -> None:
        """Remove the buckets whose utterances all come before this place."""
        for bucket in BUCKETS[: _bucket_number(place)]:
            (self.folder / bucket).unlink(missing_ok=True)


def _bucket_number(place: int) -> int:
    return place * NUM_BUCKETS >> 8 * PLACE_BYTES
