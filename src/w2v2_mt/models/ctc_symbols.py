"""Read the symbols of a pretrained CTC model from the files of its tokenizer."""

from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from w2v2_mt.core.text_files import read_json_object

_SPECIAL = {"pad_token": "<pad>", "word_delimiter_token": "|", "unk_token": "<unk>"}
"""The symbols of this project for special tokens, by their names in transformers."""


def load_ctc_symbols(huggingface_id: str) -> dict[str, int] | None:
    """Return the index of each symbol, special ones as this project names them.

    None: the model has no vocab.json, or one of several languages.
    """
    index_of = _read_json(huggingface_id, "vocab.json")
    if not index_of or not all(type(index) is int for index in index_of.values()):
        return None
    index_of |= _read_json(huggingface_id, "added_tokens.json")
    settings = _read_json(huggingface_id, "special_tokens_map.json")
    settings |= _read_json(huggingface_id, "tokenizer_config.json")
    for name, ours in _SPECIAL.items():
        theirs = settings.get(name)
        if isinstance(theirs, dict):
            theirs = theirs.get("content")
        if theirs in index_of and ours not in index_of:
            index_of[ours] = index_of.pop(theirs)
    return index_of


def _read_json(huggingface_id: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a file of a model, or an empty one if the file lacks it."""
    file = cached_file(
        huggingface_id,
        name,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if file is None:
        return {}
    return read_json_object(
        Path(file), advice="Copy this file of network.speech_head_huggingface_id again."
    )
