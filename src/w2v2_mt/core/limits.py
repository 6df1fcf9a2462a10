"""The largest sizes of what is read into memory as a whole; messages state them."""

MAX_AUDIO_BYTES = 512 << 20
"""The largest audio file of an archive or a shard."""

MAX_TEXT_BYTES = 256 << 20
"""The largest list or table; the longest official trial list has 40 MB."""

MAX_JSON_BYTES = 16 << 20

MAX_INDEX_BYTES = 64 << 20
"""The largest index of a shard, some hundred thousand utterances."""

MAX_LINE_BYTES = 4 << 20
"""The longest line of a manifest, such as a cut with the words of an hour."""

MAX_MANIFEST_BYTES = 8 << 30
"""The largest manifest, after it is decompressed; it is read line by line."""


def size_in_mib(num_bytes: int) -> str:
    """Return a size for messages."""
    return f"{num_bytes / (1 << 20):.0f} MiB"
