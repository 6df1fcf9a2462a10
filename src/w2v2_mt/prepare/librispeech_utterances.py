"""The utterances of a LibriSpeech archive: audio and transcriptions, joined by their keys."""

import re
from pathlib import Path

from w2v2_mt.core.text_files import split_fields, split_lines
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.archives import Piece, Refused
from w2v2_mt.prepare.buckets import Buckets
from w2v2_mt.prepare.options import Options
from w2v2_mt.prepare.shard_sets import place
from w2v2_mt.prepare.shard_writer import Utterance

NOT_ALLOWED = re.compile(r"[^A-Z' ]")
OTHER_UTTERANCE = re.compile(r"\d+-\d+-\d+")
"""The beginning of a line of another chapter."""


def parse_transcripts(content: bytes, *, chapter: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return transcriptions and errors by key, from lines `<reader>-<chapter>-<utterance> <words>`.

    `chapter` is `<reader>/<chapter>`, a key `<reader>/<chapter>/<utterance>`. A line is wrong
    without words, with a character other than A-Z, an apostrophe or a space, when it belongs to
    another chapter, or when it is the second of its utterance. A line that does not belong to the
    chapter may be the rest of the sentence before it, which is therefore wrong too.
    """
    transcriptions: dict[str, str] = {}
    errors: dict[str, str] = {}
    prefix = chapter.replace("/", "-") + "-"
    previous_key = None
    # What cannot be decoded becomes a character that is not allowed.
    for line in split_lines(content.decode("utf-8-sig", errors="replace")):
        utterance, *words = split_fields(line) or [""]
        if not utterance:
            continue
        transcription = " ".join(words)
        key = f"{chapter}/{utterance.removeprefix(prefix)}"
        if key in transcriptions or key in errors:
            transcriptions.pop(key, None)
            errors[key] = "it has two lines in the transcript; which of them is right is unknown."
        elif not utterance.startswith(prefix):
            if OTHER_UTTERANCE.fullmatch(utterance) or previous_key is None:
                other_key = utterance.replace("-", "/")
                errors[other_key] = f"its line is in the transcript of the chapter {chapter}."
            if previous_key is not None:
                transcriptions.pop(previous_key, None)
                errors.setdefault(
                    previous_key,
                    f"the line after its own begins with {utterance!r}, which is not an utterance "
                    "of the chapter and may be the rest of its sentence.",
                )
            continue
        elif not transcription:
            errors[key] = "it has no words in the transcript; every utterance needs some."
        elif character := NOT_ALLOWED.search(transcription):
            errors[key] = (
                f"the character {character.group()!r} of its transcription is not a letter "
                "from A to Z, an apostrophe or a space."
            )
        else:
            transcriptions[key] = transcription
        previous_key = key
    return transcriptions, errors


def join_utterances(
    buckets: Buckets, archive: Path, subset: str, options: Options
) -> tuple[list[Utterance], list[Rejection]]:
    """Join audio and transcriptions in the order of the shards, and collect what cannot be used.

    Rejected are transcript lines with errors, and audio or transcriptions without a counterpart.
    A limit keeps the first utterances of the chapters that were read to their end.
    """
    audio: dict[str, Piece] = {}
    transcriptions: dict[str, str] = {}
    errors: dict[str, str] = {}
    refused: set[str] = set()
    spoken: list[Utterance] = []
    rejections: list[Rejection] = []

    def reject(name: str, reason: str) -> None:
        rejections.append(Rejection(f"{archive.name}: {name}", reason))

    for name, content in buckets.files():
        key = key_of(archive, name, subset)
        if isinstance(content, Refused):
            reject(name, content.reason)
            refused.add(key)
        elif isinstance(content, bytes):
            found, wrong = parse_transcripts(content, chapter=key.rpartition("/")[0])
            transcriptions |= found
            errors |= wrong
        elif key not in audio:
            audio[key] = content
        else:
            reject(name, f"its key {key} is that of an earlier file.")
    for key, piece in audio.items():
        if len(spoken) == options.limit:
            break
        if key in transcriptions and key not in errors:
            names = ("reader_id", "chapter_id", "utterance_id")
            labels = dict(zip(names, key.split("/"), strict=True))
            labels["transcription"] = transcriptions[key]
            source = f"{archive.name}: {piece.name}"
            spoken.append(Utterance(key=key, source=source, audio=piece, labels=labels))
        else:
            reject(piece.name, errors.get(key, "there is no transcription for it."))
    alone = dict.fromkeys(transcriptions, "there is no audio for this transcription.") | errors
    for key, reason in alone.items():
        if key not in audio and key not in refused:
            reject(key, reason)
    return sorted(spoken, key=lambda each: place(each.key, seed=options.seed)), rejections


def key_of(archive: Path, name: str, subset: str) -> str:
    """Return `<reader>/<chapter>/<utterance>`, the last of them empty for a transcript."""
    file_name = r"\1-\2(?:-([^./-]+)\.[^/]*|(?i:\.trans\.txt))"
    match = re.fullmatch(rf"(?:.*/)?{subset}/([^/]+)/([^/]+)/{file_name}", name)
    if match is None:
        raise ValueError(
            f"{archive} holds {name}; every audio file must be "
            f"LibriSpeech/{subset}/<reader>/<chapter>/<reader>-<chapter>-<utterance>.flac, with "
            "its transcript next to it, so use the official archive."
        )
    return "/".join(match.groups(default=""))
