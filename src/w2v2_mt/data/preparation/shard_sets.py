"""The shards of one set: which utterance goes where, who writes them, and what the set holds."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np

from w2v2_mt.core.units import SAMPLE_RATE_HZ, seconds_from_samples
from w2v2_mt.data.preparation.options import Options
from w2v2_mt.data.preparation.rejections import Rejection, RejectionAccount
from w2v2_mt.data.preparation.shard_writing import ShardReport, ShardTask, Utterance, write_shard
from w2v2_mt.data.preparation.statistics import SetStatistics
from w2v2_mt.data.preparation.workers import Workers
from w2v2_mt.data.preparation.workspace import at_work

PLACE_BYTES = 8
MIN_NUM_SHARDS = 8
"""As many readers can share even a small set."""

SECONDS_PER_HOUR = 3600
UTTERANCES_FILE = "utterances.tsv"
META_FILE = "meta.json"

Item = TypeVar("Item")


@dataclass(frozen=True)
class ShardSet:
    """A written set: its shards, by the name of the file, and what is in each.

    `left_out` are the files of which no shard was to be made, because of their names or words.
    """

    name: str
    reports: Mapping[str, ShardReport]
    left_out: Sequence[Rejection] = ()

    @property
    def keys(self) -> list[str]:
        return [key for report in self.reports.values() for key in report.keys]

    @property
    def speaker_ids(self) -> list[str]:
        return [speaker for report in self.reports.values() for speaker in report.speaker_ids]

    @property
    def num_frames(self) -> int:
        return sum(sum(report.num_frames) for report in self.reports.values())

    @property
    def hours(self) -> float:
        return seconds_from_samples(self.num_frames) / SECONDS_PER_HOUR

    @property
    def rejections(self) -> list[Rejection]:
        written = [each for report in self.reports.values() for each in report.rejections]
        return [*self.left_out, *written]

    @property
    def num_converted(self) -> int:
        return sum(report.num_converted for report in self.reports.values())

    @property
    def num_bytes_read(self) -> int:
        return sum(report.num_bytes_read for report in self.reports.values())

    def facts(self) -> dict[str, object]:
        """What `meta.json` says of every set."""
        return {
            "name": self.name,
            "num_utterances": len(self.keys),
            "num_frames": self.num_frames,
            "hours": round(self.hours, 4),
            "num_speakers": len(set(self.speaker_ids)),
            "num_shards": len(self.reports),
            "num_rejected": len(self.rejections),
            "num_converted": self.num_converted,
            "sampling_rate": SAMPLE_RATE_HZ,
            "keys_sha256": hashlib.sha256("\n".join(sorted(self.keys)).encode()).hexdigest(),
        }


def place(key: str, *, seed: int) -> int:
    """Where an utterance stands among all others: the order of a set is drawn by hashing."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:PLACE_BYTES], "big")


def shard_sizes(num_utterances: int, *, samples_per_shard: int) -> list[int]:
    """How many utterances each shard holds: no shard more than one more than another."""
    num_shards = max(
        math.ceil(num_utterances / samples_per_shard), min(MIN_NUM_SHARDS, num_utterances)
    )
    smaller_size, num_larger = divmod(num_utterances, num_shards)
    return [smaller_size + (index < num_larger) for index in range(num_shards)]


def write_shard_set(
    name: str,
    items: Sequence[Item],
    *,
    describe: Callable[[Item], Utterance],
    work: Path,
    folder: Path,
    shard_name: str,
    options: Options,
    workers: Workers,
    account: RejectionAccount,
    on_progress: Callable[[int], object],
    on_shard: Callable[[int], object] = lambda num_items: None,
    first_index: int = 0,
) -> ShardSet:
    """Write the shards of `items`, which come in their final order, to `folder`.

    `describe` makes an utterance of an item when its shard's turn comes; reports go to
    `work/reports`. `on_progress` is told of each shard's number of items, `on_shard` how many items
    from the beginning are in finished shards. Raises ValueError where the set is empty or too many
    files are rejected.
    """
    if not items:
        raise ValueError(f"{name} holds no utterance; at least one is needed.")
    sizes = shard_sizes(len(items), samples_per_shard=options.samples_per_shard)
    ends = list(accumulate(sizes))
    reports_folder = work / "reports"
    reports_folder.mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob(".*.part"):  # of a run that was killed
        unfinished.unlink()

    def task(index: int) -> ShardTask:
        path = folder / (shard_name % (first_index + index))
        chosen = items[ends[index] - sizes[index] : ends[index]]
        return ShardTask(
            path=path,
            report=reports_folder / f"{name}-{path.name}.json",
            utterances=[describe(item) for item in chosen],
            audio_format=options.audio_format,
            is_strict=options.strict,
            scratch=work,
        )

    tasks = (task(index) for index in range(len(sizes)))
    reports: dict[str, ShardReport] = {}
    num_finished = 0
    names = [shard_name % (first_index + index) for index in range(len(sizes))]
    for shard, report in workers.answers(_written, tasks):
        reports[shard] = report
        account.add(report.rejections)
        on_progress(len(report.keys) + len(report.rejections))
        while num_finished < len(sizes) and names[num_finished] in reports:
            num_finished += 1
        if num_finished > 0:
            on_shard(ends[num_finished - 1])
    return ShardSet(name, {shard: reports[shard] for shard in names})


def write_facts(
    folder: Path, shards: ShardSet, *, options: Options, further_facts: Mapping[str, object]
) -> None:
    """Write `meta.json` and the list of utterances of a set. Raises ValueError for an empty set."""
    if not shards.keys:
        raise ValueError(f"{shards.name} holds no utterance that is fit for use; one is needed.")
    facts = {**shards.facts(), **options.facts(), **further_facts}
    (folder / META_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    with open(folder / UTTERANCES_FILE, "w", encoding="utf-8") as file:
        file.write("key\tspeaker\tnum_samples\n")
        for report in shards.reports.values():
            rows = zip(report.keys, report.speaker_ids, report.num_frames, strict=True)
            file.writelines(f"{key}\t{speaker}\t{number}\n" for key, speaker, number in rows)


def check_readable(folder: Path) -> None:
    """Read a written set from the first to the last byte. Raises ValueError where it is damaged."""
    from w2v2_mt.data.shards import SHARD_PATTERN, read_shard  # brings torch, and is rarely needed

    meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
    shards = sorted(folder.glob(SHARD_PATTERN))
    num_utterances = sum(1 for shard in shards for _ in read_shard(shard))
    found, promised = (len(shards), num_utterances), (meta["num_shards"], meta["num_utterances"])
    if found != promised:
        raise ValueError(
            f"{folder} has {found[0]} shards with {found[1]} utterances, not {promised[0]} with "
            f"{promised[1]}; pass --overwrite to make them again. The archives are kept."
        )


def read_statistics(folder: Path, *, name: str) -> SetStatistics:
    """How long the utterances of a written set are, and how many each speaker has."""
    durations_sec: list[float] = []
    num_utterances: Counter[str] = Counter()
    with open(folder / UTTERANCES_FILE, encoding="utf-8") as file:
        next(file)
        for line in file:
            _, speaker_id, num_frames = line.rstrip("\n").split("\t")
            durations_sec.append(seconds_from_samples(int(num_frames)))
            num_utterances[speaker_id] += 1
    return SetStatistics(
        name=name,
        durations_sec=np.array(durations_sec),
        utterances_per_speaker=np.array(list(num_utterances.values()), dtype=np.int64),
    )


def _written(task: ShardTask) -> tuple[str, ShardReport]:
    with at_work(task.scratch):
        return task.path.name, write_shard(task)
