import json
from pathlib import Path

import pytest
import torch

from w2v2_mt.decoding.tokenizer import LetterTokenizer


@pytest.fixture
def tokenizer() -> LetterTokenizer:
    return LetterTokenizer(vocabulary_path=None)


def test_the_shipped_vocabulary_is_the_one_of_wav2vec2_base_960h(
    tokenizer: LetterTokenizer,
) -> None:
    order = "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z"
    assert tokenizer.symbols == order.split()
    assert tokenizer.num_tokens == 32
    assert tokenizer.blank_index == 0


def test_tokens_are_encoded_by_their_place_in_the_vocabulary(tokenizer: LetterTokenizer) -> None:
    assert tokenizer.encode("IT'S A").tolist() == [10, 6, 27, 12, 4, 7]


@pytest.mark.parametrize("transcription", ["CAFÉ", "it", "A|B", "3 DOGS"])
def test_a_token_outside_the_vocabulary_is_named(
    tokenizer: LetterTokenizer, transcription: str
) -> None:
    outsider = next(c for c in transcription if c in "Éi|3")
    with pytest.raises(ValueError, match="must be in the vocabulary") as error:
        tokenizer.encode(transcription)
    assert repr(outsider) in str(error.value)
    assert repr(transcription) in str(error.value)


def test_decoding_collapses_repeats_then_drops_blanks(tokenizer: LetterTokenizer) -> None:
    # L L <pad> L O O | <pad> | <s> A <unk> </s> |
    indices = torch.tensor([15, 15, 0, 15, 8, 8, 4, 0, 4, 1, 7, 3, 2, 4])
    assert tokenizer.decode(indices) == "LLO A"


def test_decoding_nothing_but_blanks_is_an_empty_text(tokenizer: LetterTokenizer) -> None:
    assert tokenizer.decode(torch.zeros(7, dtype=torch.int64)) == ""
    assert tokenizer.decode(torch.zeros(0, dtype=torch.int64)) == ""


def test_decoding_undoes_encoding_with_blanks_between(tokenizer: LetterTokenizer) -> None:
    letters = tokenizer.encode("HELLO ZOO'S BALL")
    with_blanks = torch.stack([letters, torch.zeros_like(letters)], dim=1).flatten()
    assert tokenizer.decode(with_blanks) == "HELLO ZOO'S BALL"


def test_padding_frames_are_not_decoded(tokenizer: LetterTokenizer) -> None:
    rows = torch.stack([tokenizer.encode("ABCD"), tokenizer.encode("WXYZ")])
    assert tokenizer.decode_batch(rows, torch.tensor([2, 4])) == ["AB", "WXYZ"]


def test_another_vocabulary_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({"A": 0, "|": 1, "<pad>": 2}))
    tokenizer = LetterTokenizer(vocabulary_path=str(path))
    assert tokenizer.blank_index == 2
    assert tokenizer.decode(torch.tensor([0, 2, 0, 1, 0])) == "AA A"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"A": 0, "|": 1, "<pad>": 3}, "without a gap"),
        ({"A": 0, "|": 1}, "must have the symbol '<pad>'"),
        ({"A": 0, "<pad>": 1}, r"must have the symbol '\|'"),
    ],
)
def test_an_unusable_vocabulary_is_refused(
    tmp_path: Path, content: dict[str, int], message: str
) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        LetterTokenizer(vocabulary_path=str(path))


def test_a_missing_vocabulary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"vocabulary_path \(.*nowhere\.json\) must be a file"):
        LetterTokenizer(vocabulary_path=str(tmp_path / "nowhere.json"))


def test_words_have_the_times_of_their_tokens():
    tokenizer = LetterTokenizer(vocabulary_path=None)
    frames = ["|", "_", "H", "H", "_", "_", "I", "|", "|", "_", "A", "_", "A", "A", "|"]
    index_of = {"_": tokenizer.blank_index} | {s: i for i, s in enumerate(tokenizer.symbols)}
    indices = torch.tensor([index_of[frame] for frame in frames])
    words = tokenizer.decode_words(indices)
    assert [(word.text, word.start_frame, word.end_frame) for word in words] == [
        ("HI", 2, 7),
        ("AA", 10, 14),
    ]
    assert " ".join(word.text for word in words) == tokenizer.decode(indices)
    assert tokenizer.decode_words(indices[:2]) == []
