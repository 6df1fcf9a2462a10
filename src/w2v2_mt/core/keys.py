"""The key of an utterance: `<speaker>/<video or chapter>/<utterance>`."""


def speaker_of(key: str) -> str:
    """Who speaks; a key of one part is a speaker of its own."""
    return key.split("/")[0]
