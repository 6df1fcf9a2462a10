"""What the preparation of VoxCeleb1 and VoxCeleb2 has in common: archives, lists, sets."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console

from w2v2_mt.data.preparation.command_line import StageBars, archive_facts, summary_table
from w2v2_mt.data.preparation.meta import Sex
from w2v2_mt.data.preparation.options import Options
from w2v2_mt.data.preparation.rejections import (
    REJECTED_FILE,
    RejectionAccount,
    write_rejections,
)
from w2v2_mt.data.preparation.shard_sets import (
    ShardSet,
    place,
    read_statistics,
    write_facts,
    write_shard_set,
)
from w2v2_mt.data.preparation.shard_writing import Utterance
from w2v2_mt.data.preparation.split_options import SplitOptions
from w2v2_mt.data.preparation.splits import Split, split_utterances
from w2v2_mt.data.preparation.statistics import write_statistics
from w2v2_mt.data.preparation.stored_names import StoredNames
from w2v2_mt.data.preparation.trial_lists import META_PRODUCER
from w2v2_mt.data.preparation.trials import make_trials, write_trials
from w2v2_mt.data.preparation.utterance_names import UtteranceName, parse_key
from w2v2_mt.data.preparation.workers import Workers


def account_of(
    names: Collection[UtteranceName], *, stored: StoredNames, options: Options, work: Path
) -> RejectionAccount:
    """An account of the utterances that are wanted, with what is rejected by its name alone."""
    duplicates = stored.duplicates_of(names)
    account = RejectionAccount(
        num_files=len(names) + len(duplicates), max_share=options.max_rejected, folder=work
    )
    account.add(duplicates)
    return account


@dataclass(kw_only=True)
class SetWriter:
    """Writes the sets of a corpus one after another and keeps account of them."""

    work: Path
    stored: StoredNames
    speaker_indices: Mapping[str, int]
    options: Options
    bars: StageBars
    workers: Workers
    account: RejectionAccount
    written: list[ShardSet] = field(default_factory=list)

    def write(
        self,
        name: str,
        utterances: Collection[UtteranceName],
        *,
        folder: Path,
        first_index: int = 0,
    ) -> ShardSet:
        """Write the shards `<folder name>_shard_%06d.tar` of a set."""
        ordered = sorted(utterances, key=lambda each: place(each.key, seed=self.options.seed))
        with self.bars.stage(name, total=len(ordered), unit="files") as bar:
            shards = write_shard_set(
                name,
                ordered,
                describe=self._described,
                work=self.work,
                folder=folder,
                shard_name=f"{folder.name}_shard_%06d.tar",
                options=self.options,
                workers=self.workers,
                account=self.account,
                on_progress=bar.advance,
                first_index=first_index,
            )
        return replace(shards, left_out=self.stored.duplicates_of(ordered))

    def finish(
        self, folder: Path, shards: ShardSet, further_facts: Mapping[str, object] | None = None
    ) -> None:
        """Write the facts of a set that is complete, and take it into account."""
        write_facts(folder, shards, options=self.options, further_facts=further_facts or {})
        self.written.append(shards)

    def _described(self, name: UtteranceName) -> Utterance:
        member = self.stored.members[name]
        return Utterance(
            key=name.key,
            speaker_id=name.speaker_id,
            source=f"{member.container.name}: {member.name}",
            audio=member,
            labels={
                **name._asdict(),
                "speaker_id_idx": self.speaker_indices.get(name.speaker_id),
            },
        )


def write_train_and_val(
    writer: SetWriter,
    split: Split,
    *,
    folder: Path,
    sexes: Mapping[str, Sex],
    split_options: SplitOptions,
) -> None:
    """Write `train` and `val` below `folder`, and the trials of val: over what is fit for use."""
    options = asdict(split_options)
    train = writer.write("train", split.train, folder=folder / "train")
    writer.finish(folder / "train", train, {**options, "speakers": list(writer.speaker_indices)})
    val = writer.write("val", split.val, folder=folder / "val")
    writer.finish(folder / "val", val, options)
    trials = make_trials(
        [parse_key(key, source="val") for key in val.keys],
        sexes=sexes,
        num_trials=split_options.num_val_trials,
        seed=writer.options.seed,
    )
    write_trials(folder / "val" / "val_trials.txt", trials)
    print_num_trials("val", len(trials), wanted=split_options.num_val_trials)


def print_num_trials(name: str, num_trials: int, *, wanted: int) -> None:
    fewer = f", since it has no more pairs (asked for: {wanted})" if num_trials < wanted else ""
    print(f"{name}: {num_trials} trials{fewer}.")


def chosen_speakers(names: Iterable[UtteranceName], *, options: Options) -> list[UtteranceName]:
    """All names, or with a limit so many: whole speakers as far as it reaches."""
    if options.limit is None:
        return list(names)
    speakers: dict[str, int] = {}

    def order(name: UtteranceName) -> tuple[int, UtteranceName]:
        if name.speaker_id not in speakers:
            speakers[name.speaker_id] = place(name.speaker_id, seed=options.seed)
        return speakers[name.speaker_id], name

    return sorted(names, key=order)[: options.limit]


def split_of(
    names: Collection[UtteranceName],
    *,
    sexes: Mapping[str, Sex],
    split_options: SplitOptions,
    seed: int,
) -> Split:
    """The split of the utterances that are not for testing.

    Raises ValueError where it leaves no trials for validation, before any audio has been read.
    """
    split = split_utterances(
        names,
        sexes=sexes,
        val_fraction=split_options.val_fraction,
        val_split_mode=split_options.val_split_mode,
        seed=seed,
    )
    make_trials(split.val, sexes=sexes, num_trials=split_options.num_val_trials, seed=seed)
    return split


def record_of(
    files: Sequence[Path], options: Options, further_options: Mapping[str, object]
) -> dict[str, object]:
    """What decides the result. Raises ValueError for a file that is missing."""
    for file in files:
        if not file.is_file():
            raise ValueError(
                f"there is no {file}; get it as the README says (meta files: {META_PRODUCER}) or "
                "set DATA_FOLDER."
            )
    return {"archives": archive_facts(files), **options.facts(), **further_options}


def finish(title: str, folder: Path, writer: SetWriter, *, sets: Mapping[str, Path]) -> None:
    """The list of what was left out and the page of statistics, of sets by name, into `folder`."""
    write_rejections(folder / REJECTED_FILE, writer.account.rejections)
    statistics = [read_statistics(path, name=name) for name, path in sets.items()]
    write_statistics(folder / "statistics.html", title=title, sets=statistics)


def print_result(title: str, written: Sequence[ShardSet], *, start: float, folder: Path) -> None:
    """The table at the end; `start` is the time.monotonic() of the beginning."""
    if written:
        Console().print(summary_table(title, written, duration_sec=time.monotonic() - start))
    else:
        print(f"{folder} is there already, made with these options.")
