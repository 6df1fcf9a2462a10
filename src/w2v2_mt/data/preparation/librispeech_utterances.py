"""The utterances of a LibriSpeech archive: audio and words, which lie in different files there."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from w2v2_mt.data.preparation.rejections import Rejection
from w2v2_mt.data.preparation.scattering import Buckets
from w2v2_mt.data.preparation.shard_sets import place
from w2v2_mt.data.preparation.shard_writing import Utterance
from w2v2_mt.data.preparation.stored_files import Piece
from w2v2_mt.data.preparation.transcripts import parse_transcripts

AUDIO_SUFFIX = ".flac"
TRANSCRIPT_SUFFIX = ".trans.txt"


@dataclass(frozen=True, slots=True, order=True)
class SpokenUtterance:
    """An utterance of the archive whose words are known."""

    place: int
    reader_id: str
    chapter_id: str
    utterance_id: str
    transcription: str
    audio: Piece

    @property
    def key(self) -> str:
        return f"{self.reader_id}/{self.chapter_id}/{self.utterance_id}"

    def described(self, archive: Path) -> Utterance:
        return Utterance(
            key=self.key,
            speaker_id=self.reader_id,
            source=f"{archive.name}: {self.audio.name}",
            audio=self.audio,
            labels={
                "reader_id": self.reader_id,
                "chapter_id": self.chapter_id,
                "utterance_id": self.utterance_id,
                "transcription": self.transcription,
            },
        )


class Enough:
    """True when so many audio files have been seen and the chapter of the last one is over."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.num_audio = 0
        self.last_folder: str | None = None

    def __call__(self, name: str) -> bool:
        if self.limit is None:
            return False
        folder = str(PurePosixPath(name).parent)
        is_over = self.num_audio >= self.limit and folder != self.last_folder
        self.num_audio += name.lower().endswith(AUDIO_SUFFIX)
        self.last_folder = folder
        return is_over


def spoken_utterances(
    buckets: Buckets, archive: Path, *, subset: str, seed: int, limit: int | None
) -> tuple[list[SpokenUtterance], list[Rejection]]:
    """Audio and words brought together, in the order of the shards, and what cannot be used of
    both: lines that are wrong, and what has no counterpart.

    With a limit, so many utterances of the chapters that were read to their end, as long as there
    are some, and what cannot be used up to there.
    """
    audio: dict[str, Piece] = {}
    transcriptions: dict[str, str] = {}
    errors: dict[str, str] = {}
    rejections: list[Rejection] = []
    is_enough = Enough(limit)
    for file in buckets.files():
        if is_enough(file.name):
            break  # of the chapter that begins here, no more has been read
        key = key_of(archive, file.name, subset)
        if file.text is not None:
            found, wrong = parse_transcripts(file.text, chapter=key.rpartition("/")[0])
            transcriptions |= found
            errors |= wrong
        elif file.audio is not None and key not in audio:
            audio[key] = file.audio
        else:
            reason = f"its key {key} is that of an earlier file."
            rejections.append(Rejection(f"{archive.name}: {file.name}", reason))
    spoken: list[SpokenUtterance] = []
    for key, piece in audio.items():
        if len(spoken) == limit:
            break
        if key in transcriptions:
            reader_id, chapter_id, utterance_id = key.split("/")
            spoken.append(
                SpokenUtterance(
                    place(key, seed=seed),
                    reader_id,
                    chapter_id,
                    utterance_id,
                    transcriptions[key],
                    piece,
                )
            )
        else:
            reason = errors.get(key, "there is no transcription for it.")
            rejections.append(Rejection(f"{archive.name}: {piece.name}", reason))
    alone = dict.fromkeys(transcriptions, "there is no audio for this transcription.") | errors
    rejections += [
        Rejection(f"{archive.name}: {key}", reason)
        for key, reason in alone.items()
        if key not in audio
    ]
    return sorted(spoken), rejections


def letter_counts(spoken: Iterable[SpokenUtterance], *, kept: Collection[str]) -> dict[str, int]:
    """How often each character stands in the transcriptions of what is kept, by character."""
    counts: Counter[str] = Counter()
    for each in spoken:
        if each.key in kept:
            counts.update(each.transcription)
    return dict(sorted(counts.items()))


def key_of(archive: Path, name: str, subset: str) -> str:
    """`<reader>/<chapter>/<utterance>`, the last of them empty for a transcript."""
    parts = PurePosixPath(name).parts
    if len(parts) >= 4 and parts[-4] == subset:
        reader_id, chapter_id = parts[-3:-1]
        stem = parts[-1].partition(".")[0]
        is_transcript = name.lower().endswith(TRANSCRIPT_SUFFIX)
        if is_transcript:
            chapter_name, utterance_id = stem, ""
        else:
            chapter_name, _, utterance_id = stem.rpartition("-")
        if chapter_name == f"{reader_id}-{chapter_id}" and (is_transcript or utterance_id):
            return f"{reader_id}/{chapter_id}/{utterance_id}"
    raise ValueError(
        f"{archive} holds {name}; every audio file must be "
        f"LibriSpeech/{subset}/<reader>/<chapter>/<reader>-<chapter>-<utterance>.flac, with its "
        "transcript beside it, so use the official archive."
    )
