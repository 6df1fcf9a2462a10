"""The VoxCeleb corpora as shards: training, validation and test sets with their trials."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.trials import Trial
from w2v2_mt.core.units import count
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.manifests.rejections import REJECTED_FILE, RejectionAccount, write_rejections
from w2v2_mt.prepare.archives import archive_metadata
from w2v2_mt.prepare.options import VoxCeleb2Options, VoxCelebOptions
from w2v2_mt.prepare.progress import print_passed_over, print_summary, stage_bars
from w2v2_mt.prepare.shard_sets import SetWriter, ShardSet, check_readable, place, write_metadata
from w2v2_mt.prepare.shard_writer import ShardReport, Utterance
from w2v2_mt.prepare.splits import Split, check_no_leakage, split_utterances
from w2v2_mt.prepare.statistics import write_statistics
from w2v2_mt.prepare.trials import (
    SpokenUtterance,
    TrialList,
    make_trials,
    read_trial_list,
    write_trials,
)
from w2v2_mt.prepare.voxceleb_utterances import (
    META_PRODUCER,
    StoredNames,
    UtteranceName,
    parse_key,
    read_sexes,
)
from w2v2_mt.prepare.work_folder import produce

VOXCELEB1_ARCHIVES = ("vox1_dev_wav.zip", "vox1_test_wav.zip")
VOXCELEB2_TESTS = {
    "vox2_shards": "veri_test2.txt",
    "vox2_shards_all": "list_test_all2.txt",
    "vox2_shards_hard": "list_test_hard2.txt",
}
"""Folder -> the list of its trials: the original, extended and hard test."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A VoxCeleb corpus: what it is made of, and where its sets are written.

    Args:
        test_archives: Archives of the utterances that the trials name.
        test_lists: Folder -> the list of the trials that are tested in `<folder>/test`; training
            and validation are in the first folder.
        removable_archives: What `delete_originals` removes.
        further_metadata: What else decides the result.
    """

    title: str
    train_archives: Sequence[Path]
    test_archives: Sequence[Path]
    meta_file: Path
    test_lists: Mapping[Path, Path]
    removable_archives: Sequence[Path]
    further_metadata: Mapping[str, object]


def prepare_voxceleb1(options: VoxCelebOptions) -> None:
    """Write the shards and trials of VoxCeleb1 to `<data_folder>/vox1_shards`."""
    folder, meta = options.data_folder, options.data_folder / "voxceleb_meta"
    dev, test = (folder / "voxceleb_archives" / name for name in VOXCELEB1_ARCHIVES)
    corpus = Corpus(
        title="VoxCeleb1",
        train_archives=[dev],
        test_archives=[test],
        meta_file=meta / "vox1_meta.csv",
        test_lists={folder / "vox1_shards": meta / "veri_test2.txt"},
        removable_archives=[dev, test],
        further_metadata={},
    )
    _prepare(corpus, options)


def prepare_voxceleb2(options: VoxCeleb2Options) -> None:
    """Write the shards and trials of VoxCeleb2 to `<data_folder>/vox2_shards{,_all,_hard}`."""
    folder, meta = options.data_folder, options.data_folder / "voxceleb_meta"
    archives = folder / "voxceleb_archives"
    parts = ("dev", "test") if options.with_test_part else ("dev",)
    converted = [archives / f"vox2_{part}_wav.zip" for part in parts]
    train = [
        wav if wav.is_file() else wav.with_name(wav.name.replace("_wav", "_aac"))
        for wav in converted
    ]
    corpus = Corpus(
        title="VoxCeleb2",
        train_archives=train,
        test_archives=[archives / name for name in VOXCELEB1_ARCHIVES],
        meta_file=meta / "vox2_meta.csv",
        test_lists={folder / name: meta / trials for name, trials in VOXCELEB2_TESTS.items()},
        removable_archives=train,
        further_metadata={"with_test_part": options.with_test_part},
    )
    _prepare(corpus, options)


def _prepare(corpus: Corpus, options: VoxCelebOptions) -> None:
    """Write the shards and trials of a corpus, or resume where an earlier call was stopped."""
    start = time.monotonic()
    archives, lists = [*corpus.train_archives, *corpus.test_archives], corpus.test_lists.values()
    inputs = [*archives, corpus.meta_file, *lists]
    for file in inputs:
        if not file.is_file():
            raise ValueError(
                f"there is no {file}; get it as the README says (meta files: {META_PRODUCER}) "
                "or set DATA_FOLDER."
            )
    folder = next(iter(corpus.test_lists))
    written = produce(
        [*reversed([*corpus.test_lists])],
        work=folder.with_name(f".{folder.name}.partial"),
        record={
            "archives": archive_metadata(inputs),
            **options.metadata(),
            **options.split_metadata(),
            **corpus.further_metadata,
        },
        overwrite=options.overwrite,
        fill=lambda work: _write_corpus(corpus, work, options),
    )
    if written is None:
        print_visible(f"{folder} exists already, made with these options.")
    else:
        print_summary(corpus.title, written, duration_sec=time.monotonic() - start)
    if options.delete_originals:
        if written is None:
            for name in ("train", "val", "test"):
                check_readable(folder / name)
        for archive in corpus.removable_archives:
            archive.unlink()


def _write_corpus(corpus: Corpus, work: Path, options: VoxCelebOptions) -> list[ShardSet]:
    sexes = read_sexes(corpus.meta_file)
    tests = {
        folder.name: read_trial_list(path, limit=options.limit)
        for folder, path in corpus.test_lists.items()
    }
    stored = StoredNames()
    stored.add_archives(corpus.train_archives)
    names = list(stored.members)
    if options.limit is not None:  # the first ones, speaker by speaker in a drawn order
        speakers = {name.speaker_id for name in names}
        places = {speaker: place(speaker, seed=options.seed) for speaker in speakers}
        names = sorted(names, key=lambda name: (places[name.speaker_id], name))[: options.limit]
    stored.add_archives(corpus.test_archives)
    print_passed_over(corpus.title, stored.passed_over)
    for test in tests.values():
        test.check_complete(stored.members.keys(), "no archive holds", "get the complete archives")
    split = split_utterances(names, sexes=sexes, options=options)
    draw_trials = partial(_draw_trials, sexes=sexes, options=options)
    draw_trials(split.val)  # An error here comes before any audio is read.
    check_no_leakage(
        split,
        tests={test.path.name: test.listed for test in tests.values()},
        val_split_mode=options.val_split_mode,
    )
    tested = sorted(set[UtteranceName]().union(*(test.utterances for test in tests.values())))
    wanted = [*split.train, *split.val, *tested]
    duplicates = stored.duplicates_of(wanted)
    account = RejectionAccount(
        num_files=len(wanted) + len(duplicates), max_share=options.max_rejected, folder=work
    )
    account.add(duplicates)
    folder = work / next(iter(corpus.test_lists)).name
    indices = {name: index for index, name in enumerate(split.train_speakers)}
    with stage_bars() as bars, Workers(options.num_workers) as workers:
        writer = UtteranceWriter(work, options, workers, account, bars, stored, indices)
        written = [
            *_write_train_and_val(writer, split, folder, draw_trials),
            _write_tests(writer, tests, tested),
        ]
    write_rejections(folder / REJECTED_FILE, account.rejections)
    sets = {"train": folder / "train", "val": folder / "val"}
    for name in tests:
        sets["test" if len(tests) == 1 else f"test ({name})"] = work / name / "test"
    write_statistics(folder / "statistics.html", title=corpus.title, sets=sets)
    return written


def _draw_trials(
    names: Iterable[UtteranceName], *, sexes: Mapping[str, Sex], options: VoxCelebOptions
) -> list[Trial]:
    return make_trials(
        [SpokenUtterance(name.speaker_id, name.video_id, name.key) for name in names],
        sexes=sexes,
        num_trials=options.num_val_trials,
        seed=options.seed,
        set_name="validation set",
        remedy="raise --val_fraction or use more speakers",
    )


@dataclass(frozen=True)
class UtteranceWriter(SetWriter):
    """A writer of sets of stored utterances."""

    options: VoxCelebOptions
    stored: StoredNames
    speaker_indices: Mapping[str, int]

    def write_utterances(
        self, name: str, utterances: Iterable[UtteranceName], folder: Path, *, first_index: int = 0
    ) -> ShardSet:
        """Write the shards `<folder name>_shard_%06d.tar` of a set, in a drawn order."""
        ordered = sorted(utterances, key=lambda each: place(each.key, seed=self.options.seed))
        return self.write(
            name,
            map(self._describe, ordered),
            num_utterances=len(ordered),
            folder=folder,
            shard_name=f"{folder.name}_shard_%06d.tar",
            left_out=self.stored.duplicates_of(ordered),
            first_index=first_index,
        )

    def _describe(self, name: UtteranceName) -> Utterance:
        member = self.stored.members[name]
        return Utterance(
            key=name.key,
            source=f"{member.container.name}: {member.name}",
            audio=member,
            labels={**name._asdict(), "speaker_id_idx": self.speaker_indices.get(name.speaker_id)},
        )


def _write_train_and_val(
    writer: UtteranceWriter, split: Split, folder: Path, draw_trials: Callable[..., list[Trial]]
) -> list[ShardSet]:
    """Write `train` and `val`, and the trials of val over the utterances that are fit for use."""
    options, metadata = writer.options, writer.options.split_metadata()
    train = writer.write_utterances("train", split.train, folder / "train")
    speakers = {"speakers": list(writer.speaker_indices)}
    write_metadata(
        folder / "train", train, options=options, further_metadata={**metadata, **speakers}
    )
    val = writer.write_utterances("val", split.val, folder / "val")
    write_metadata(folder / "val", val, options=options, further_metadata=metadata)
    trials = draw_trials([parse_key(key, source="val") for key in val.keys])
    write_trials(folder / "val" / "val_trials.txt", trials)
    asked_for = options.num_val_trials
    fewer = f", since it has no more pairs (asked for: {asked_for})"
    print(f"val: {count(len(trials), 'trial')}{fewer if len(trials) < asked_for else ''}.")
    return [train, val]


def _write_tests(
    writer: UtteranceWriter, tests: Mapping[str, TrialList], utterances: Sequence[UtteranceName]
) -> ShardSet:
    """Write each tested utterance once.

    The shards of utterances that several tests name are in the folder of the first of these tests;
    the folders of the others link there.
    """
    groups: dict[tuple[str, ...], list[UtteranceName]] = defaultdict(list)
    for utterance in utterances:
        sharing = tuple(name for name, test in tests.items() if utterance in test.utterances)
        groups[sharing].append(utterance)
    tested: dict[str, list[ShardReport]] = {name: [] for name in tests}
    reports: list[ShardReport] = []
    for number, (sharing, group) in enumerate(sorted(groups.items()), start=1):
        title = "test" if len(groups) == 1 else f"test, part {number} of {len(groups)}"
        folder = writer.work / sharing[0] / "test"
        part = writer.write_utterances(title, group, folder, first_index=len(reports))
        reports += part.reports
        for name in sharing:
            tested[name] += part.reports
        for name, report in product(sharing[1:], part.reports):
            link = writer.work / name / "test" / report.shard
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(Path("..", "..", sharing[0], "test", report.shard))
    for name, test in tests.items():
        folder = writer.work / name / "test"
        shards = ShardSet("test", tested[name], writer.stored.duplicates_of(test.utterances))
        write_metadata(folder, shards, options=writer.options, further_metadata={})
        test.check_complete(
            {parse_key(key, source=name) for key in shards.keys},
            "is rejected as unfit for use",
            "get better archives, or a list without it",
        )
        write_trials(folder / "test_trials.txt", test.trials)
        title = "test" if len(tests) == 1 else f"{name}/test"
        print(f"{title}: {count(len(test.trials), 'trial')}.")
    return ShardSet("test", reports, writer.stored.duplicates_of(utterances))
