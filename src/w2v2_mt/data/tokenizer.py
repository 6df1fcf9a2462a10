"""Letters and their indices: from a transcription to CTC targets, from CTC output to text."""

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

BLANK = "<pad>"
WORD_BOUNDARY = "|"


def _read_symbols(vocabulary_path: str | None) -> list[str]:
    shipped = files("w2v2_mt.data") / "vocabulary.json"
    path = shipped if vocabulary_path is None else Path(vocabulary_path)
    if not path.is_file():
        raise ValueError(
            f"there is no vocabulary file {path}: "
            "set vocabulary_path to one, or to null for the vocabulary of this project"
        )
    index_of = json.loads(path.read_text(encoding="utf-8"))
    symbols = sorted(index_of, key=index_of.__getitem__)
    if [index_of[symbol] for symbol in symbols] != list(range(len(symbols))):
        raise ValueError(f"the indices in vocabulary {path} must be 0, 1, 2, ... without a gap")
    for required in (BLANK, WORD_BOUNDARY):
        if required not in index_of:
            raise ValueError(f"vocabulary {path} has no symbol {required!r}: add it")
    return symbols


@dataclass(frozen=True, kw_only=True)
class TimedWord:
    """A word from the first frame of its first letter to before the frame `end_frame`."""

    text: str
    start_frame: int
    end_frame: int


class LetterTokenizer:
    """Turns a transcription into letter indices and back.

    A space is the symbol "|"; the blank of CTC is "<pad>". `vocabulary_path` names a JSON file
    {symbol: index}; None is the vocabulary of facebook/wav2vec2-base-960h, shipped with this file.
    """

    def __init__(self, *, vocabulary_path: str | None) -> None:
        self.symbols = _read_symbols(vocabulary_path)
        self.num_letters = len(self.symbols)
        self.blank_index = self.symbols.index(BLANK)
        self._index_of_character = {
            " " if symbol == WORD_BOUNDARY else symbol: index
            for index, symbol in enumerate(self.symbols)
            if len(symbol) == 1
        }
        self.character_of_index = {
            index: character for character, index in self._index_of_character.items()
        }
        """What each index is in a text; special symbols, which are nothing there, are left out."""

    def encode(self, transcription: str) -> Int[Tensor, " letters"]:
        """The index of each letter; a letter outside the vocabulary is a ValueError."""
        for character in transcription:
            if character not in self._index_of_character:
                raise ValueError(
                    f"the letter {character!r} of the transcription {transcription!r} is not in "
                    f"the vocabulary: allowed are {''.join(self._index_of_character)!r}, so "
                    "correct the transcription or set vocabulary_path"
                )
        indices = [self._index_of_character[character] for character in transcription]
        return torch.tensor(indices, dtype=torch.int64)

    def decode(self, indices: Int[Tensor, " frames"]) -> str:
        """The text of one letter for each frame: greedy CTC decoding.

        Repeats are one letter, then blanks and other special symbols are dropped; words are
        separated by one space.
        """
        distinct = torch.unique_consecutive(indices).tolist()
        characters = (self.character_of_index.get(index, "") for index in distinct)
        return " ".join("".join(characters).split())

    def decode_words(self, indices: Int[Tensor, " frames"]) -> list[TimedWord]:
        """The words that `decode` gives, and at which frames their letters stand."""
        words: list[TimedWord] = []
        distinct, counts = torch.unique_consecutive(indices, return_counts=True)
        frame, is_inside = 0, False
        for index, num_frames in zip(distinct.tolist(), counts.tolist(), strict=True):
            character = self.character_of_index.get(index, "")
            end = frame + num_frames
            if character == " ":
                is_inside = False
            elif character and is_inside:
                word = words[-1]
                words[-1] = replace(word, text=word.text + character, end_frame=end)
            elif character:
                words.append(TimedWord(text=character, start_frame=frame, end_frame=end))
                is_inside = True
            frame = end
        return words

    def decode_batch(
        self, indices: Int[Tensor, "batch frames"], num_frames: Int[Tensor, " batch"]
    ) -> list[str]:
        """The text of each row, of which the first `num_frames[i]` letters are real."""
        rows = zip(indices.cpu(), num_frames.tolist(), strict=True)
        return [self.decode(row[:length]) for row, length in rows]
