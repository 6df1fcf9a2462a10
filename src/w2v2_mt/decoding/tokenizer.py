"""Tokenizers: from a transcription to CTC targets, and from CTC output to text."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from w2v2_mt.core.registry import Registry
from w2v2_mt.decoding.vocabulary import BLANK, WORD_BOUNDARY, describe_letters, read_vocabulary

__all__ = ["BLANK", "TOKENIZERS", "WORD_BOUNDARY", "LetterTokenizer", "TimedWord", "Tokenizer"]


@dataclass(frozen=True, kw_only=True)
class TimedWord:
    """A word, from its first frame to before the frame `end_frame`."""

    text: str
    start_frame: int
    end_frame: int


class Tokenizer(ABC):
    """A vocabulary of tokens, of which each adds its text to a transcription.

    Args:
        symbols: The symbol of each token.
        text_of_token: The text of each token, by its index; a space ends a word. Special tokens,
            which add nothing, are not in it.
        blank_index: The index of the blank of CTC.
    """

    boundary: ClassVar[str] = WORD_BOUNDARY
    """The part of a symbol that is written for a space."""

    has_letters: ClassVar[bool] = True
    """The tokens of a transcription are those of its letters, one by one."""

    def __init__(
        self, *, symbols: Sequence[str], text_of_token: dict[int, str], blank_index: int
    ) -> None:
        self.symbols = list(symbols)
        self.text_of_token = text_of_token
        self.blank_index = blank_index

    @property
    def num_tokens(self) -> int:
        """The size of the vocabulary."""
        return len(self.symbols)

    @property
    def special_symbols(self) -> list[str]:
        """The symbols that add nothing to a text, such as the blank."""
        return [each for i, each in enumerate(self.symbols) if i not in self.text_of_token]

    @abstractmethod
    def encode(self, transcription: str) -> Int[Tensor, " tokens"]:
        """Return the indices of the tokens; text outside the vocabulary is a ValueError."""

    def decode(self, indices: Int[Tensor, " frames"]) -> str:
        """Return the text of the best token of each frame: greedy CTC decoding.

        Repeats are merged, then blanks and other special tokens are dropped. One space separates
        words.
        """
        distinct = torch.unique_consecutive(indices).tolist()
        return " ".join("".join(self.text_of_token.get(index, "") for index in distinct).split())

    def decode_words(self, indices: Int[Tensor, " frames"]) -> list[TimedWord]:
        """Return the words of `decode` and their frames."""
        distinct, counts = torch.unique_consecutive(indices, return_counts=True)
        text, frame, frames_of_character = "", 0, []
        for index, num_frames in zip(distinct.tolist(), counts.tolist(), strict=True):
            part = self.text_of_token.get(index, "")
            text += part
            frames_of_character += len(part) * [range(frame, frame + num_frames)]
            frame += num_frames
        return [
            TimedWord(
                text=word[0],
                start_frame=frames_of_character[word.start()].start,
                end_frame=frames_of_character[word.end() - 1].stop,
            )
            for word in re.finditer(r"\S+", text)
        ]

    def decode_batch(
        self, indices: Int[Tensor, "batch frames"], num_frames: Int[Tensor, " batch"]
    ) -> list[str]:
        """Return the text of each row, of which the first `num_frames[i]` frames are valid."""
        rows = zip(indices.cpu(), num_frames.tolist(), strict=True)
        return [self.decode(row[:length]) for row, length in rows]


TOKENIZERS: Registry[type[Tokenizer]] = Registry("tokenizer", setting="speech/tokenizer")


@TOKENIZERS.register("default")
class LetterTokenizer(Tokenizer):
    """A vocabulary of letters; a space is the symbol "|", and the blank of CTC is "<pad>".

    Args:
        vocabulary_path: A JSON file {symbol: index}, as `read_vocabulary` reads it. None: the
            vocabulary of facebook/wav2vec2-base-960h, which is shipped with this package.
    """

    def __init__(self, *, vocabulary_path: str | None) -> None:
        shipped = files("w2v2_mt.data") / "vocabulary.json"
        path = shipped if vocabulary_path is None else Path(vocabulary_path)
        if not path.is_file():
            raise ValueError(
                f"vocabulary_path ({path}) must be a file. Set it to one, or to null for the "
                "vocabulary of this project."
            )
        index_of = read_vocabulary(Path(str(path)))
        symbols = sorted(index_of, key=index_of.__getitem__)
        text_of_token = {
            index: " " if symbol == WORD_BOUNDARY else symbol
            for index, symbol in enumerate(symbols)
            if len(symbol) == 1
        }
        super().__init__(symbols=symbols, text_of_token=text_of_token, blank_index=index_of[BLANK])
        self._index_of_letter = {letter: index for index, letter in text_of_token.items()}

    def encode(self, transcription: str) -> Int[Tensor, " tokens"]:
        """Return the index of each letter; a letter outside the vocabulary is a ValueError."""
        try:
            indices = [self._index_of_letter[letter] for letter in transcription]
        except KeyError as error:
            letters = describe_letters(self._index_of_letter)
            raise ValueError(
                f"The letter {error.args[0]!r} of the transcription {transcription!r} must be in "
                f"the vocabulary {letters}. Correct the transcription or set "
                "speech.tokenizer.vocabulary_path."
            ) from None
        return torch.tensor(indices, dtype=torch.int64)
