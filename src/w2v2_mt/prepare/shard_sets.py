"""The shards of one set: which utterance goes where, who writes them, and what the set holds."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from rich.progress import Progress

from w2v2_mt.core.units import SAMPLE_RATE_HZ, count, seconds_from_samples
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.rejections import Rejection, RejectionAccount
from w2v2_mt.prepare.options import Options
from w2v2_mt.prepare.shard_writer import ShardReport, ShardTask, Utterance, write_shard
from w2v2_mt.prepare.statistics import UTTERANCES_FILE

PLACE_BYTES = 8
MIN_NUM_SHARDS = 8
"""Number of DataLoader workers that can share even a small set."""

META_FILE = "meta.json"


@dataclass(frozen=True)
class ShardSet:
    """A written set: the reports of its shards in order.

    `left_out` are the files of which no shard was to be made, because of their names or words.
    """

    name: str
    reports: Sequence[ShardReport]
    left_out: Sequence[Rejection]

    @property
    def keys(self) -> list[str]:
        """Return the keys of the utterances in their order."""
        return [key for report in self.reports for key in report.num_frames]

    def metadata(self) -> dict[str, Any]:
        """Return the metadata of the set for `meta.json`."""
        num_frames = sum(sum(report.num_frames.values()) for report in self.reports)
        speakers = set[str]().union(*(report.speakers.values() for report in self.reports))
        return {
            "name": self.name,
            "num_utterances": len(self.keys),
            "num_frames": num_frames,
            "hours": round(seconds_from_samples(num_frames) / 3600, 4),
            "num_speakers": len(speakers),
            "num_shards": len(self.reports),
            "num_rejected": len(self.left_out) + sum(len(each.rejections) for each in self.reports),
            "num_converted": sum(report.num_converted for report in self.reports),
            "sampling_rate": SAMPLE_RATE_HZ,
            "keys_sha256": digest_of_keys(self.keys),
        }


def digest_of_keys(keys: Iterable[str]) -> str:
    """Return the checksum of the keys of a set, whatever their order."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def place(key: str, *, seed: int) -> int:
    """Return the position of an utterance among all others, drawn by hashing its key."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:PLACE_BYTES], "big")


def shard_sizes(num_utterances: int, *, samples_per_shard: int) -> list[int]:
    """Return the number of utterances per shard; two shards differ by at most one."""
    num_shards = max(
        math.ceil(num_utterances / samples_per_shard), min(MIN_NUM_SHARDS, num_utterances)
    )
    smaller_size, num_larger = divmod(num_utterances, num_shards)
    return [smaller_size + (index < num_larger) for index in range(num_shards)]


@dataclass(frozen=True)
class SetWriter:
    """A writer of the sets of a corpus, which shows its progress and keeps account of rejections.

    A run that was stopped resumes from the reports in `work`.
    """

    work: Path
    options: Options
    workers: Workers
    account: RejectionAccount
    bars: Progress

    def write(
        self,
        name: str,
        utterances: Iterable[Utterance],
        *,
        num_utterances: int,
        folder: Path,
        shard_name: str,
        left_out: Sequence[Rejection] = (),
        on_shard: Callable[[int], object] = lambda num_written: None,
        first_index: int = 0,
    ) -> ShardSet:
        """Write the shards of a set, whose utterances come in their final order, to `folder`.

        They are taken when their shard's turn comes. `shard_name` is a pattern with `%06d` for the
        index. `on_shard` receives how many utterances from the beginning are in finished shards.
        Raises ValueError if the set is empty or too many files are rejected, or all of them.
        """
        if num_utterances == 0:
            raise ValueError(f"{name} holds no utterance; at least one is needed.")
        sizes = shard_sizes(num_utterances, samples_per_shard=self.options.samples_per_shard)
        ends = list(accumulate(sizes))
        remaining = iter(utterances)
        shards = [shard_name % index for index in range(first_index, first_index + len(sizes))]
        reports_folder = self.work / "reports"
        reports_folder.mkdir(exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        tasks = (
            ShardTask(
                path=folder / shard,
                report=reports_folder / f"{name}-{shard}.json",
                utterances=list(islice(remaining, size)),
                audio_format=self.options.audio_format,
                is_strict=self.options.strict,
                work=self.work,
            )
            for shard, size in zip(shards, sizes, strict=True)
        )
        bar = self.bars.add_task(f"{name}: write", total=num_utterances, unit="files")
        reports: dict[str, ShardReport] = {}
        num_finished = 0
        for report in self.workers.answers(write_shard, tasks):
            reports[report.shard] = report
            self.account.add(report.rejections)
            self.bars.advance(bar, len(report.num_frames) + len(report.rejections))
            while num_finished < len(shards) and shards[num_finished] in reports:
                num_finished += 1
            if num_finished > 0:
                on_shard(ends[num_finished - 1])
        if not any(report.num_frames for report in reports.values()):
            self.account.refuse(f"so that no utterance of {name} is left")
        return ShardSet(name, [reports[shard] for shard in shards], left_out)


def write_metadata(
    folder: Path, shards: ShardSet, *, options: Options, further_metadata: Mapping[str, object]
) -> None:
    """Write `meta.json` and the list of utterances of a set."""
    metadata = {**shards.metadata(), **options.metadata(), **further_metadata}
    (folder / META_FILE).write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    with open(folder / UTTERANCES_FILE, "w", encoding="utf-8") as file:
        file.write("key\tspeaker\tnum_samples\n")
        for report in shards.reports:
            for key, num_frames in report.num_frames.items():
                file.write(f"{key}\t{report.speakers.get(key, '')}\t{num_frames}\n")


def check_readable(folder: Path) -> None:
    """Read a written set from the first to the last byte. Raises ValueError if it is corrupt."""
    from w2v2_mt.data.shards import SHARD_PATTERN, read_shard  # brings torch, and is rarely needed

    meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
    shards = sorted(folder.glob(SHARD_PATTERN))
    samples = (each for shard in shards for each in read_shard(shard, trusts_index=False))
    keys = [sample.key for sample in samples]
    if (len(shards), len(keys)) != (meta["num_shards"], meta["num_utterances"]):
        problem = (
            f"has {count(len(shards), 'shard')} with {count(len(keys), 'utterance')}, not "
            f"{meta['num_shards']} with {meta['num_utterances']}"
        )
    elif digest_of_keys(keys) != meta["keys_sha256"]:
        problem = "has other utterances than its meta.json counts (keys_sha256)"
    else:
        return
    raise ValueError(
        f"{folder} {problem}; pass --overwrite to make them again. The archives are kept."
    )
