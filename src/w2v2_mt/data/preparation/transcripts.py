"""The transcripts of a chapter: which words each utterance holds, in the letters that exist."""

import re

NOT_ALLOWED = re.compile(r"[^A-Z' ]")


def parse_transcripts(content: bytes, *, source: str) -> dict[str, str]:
    """Utterance -> transcription, from lines `<utterance> <words>`.

    `source` names the archive and the file in the ValueError that an empty transcription raises,
    or a character that is not a letter A-Z, an apostrophe or a space.
    """
    transcriptions = {}
    # What cannot be decoded becomes a character that is not allowed.
    for line in content.decode("utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        utterance, _, words = line.strip().partition(" ")
        transcription = " ".join(words.split())
        if not transcription:
            raise ValueError(f"{source} has no words for {utterance}; every utterance needs some.")
        if wrong := NOT_ALLOWED.search(transcription):
            raise ValueError(
                f"{source} has the character {wrong.group()!r} in {utterance}; only the letters "
                "A to Z, the apostrophe and the space are allowed."
            )
        transcriptions[utterance] = transcription
    return transcriptions
