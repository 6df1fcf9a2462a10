"""The transcripts of a chapter: which words each utterance holds, in the letters that exist."""

import re

NOT_ALLOWED = re.compile(r"[^A-Z' ]")


def parse_transcripts(content: bytes, *, chapter: str) -> tuple[dict[str, str], dict[str, str]]:
    """Key -> transcription, from lines `<reader>-<chapter>-<utterance> <words>`; key -> error.

    `chapter` is `<reader>/<chapter>`, a key `<reader>/<chapter>/<utterance>`. A line is wrong
    without words, with a character that is not a letter A-Z, an apostrophe or a space, when it
    belongs to another chapter, or when it is the second of its utterance.
    """
    transcriptions: dict[str, str] = {}
    errors: dict[str, str] = {}
    prefix = chapter.replace("/", "-") + "-"
    # What cannot be decoded becomes a character that is not allowed.
    for line in content.decode("utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        utterance, _, words = line.strip().partition(" ")
        transcription = " ".join(words.split())
        key = f"{chapter}/{utterance.removeprefix(prefix)}"
        if key in transcriptions or key in errors:
            transcriptions.pop(key, None)
            errors[key] = "it has two lines in the transcript; which of them is true is not known."
        elif not utterance.startswith(prefix):
            errors[utterance] = f"its line stands in the transcript of the chapter {chapter}."
        elif not transcription:
            errors[key] = "it has no words in the transcript; every utterance needs some."
        elif character := NOT_ALLOWED.search(transcription):
            errors[key] = (
                f"the character {character.group()!r} of its transcription is none of the letters "
                "A to Z, the apostrophe and the space."
            )
        else:
            transcriptions[key] = transcription
    return transcriptions, errors
