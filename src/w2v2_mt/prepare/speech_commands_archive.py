"""The official archives of Speech Commands, whose file names state the word and the speaker.

Source: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv
1804.03209.
"""

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES
from w2v2_mt.core.text_files import split_lines
from w2v2_mt.manifests.recordings import Recording, SplitName, recording_key
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.archives import Refused, StoredFile, zip_members
from w2v2_mt.prepare.buckets import Buckets

NOISE_FOLDER = "_background_noise_"
SPLIT_LISTS: dict[str, SplitName] = {"validation_list.txt": "val", "testing_list.txt": "test"}
WORD_FILE = re.compile(r"(?:.+/)?(([a-z]+)/([0-9a-z]+)_nohash_[0-9]+\.wav)")
MAX_HASH = (1 << 27) - 1

Content = bytes | StoredFile | Refused


@dataclass(frozen=True, kw_only=True)
class SpeechCommands:
    """The content of an archive.

    Args:
        recordings: The utterances, each with its set; `path` is `<word>/<file>`.
        audio: The place of the audio of each utterance, by its path.
        noises: The recordings of background noise, by their file names.
        rejections: The files that cannot be used.
        passed_over: The names of other files.
    """

    recordings: list[Recording] = field(default_factory=list)
    audio: dict[str, StoredFile] = field(default_factory=dict)
    noises: dict[str, StoredFile] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def read_speech_commands(
    archive: Path,
    *,
    buckets: Buckets,
    place_of: Callable[[str], int],
    on_position: Callable[[int], object],
) -> SpeechCommands:
    """Return the content of an archive: a `.tar.gz`, whose audio is copied to buckets, or a `.zip`.

    The sets are those of `validation_list.txt` and `testing_list.txt`; in an archive without them
    `official_set` decides. Raises ValueError for an archive that is corrupt or unsafe, has
    another layout, or lists a file for two sets.

    Args:
        archive: The path of the archive.
        buckets: The folder for the audio of a `.tar.gz`; a `.zip` is read in place.
        place_of: The position of a member, which decides on its bucket.
        on_position: Receives how many bytes of the archive have been read.
    """
    content = SpeechCommands()
    if zipfile.is_zipfile(archive):
        files = _zip_files(archive, content.passed_over)
    else:
        buckets.fill(
            archive,
            place_of=place_of,
            on_position=on_position,
            limit=None,
            text_suffixes=tuple(SPLIT_LISTS),
        )
        content.passed_over.extend(buckets.passed_over())
        files = buckets.files()
    lists: dict[str, list[str]] = {}
    members: dict[str, tuple[str, re.Match[str]]] = {}
    for name, file in files:
        path = PurePosixPath(name)
        if isinstance(file, bytes):
            lists[path.name] = split_lines(file.decode("utf-8", errors="replace"))
        elif isinstance(file, Refused):
            content.rejections.append(Rejection(f"{archive.name}: {name}", file.reason))
        elif path.parent.name == NOISE_FOLDER:
            content.noises[path.name] = file
        elif (found := WORD_FILE.fullmatch(name)) is None:
            raise ValueError(
                f"{archive} holds {name}; every audio file must be "
                f"<word>/<speaker>_nohash_<number>.wav or in {NOISE_FOLDER}, so use the official "
                "archive."
            )
        elif found[1] in members:
            reason = f"the utterance {found[1]} is that of an earlier file."
            content.rejections.append(Rejection(f"{archive.name}: {name}", reason))
        else:
            members[found[1]] = name, found
            content.audio[found[1]] = file
    on_position(archive.stat().st_size)
    if not members:
        raise ValueError(
            f"{archive} holds no <word>/<speaker>_nohash_<number>.wav. Get the official archive: "
            "scripts/download/download_speech_commands.sh."
        )
    sets = _listed_sets(archive, lists)
    for path_in_corpus, (name, found) in members.items():
        speaker = found[3]
        content.recordings.append(
            Recording(
                key=recording_key(path_in_corpus),
                path=path_in_corpus,
                line=f"{archive.name}: {name}",
                text=found[2].upper(),
                speaker=speaker,
                split=sets.pop(path_in_corpus, "train") if lists else official_set(speaker),
            )
        )
    for path_in_corpus, split in sets.items():
        reason = f"it is listed for the set {split}, but there is no such file."
        content.rejections.append(Rejection(f"{archive.name}: {path_in_corpus}", reason))
    return content


def official_set(speaker: str) -> SplitName:
    """Return the set of a speaker by the rule of the README of the corpus.

    Of all speakers, 10 % validate and 10 % test. Source: `which_set` there; SHA1 of the speaker's
    name, modulo 2^27, in per cent of 2^27 - 1.
    """
    digest = int(hashlib.sha1(speaker.encode()).hexdigest(), 16)
    percentage = digest % (MAX_HASH + 1) * (100.0 / MAX_HASH)
    return "val" if percentage < 10 else "test" if percentage < 20 else "train"


def _zip_files(archive: Path, passed_over: list[str]) -> Iterator[tuple[str, Content]]:
    suffixes = (*AUDIO_SUFFIXES, *SPLIT_LISTS)
    with open(archive, "rb") as stream:
        members = zip_members(archive, suffixes=suffixes, on_passed_over=passed_over.append)
        for member in members:
            is_list = PurePosixPath(member.name).name in SPLIT_LISTS
            yield member.name, member.read(stream) if is_list else member


def _listed_sets(archive: Path, lists: Mapping[str, Iterable[str]]) -> dict[str, SplitName]:
    """Return the set of each listed path; raise ValueError if a list is missing or they overlap."""
    if len(lists) == 1:
        (missing,) = SPLIT_LISTS.keys() - lists.keys()
        raise ValueError(
            f"{archive} has {next(iter(lists))} but not {missing}; without both lists the sets are "
            "unknown, so use the official archive."
        )
    sets: dict[str, SplitName] = {}
    for name, lines in lists.items():
        split = SPLIT_LISTS[name]
        for path in filter(None, map(str.strip, lines)):
            if sets.setdefault(path, split) != split:
                raise ValueError(
                    f"{archive} lists {path} for two sets ({', '.join(SPLIT_LISTS)}); use the "
                    "official archive."
                )
    return sets
