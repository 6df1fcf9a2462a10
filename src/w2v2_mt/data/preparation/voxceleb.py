"""The VoxCeleb1 archives as shards: `python -m w2v2_mt.data.preparation.voxceleb --help`."""

import argparse
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.preparation.archives import zip_contents, zip_member_names
from w2v2_mt.data.preparation.audio import decode_checked, encode_wav
from w2v2_mt.data.preparation.command_line import (
    add_common_arguments,
    progress_bar,
    run_command,
    summary_table,
)
from w2v2_mt.data.preparation.meta import read_sexes
from w2v2_mt.data.preparation.output_folder import replaced_folder
from w2v2_mt.data.preparation.shard_writing import (
    ShardSetSummary,
    ShuffledShards,
    Utterance,
    write_meta,
)
from w2v2_mt.data.preparation.splits import split_utterances
from w2v2_mt.data.preparation.trials import make_trials, write_trials
from w2v2_mt.data.preparation.utterance_names import (
    UtteranceName,
    parse_key,
    parse_member_name,
)
from w2v2_mt.data.trials import keys_of_trials, read_trials

ARCHIVES = ("vox1_dev_wav.zip", "vox1_test_wav.zip")
META_FILE = "vox1_meta.csv"
TEST_TRIALS = "veri_test2.txt"
META_PRODUCER = "scripts/download/download_voxceleb_meta.sh"


@dataclass(frozen=True)
class StoredFile:
    """Where the audio of an utterance lies."""

    archive: Path
    member: str


def index_archives(archives: Sequence[Path], *, suffix: str) -> dict[UtteranceName, StoredFile]:
    """Where each utterance lies, in the order in which the archives store them.

    Raises ValueError for a missing archive and for an utterance that is there twice.
    """
    stored: dict[UtteranceName, StoredFile] = {}
    for archive in archives:
        if not archive.is_file():
            raise ValueError(
                f"there is no archive {archive}; download it as the README says or set DATA_FOLDER."
            )
        for member in zip_member_names(archive, suffixes=(suffix,)):
            name = parse_member_name(member, source=str(archive))
            if name is None:
                continue
            if name in stored:
                raise ValueError(
                    f"{archive} holds {member}, but {stored[name].archive} holds the utterance "
                    f"{name.key} as well; remove one of the two."
                )
            stored[name] = StoredFile(archive, member)
    return stored


def names_of_trials(
    trials: Sequence[Trial], *, stored: Collection[UtteranceName], source: Path
) -> set[UtteranceName]:
    """The utterances that trials name. Raises ValueError for one that no archive holds."""
    names = {parse_key(key, source=str(source)) for key in keys_of_trials(trials)}
    missing = sorted(name for name in names if name not in stored)
    if missing:
        raise ValueError(
            f"{source} names {missing[0].key}, which no archive holds ({len(missing)} such "
            "utterances in all); get the complete archives."
        )
    return names


def stored_utterances(
    names: Collection[UtteranceName],
    *,
    stored: Mapping[UtteranceName, StoredFile],
    speaker_indices: Mapping[str, int],
) -> Iterator[Utterance]:
    """Read the named utterances, checked, in the order in which the archives store them."""
    wanted = set(names)
    by_archive: dict[Path, dict[str, UtteranceName]] = {}
    for name, file in stored.items():
        if name in wanted:
            by_archive.setdefault(file.archive, {})[file.member] = name
    for archive, members in by_archive.items():
        for member, content in zip_contents(archive, names=members):
            name = members[member]
            samples = decode_checked(content, source=f"{archive}: {member}")
            yield Utterance(
                key=name.key,
                speaker_id=name.speaker_id,
                num_frames=len(samples),
                wav=encode_wav(samples),
                labels={
                    **name._asdict(),
                    "speaker_id_idx": speaker_indices.get(name.speaker_id),
                },
            )


def write_set(
    set_name: str,
    *,
    utterances: Iterable[Utterance],
    folder: Path,
    samples_per_shard: int,
    seed: int,
    further_facts: Mapping[str, object],
) -> ShardSetSummary:
    """Write the shards and the `meta.json` of one set to `folder`, which must not exist yet."""
    shards = ShuffledShards(
        name=set_name,
        folder=folder,
        shard_name=f"{set_name}_shard_%06d.tar",
        samples_per_shard=samples_per_shard,
        seed=seed,
    )
    for utterance in utterances:
        shards.add(utterance)
    summary = shards.finish()
    write_meta(folder, summary, further_facts=further_facts)
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Turn the VoxCeleb1 archives in <data_folder>/voxceleb_archives into shards "
        "and trials in <data_folder>/vox1_shards."
    )
    add_common_arguments(parser)
    parser.add_argument(
        "--val_split_mode",
        choices=("equal", "different"),
        default="equal",
        help="validate on the training speakers, in other videos, or on others (%(default)s)",
    )
    parser.add_argument(
        "--val_fraction",
        type=float,
        default=0.01,
        help="share of the training files that validates (%(default)s; more where a small corpus "
        "would have no trials)",
    )
    parser.add_argument(
        "--num_val_trials", type=int, default=5000, help="trials for validation (%(default)s)"
    )
    return run_command(_prepare, parser.parse_args(arguments))


def _prepare(options: argparse.Namespace) -> None:
    meta_folder: Path = options.data_folder / "voxceleb_meta"
    archive_folder: Path = options.data_folder / "voxceleb_archives"
    sexes = read_sexes(meta_folder / META_FILE)
    test_trials = read_trials(meta_folder / TEST_TRIALS, producer=META_PRODUCER)
    stored = index_archives([archive_folder / name for name in ARCHIVES], suffix=".wav")
    split = split_utterances(
        stored,
        test=names_of_trials(test_trials, stored=stored, source=meta_folder / TEST_TRIALS),
        sexes=sexes,
        val_fraction=options.val_fraction,
        val_split_mode=options.val_split_mode,
        seed=options.seed,
    )
    val_trials = make_trials(
        split.val, sexes=sexes, num_trials=options.num_val_trials, seed=options.seed
    )
    sets = {"train": split.train, "val": split.val, "test": split.test}
    speaker_indices = {speaker: index for index, speaker in enumerate(split.train_speakers)}
    summaries = []
    with (
        replaced_folder(options.data_folder / "vox1_shards") as folder,
        progress_bar(unit="utterances") as progress,
    ):
        for set_name, names in sets.items():
            utterances = stored_utterances(names, stored=stored, speaker_indices=speaker_indices)
            summaries.append(
                write_set(
                    set_name,
                    utterances=progress.track(utterances, len(names), description=set_name),
                    folder=folder / set_name,
                    samples_per_shard=options.samples_per_shard,
                    seed=options.seed,
                    further_facts={"speakers": list(speaker_indices)}
                    if set_name == "train"
                    else {},
                )
            )
        write_trials(folder / "val" / "val_trials.txt", val_trials)
        write_trials(folder / "test" / "test_trials.txt", test_trials)
    Console().print(summary_table("VoxCeleb1", summaries))
    num_unused = len(stored) - sum(map(len, sets.values()))
    if num_unused:
        print(f"{num_unused} utterances of test speakers are in no trial and in no set.")
    print(f"{len(val_trials)} validation trials, {len(test_trials)} test trials.")
    if len(val_trials) < options.num_val_trials:
        print(
            f"The validation set cannot supply {options.num_val_trials} trials; it has fewer pairs."
        )


if __name__ == "__main__":
    sys.exit(main())
