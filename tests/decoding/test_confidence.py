import math

import pytest
import torch

from w2v2_mt.decoding.confidence import greedy_confidence
from w2v2_mt.decoding.tokenizer import LetterTokenizer


@pytest.fixture
def tokenizer() -> LetterTokenizer:
    return LetterTokenizer(vocabulary_path=None)


def confidence(tokenizer: LetterTokenizer, frames: list[tuple[str, float]]) -> float:
    indices = [tokenizer.symbols.index(symbol) for symbol, _ in frames]
    tokens = torch.tensor(indices, dtype=torch.int64)
    log_probabilities = torch.tensor([math.log(p) for _, p in frames])
    return greedy_confidence(tokens, log_probabilities, tokenizer=tokenizer)


def test_each_token_counts_with_its_best_frame(tokenizer: LetterTokenizer) -> None:
    frames = [("<pad>", 0.1), ("A", 0.5), ("A", 0.9), ("<pad>", 0.2), ("A", 0.4), ("B", 0.8)]
    assert confidence(tokenizer, frames) == pytest.approx((0.9 * 0.4 * 0.8) ** (1 / 3))


def test_blanks_and_special_tokens_do_not_count(tokenizer: LetterTokenizer) -> None:
    frames = [("<unk>", 0.1), ("<pad>", 0.3), ("E", 0.7), ("|", 0.7), ("<s>", 0.2)]
    assert confidence(tokenizer, frames) == pytest.approx(0.7)


@pytest.mark.parametrize("frames", [[], [("<pad>", 0.99)]])
def test_a_transcript_without_tokens_has_no_confidence(tokenizer: LetterTokenizer, frames) -> None:
    assert confidence(tokenizer, frames) == 0
