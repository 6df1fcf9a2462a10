"""A tokenizer of subwords: the pieces of words that byte pair encoding has learned."""

from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from w2v2_mt.decoding.tokenizer import TOKENIZERS, Tokenizer
from w2v2_mt.decoding.vocabulary import (
    BLANK,
    PIECE_BOUNDARY,
    UNKNOWN,
    describe_letters,
    read_vocabulary,
)

_NUM_CACHED_WORDS = 1 << 16


@TOKENIZERS.register("bpe")
class SubwordTokenizer(Tokenizer):
    """A vocabulary of subwords, by byte pair encoding; "▁" begins a word, "<pad>" is the blank.

    A word is split into characters, and those two neighbors whose joined piece comes first in the
    vocabulary become one, until no joined piece is in it. These are the pieces of sentencepiece,
    which is only needed to learn a vocabulary: a checkpoint contains all of the model.

    Args:
        vocabulary_path: A JSON file {piece: index} in the order of merges, as `w2v2-mt prepare
            subwords` writes it.

    Sources: Sennrich et al., Neural machine translation of rare words with subword units, ACL 2016;
    Kudo and Richardson, SentencePiece, EMNLP 2018.
    """

    boundary = PIECE_BOUNDARY
    has_letters = False

    def __init__(self, *, vocabulary_path: str | None) -> None:
        path = Path(vocabulary_path or "")
        if not path.is_file():
            raise ValueError(
                f"vocabulary_path ({vocabulary_path}) must be a file. Run w2v2-mt prepare subwords "
                "to make one, since there is none for all corpora."
            )
        index_of = read_vocabulary(path, boundary=PIECE_BOUNDARY)
        symbols = sorted(index_of, key=index_of.__getitem__)
        text_of_token = {
            index: symbol.replace(PIECE_BOUNDARY, " ")
            for index, symbol in enumerate(symbols)
            if symbol not in (BLANK, UNKNOWN)
        }
        super().__init__(symbols=symbols, text_of_token=text_of_token, blank_index=index_of[BLANK])
        self._index_of_piece = {symbols[index]: index for index in text_of_token}
        self._indices_of_word: dict[str, list[int]] = {}

    def encode(self, transcription: str) -> Int[Tensor, " tokens"]:
        """Return the indices of the pieces; a letter outside the vocabulary is a ValueError."""
        indices: list[int] = []
        for word in transcription.split(" "):
            if word not in self._indices_of_word:
                if len(self._indices_of_word) == _NUM_CACHED_WORDS:
                    self._indices_of_word.clear()
                self._indices_of_word[word] = self._encode_word(word)
            indices += self._indices_of_word[word]
        return torch.tensor(indices, dtype=torch.int64)

    def _encode_word(self, word: str) -> list[int]:
        if not word:  # between two spaces
            return []
        if outside := [letter for letter in word if letter not in self._index_of_piece]:
            letters = (piece for piece in self._index_of_piece if len(piece) == 1)
            raise ValueError(
                f"The letter {outside[0]!r} of the word {word!r} must be in the vocabulary "
                f"{describe_letters(letters)}. Correct the transcription or set "
                "speech.tokenizer.vocabulary_path."
            )
        pieces = [PIECE_BOUNDARY, *word]
        while True:
            joined = [self._index_of_piece.get(left + right) for left, right in pairwise(pieces)]
            ranks = [(index, place) for place, index in enumerate(joined) if index is not None]
            if not ranks:
                return [self._index_of_piece[piece] for piece in pieces]
            _, place = min(ranks)
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
