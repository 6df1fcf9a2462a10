"""Make, write and read the vocabulary of a tokenizer, a JSON file."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.limits import MAX_JSON_BYTES
from w2v2_mt.core.text_files import read_text

BLANK = "<pad>"
UNKNOWN = "<unk>"
WORD_BOUNDARY = "|"
PIECE_BOUNDARY = "\u2581"
"""The beginning of a word in a vocabulary of subwords, as of sentencepiece."""
_OTHER_BLANK = "[PAD]"
"""The blank of many vocabularies of transformers."""
_SPECIAL = re.compile(r"<.+>|\[.+\]")
_MAX_NUM_NAMED = 5
_MAX_NUM_LETTERS_NAMED = 60


def letter_vocabulary(letters: Iterable[str]) -> list[str]:
    """Return the symbols of a vocabulary of letters: special ones, then the letters by code point.

    Args:
        letters: The characters of all transcripts, with or without the space.

    Raises:
        ValueError: The boundary of words is one of the letters.
    """
    others = set(letters) - {" "}
    if WORD_BOUNDARY in others:
        raise ValueError(
            f"A transcript must not have the character {WORD_BOUNDARY!r}, the boundary of words in "
            "a vocabulary. Replace it in the transcripts."
        )
    return [BLANK, UNKNOWN, WORD_BOUNDARY, *sorted(others)]


def write_vocabulary(path: Path, symbols: Sequence[str]) -> None:
    """Write symbols in the order of their indices, as `read_vocabulary` reads them."""
    index_of = {symbol: index for index, symbol in enumerate(symbols)}
    replace_text(path, json.dumps(index_of, indent=2, ensure_ascii=False) + "\n")


def read_vocabulary(path: Path, *, boundary: str = WORD_BOUNDARY) -> dict[str, int]:
    """Return the index of each symbol: letters, "|" for a space, and special tokens.

    The blank of CTC is "<pad>", or else "[PAD]", which is renamed. Other special tokens are in
    brackets of one of these two kinds. A byte-order mark is skipped.

    Args:
        path: A JSON file {symbol: index}.
        boundary: "|" for a vocabulary of letters; with "▁", a symbol may be longer than one letter.

    Raises:
        ValueError: The file is not such a vocabulary, or an index does not occur exactly once.
    """
    text = read_text(path, max_bytes=MAX_JSON_BYTES)
    try:
        content = json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise _vocabulary_error(path, f"must be JSON ({error})") from error
    if not isinstance(content, dict) or not content:
        kind = "an empty object" if content == {} else f"{json.dumps(content)[:40]}"
        raise _vocabulary_error(path, f"must be one JSON object, not {kind}")
    for symbol, index in content.items():
        if type(index) is not int:
            raise _vocabulary_error(
                path, f"must give each symbol an integer, not {json.dumps(index)[:40]} ({symbol!r})"
            )
    _check_indices(path, content)
    if BLANK not in content and _OTHER_BLANK in content:
        content = {BLANK if name == _OTHER_BLANK else name: i for name, i in content.items()}
    _check_symbols(path, content, boundary)
    return content


def describe_letters(letters: Iterable[str]) -> str:
    """Return the letters of a vocabulary for messages, the first of them if there are many."""
    text = "".join(letters)
    rest = len(text) - _MAX_NUM_LETTERS_NAMED
    return f"{text[:_MAX_NUM_LETTERS_NAMED]!r}" + (f" and {rest} more" if rest > 0 else "")


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise ValueError(f"the symbol {repeated[0]!r} occurs twice")
    return dict(pairs)


def _check_indices(path: Path, index_of: dict[str, int]) -> None:
    counts = Counter(index_of.values())
    if repeated := [index for index, count in counts.items() if count > 1]:
        symbols = [symbol for symbol, index in index_of.items() if index == repeated[0]]
        raise ValueError(
            f"The indices in vocabulary {path} must differ, but {_names(symbols)} have the same "
            f"({repeated[0]}). Number the symbols 0, 1, 2, ... without a gap."
        )
    due = range(len(index_of))
    if outside := sorted(index for index in counts if index not in due):
        missing = next(index for index in due if index not in counts)
        raise ValueError(
            f"The indices in vocabulary {path} must be 0, 1, 2, ... without a gap, but {missing} "
            f"is missing and {outside[0]} is outside 0 to {due[-1]}. Number the symbols again."
        )


def _check_symbols(path: Path, symbols: Collection[str], boundary: str) -> None:
    for required in (BLANK, boundary):
        if required not in symbols:
            instead = " in place of the space" if required == boundary and " " in symbols else ""
            other = {WORD_BOUNDARY: PIECE_BOUNDARY, PIECE_BOUNDARY: WORD_BOUNDARY}.get(required)
            if other in symbols:
                option = "bpe" if other == PIECE_BOUNDARY else "default"
                instead = f", or set speech/tokenizer={option} for this vocabulary"
            raise ValueError(
                f"Vocabulary {path} must have the symbol {required!r}. Add it{instead}."
            )
    if spaces := [symbol for symbol in symbols if "".join(symbol.split()) != symbol or not symbol]:
        raise ValueError(
            f"Vocabulary {path} must not have the symbol {spaces[0]!r}, as {boundary!r} is "
            "the boundary of words. Remove it and number the symbols again."
        )
    if boundary == PIECE_BOUNDARY:
        return
    long = [symbol for symbol in symbols if len(symbol) > 1 and not _SPECIAL.fullmatch(symbol)]
    if long:
        raise ValueError(
            f"Each symbol of vocabulary {path} must be one character or a special token such as "
            f"'<unk>', but {_names(long)} {'is' if len(long) == 1 else 'are'} not. Split "
            f"{'it' if len(long) == 1 else 'them'} into letters, or register a tokenizer."
        )


def _names(symbols: list[str]) -> str:
    rest = len(symbols) - _MAX_NUM_NAMED
    shown = ", ".join(map(repr, symbols[:_MAX_NUM_NAMED]))
    return shown + (f" and {rest} more" if rest > 0 else "")


def _vocabulary_error(path: Path, problem: str) -> ValueError:
    return ValueError(
        f'Vocabulary {path} {problem}. Give a file such as {{"<pad>": 0, "|": 1, "A": 2}}.'
    )
