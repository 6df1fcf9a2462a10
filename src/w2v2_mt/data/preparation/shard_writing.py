"""Write the shards of one set: shuffled by a seed, in one pass, with bounded memory.

An utterance's place is decided by a hash of the seed and its key, so the shards depend neither on
the order in which utterances arrive nor on their number being known. Utterances are first scattered
over spool files by the upper bits of that hash; then spool after spool is sorted and cut into
shards.
"""

import hashlib
import io
import json
import math
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from w2v2_mt.core.units import SAMPLE_RATE_HZ, seconds_from_samples

NUM_SPOOLS = 128
HASH_BITS = 64
MIN_NUM_SHARDS = 8
"""As many readers can share even a small set."""

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What goes into a shard; `labels` are the facts beside key, length and sampling rate.

    `num_frames` is the number of samples of the wav file, by the name that it has in the shards.
    """

    key: str
    speaker_id: str
    num_frames: int
    wav: bytes
    labels: Mapping[str, str | int | None]


@dataclass(frozen=True, kw_only=True)
class ShardSetSummary:
    """What `meta.json` says of every set."""

    name: str
    num_utterances: int
    num_frames: int
    hours: float
    num_speakers: int
    num_shards: int
    samples_per_shard: int
    seed: int
    sampling_rate: int
    keys_sha256: str


@dataclass(frozen=True, kw_only=True)
class _SpooledUtterance:
    place: int
    facts: dict[str, str | int | None]
    offset: int
    num_bytes: int


class ShuffledShards:
    """The shards of one set, under `folder`: add every utterance, then finish.

    `shard_name` is a pattern such as "val_shard_%06d.tar".
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        shard_name: str,
        samples_per_shard: int,
        seed: int,
    ) -> None:
        if samples_per_shard < 1:
            raise ValueError(f"samples_per_shard is {samples_per_shard}; it must be at least 1.")
        self.name = name
        self.folder = folder
        self.shard_name = shard_name
        self.samples_per_shard = samples_per_shard
        self.seed = seed
        self._spool_folder = folder / "spool"
        self._spool_folder.mkdir(parents=True)
        self._keys: set[str] = set()
        self._speakers: set[str] = set()
        self._num_frames = 0

    def add(self, utterance: Utterance) -> None:
        """Put an utterance into its spool. Raises ValueError for a key that was there before."""
        if utterance.key in self._keys:
            raise ValueError(
                f"{self.name} holds the utterance {utterance.key} twice; keys must be unique, so "
                "remove one of the two from the archives."
            )
        self._keys.add(utterance.key)
        self._speakers.add(utterance.speaker_id)
        self._num_frames += utterance.num_frames
        place = self._place(utterance.key)
        facts = {
            "key": utterance.key,
            **utterance.labels,
            "num_frames": utterance.num_frames,
            "sampling_rate": SAMPLE_RATE_HZ,
        }
        header = {"place": place, "facts": facts, "num_bytes": len(utterance.wav)}
        spool = self._spool_folder / f"{place * NUM_SPOOLS >> HASH_BITS:06d}"
        with open(spool, "ab") as file:
            file.write(json.dumps(header).encode() + b"\n")
            file.write(utterance.wav)

    def finish(self) -> ShardSetSummary:
        """Cut the spools into shards of nearly equal numbers of utterances, and remove them."""
        if not self._keys:
            raise ValueError(f"{self.name} holds no utterance; at least one is needed.")
        sizes = shard_sizes(len(self._keys), samples_per_shard=self.samples_per_shard)
        shuffled = self._shuffled()
        for index, size in enumerate(sizes):
            shard = self.folder / (self.shard_name % index)
            unfinished = shard.with_name(shard.name + ".part")
            with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
                for _ in range(size):
                    facts, wav = next(shuffled)
                    key = str(facts["key"])
                    _add_file(tar, f"{key}.wav", wav)
                    _add_file(tar, f"{key}.json", json.dumps(facts).encode())
            os.replace(unfinished, shard)
        assert next(shuffled, None) is None
        self._spool_folder.rmdir()
        return ShardSetSummary(
            name=self.name,
            num_utterances=len(self._keys),
            num_frames=self._num_frames,
            hours=round(seconds_from_samples(self._num_frames) / SECONDS_PER_HOUR, 4),
            num_speakers=len(self._speakers),
            num_shards=len(sizes),
            samples_per_shard=self.samples_per_shard,
            seed=self.seed,
            sampling_rate=SAMPLE_RATE_HZ,
            keys_sha256=hashlib.sha256("\n".join(sorted(self._keys)).encode()).hexdigest(),
        )

    def _place(self, key: str) -> int:
        digest = hashlib.sha256(f"{self.seed} {key}".encode()).digest()
        return int.from_bytes(digest[: HASH_BITS // 8], "big")

    def _shuffled(self) -> Iterator[tuple[dict[str, str | int | None], bytes]]:
        for spool in sorted(self._spool_folder.iterdir()):
            with open(spool, "rb") as file:
                for utterance in sorted(_spooled(spool), key=lambda utterance: utterance.place):
                    file.seek(utterance.offset)
                    yield utterance.facts, file.read(utterance.num_bytes)
            spool.unlink()


def shard_sizes(num_utterances: int, *, samples_per_shard: int) -> list[int]:
    """How many utterances each shard holds: no shard more than one more than another."""
    num_shards = max(
        math.ceil(num_utterances / samples_per_shard),
        min(MIN_NUM_SHARDS, num_utterances),
    )
    smaller_size, num_larger = divmod(num_utterances, num_shards)
    return [smaller_size + (index < num_larger) for index in range(num_shards)]


def write_meta(
    folder: Path, summary: ShardSetSummary, *, further_facts: Mapping[str, object]
) -> None:
    """Write the `meta.json` of a set."""
    facts = {**asdict(summary), **further_facts}
    (folder / "meta.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _spooled(spool: Path) -> Iterator[_SpooledUtterance]:
    with open(spool, "rb") as file:
        while line := file.readline():
            header = json.loads(line)
            yield _SpooledUtterance(
                place=header["place"],
                facts=header["facts"],
                offset=file.tell(),
                num_bytes=header["num_bytes"],
            )
            file.seek(header["num_bytes"], os.SEEK_CUR)


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, group and time stay zero: same seed, same bytes
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
