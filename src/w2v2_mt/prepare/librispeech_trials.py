"""Verification trials over a set of LibriSpeech, where a chapter of a reader is a session."""

from pathlib import Path

from w2v2_mt.core.text_files import split_lines
from w2v2_mt.core.units import count
from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.prepare.archives import tar_gz_members
from w2v2_mt.prepare.statistics import UTTERANCES_FILE
from w2v2_mt.prepare.trials import SpokenUtterance, make_trials, write_trials

NUM_TRIALS = 20_000
"""The number of trials of each set that has enough pairs."""

SPEAKERS_FILE = "speakers.txt"
SEXES: dict[str, Sex] = {"F": "f", "M": "m"}


def trials_path(folder: Path) -> Path:
    """Return the path of the trials of a set."""
    return folder / f"{folder.name}_trials.txt"


def write_reader_trials(folder: Path, archive: Path, *, seed: int) -> None:
    """Write the trials over the utterances of a set, and print their number.

    Target trials come from two chapters of a reader where there are enough, non-target trials from
    two readers of the same sex according to the archive. A set without pairs gets no trials.
    """
    spoken = []
    for line in (folder / UTTERANCES_FILE).read_text(encoding="utf-8").splitlines()[1:]:
        key = line.split("\t")[0]
        reader, chapter, _ = key.split("/")
        spoken.append(SpokenUtterance(reader, chapter, key))
    sexes = read_reader_sexes(archive)
    try:
        trials = make_trials(
            spoken,
            sexes=sexes,
            num_trials=NUM_TRIALS,
            seed=seed,
            set_name=f"set {folder.name}",
            remedy="for speech recognition it needs none",
        )
    except ValueError as error:
        print(f"No list of trials is written: {error}")
        return
    write_trials(trials_path(folder), trials)
    unknown = {each.speaker for each in spoken} - sexes.keys()
    remark = ""
    if unknown:
        of_whom = count(len(unknown), "reader")
        remark = f"; {archive} does not name the sex of {of_whom}, who form pairs with each other"
    print(f"{folder.name}: {count(len(trials), 'trial')}{remark}.")


def read_reader_sexes(archive: Path) -> dict[str, Sex]:
    """Return the sex of each reader by SPEAKERS.TXT of an archive, which is near its beginning.

    A line is `<reader> | <F or M> | <subset> | <minutes> | <name>`, where a name may contain `|`;
    readers in other lines, and all without this file, are not in the result.
    """
    members = tar_gz_members(archive, suffixes=(SPEAKERS_FILE,), on_position=lambda position: None)
    table = next((content for _, content in members if isinstance(content, bytes)), b"")
    sexes: dict[str, Sex] = {}
    for line in split_lines(table.decode("utf-8", errors="replace")):
        reader, _, rest = line.partition("|")
        sex = rest.partition("|")[0].strip()
        if sex in SEXES:
            sexes[reader.strip()] = SEXES[sex]
    return sexes
