"""Subwords are learned by sentencepiece, and encoded as it would."""

from io import BytesIO
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from tests.helpers.shard_files import write_librispeech_shards
from w2v2_mt.app.commands import main
from w2v2_mt.decoding.subwords import SubwordTokenizer
from w2v2_mt.decoding.vocabulary import letter_vocabulary, write_vocabulary
from w2v2_mt.prepare import subwords
from w2v2_mt.prepare.subwords import count_words, learn_subwords

TEXTS = [
    "the cat sat on the mat",
    "the hat is that of the other cat",
    "otters and others gather in the weather",
    "die straße führt über die größte brücke",
    "我们的天气很好 我们的朋友很好",
] * 3


@pytest.fixture(scope="module")
def symbols() -> list[str]:
    return learn_subwords(count_words(TEXTS), num_tokens=90)


@pytest.fixture(scope="module")
def tokenizer(symbols: list[str], tmp_path_factory: pytest.TempPathFactory) -> SubwordTokenizer:
    path = tmp_path_factory.mktemp("subwords") / "bpe_vocabulary.json"
    write_vocabulary(path, symbols)
    return SubwordTokenizer(vocabulary_path=str(path))


def test_words_are_counted() -> None:
    assert count_words(["a b  a", "", "b a"]) == {"a": 3, "b": 2}


def test_a_vocabulary_has_special_tokens_then_merges_then_characters(symbols: list[str]) -> None:
    assert symbols[:2] == ["<pad>", "<unk>"]
    assert len(symbols) == len(set(symbols)) == 90
    assert "▁the" in symbols
    lengths = [len(symbol) > 1 for symbol in symbols[2:]]
    assert lengths == sorted(lengths, reverse=True)
    letters = set("".join(TEXTS)) - {" "} | {"▁"}
    assert {symbol for symbol in symbols if len(symbol) == 1} == letters


def test_the_order_of_words_does_not_change_a_byte(symbols: list[str]) -> None:
    texts = Random(3).sample(TEXTS, len(TEXTS))
    assert learn_subwords(count_words(texts), num_tokens=90) == symbols


def test_letters_of_other_transcripts_can_be_added(symbols: list[str]) -> None:
    more = learn_subwords(count_words(TEXTS), num_tokens=92, letters="XY the")
    assert set(more) - set(symbols) == {"X", "Y"}


def test_only_the_most_frequent_words_are_learned_from(monkeypatch) -> None:
    words = count_words(["aa aa aa", "bb bb", "cc"])
    monkeypatch.setattr(subwords, "MAX_NUM_WORDS", 2)
    symbols = learn_subwords(words, num_tokens=10)
    assert {"▁aa", "▁bb"} < set(symbols)
    assert [symbol for symbol in symbols if "c" in symbol] == ["c"]


@pytest.mark.parametrize(
    ("texts", "num_tokens", "message"),
    [
        (["ab ab"], 4, r"--num_tokens \(4\) must be at least 5, for 2 characters"),
        (
            ["ab ab"],
            1000,
            r"--num_tokens \(1000\) must be at most \d+, for 1 different word\.",
        ),
        (["  "], 10, "must have words to learn subwords from"),
        (["a▁b"], 10, "must not have the character '▁'"),
    ],
)
def test_a_vocabulary_that_cannot_be_learned_is_refused(
    texts: list[str], num_tokens: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        learn_subwords(count_words(texts), num_tokens=num_tokens)


def reference() -> SentencePieceProcessor:
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=90,
        character_coverage=1.0,
        normalization_rule_name="identity",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return SentencePieceProcessor(model_proto=model.getvalue())


REFERENCE = reference()
LETTERS = "".join(sorted(set("".join(TEXTS))))


@given(st.text(alphabet=LETTERS + "aeht  ", max_size=40))
def test_a_text_has_the_pieces_of_sentencepiece(tokenizer: SubwordTokenizer, text: str) -> None:
    pieces = [tokenizer.symbols[index] for index in tokenizer.encode(text)]
    assert pieces == REFERENCE.encode(text, out_type=str)
    blanks = torch.full((len(pieces), 1), tokenizer.blank_index)
    frames = torch.cat([tokenizer.encode(text)[:, None], blanks], dim=1).flatten()
    assert tokenizer.decode(frames) == " ".join(text.split())


def test_letter_vocabularies_are_in_the_order_of_code_points(tmp_path: Path) -> None:
    symbols = letter_vocabulary("".join(TEXTS))
    assert symbols[:5] == ["<pad>", "<unk>", "|", "a", "b"]
    assert symbols[3:] == sorted(set("".join(TEXTS)) - {" "})
    with pytest.raises(ValueError, match=r"must not have the character '\|'"):
        letter_vocabulary("a|b")


def test_a_command_learns_from_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_librispeech_shards(tmp_path, num_utterances=6)
    shards, output = tmp_path / "librispeech_shards", tmp_path / "new" / "bpe_vocabulary.json"
    folders = [str(shards / "train_clean_100"), str(shards / "train_clean_360")]
    command = ["prepare", "subwords", *folders, "--num_tokens", "40", "--output", str(output)]
    command += ["--letters_from", str(shards / "dev_clean")]
    assert main(command) == 0
    assert "has 40 tokens from " in capsys.readouterr().out
    tokenizer = SubwordTokenizer(vocabulary_path=str(output))
    assert tokenizer.num_tokens == 40
    content = output.read_bytes()
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
    output.unlink()
    assert main(command) == 0
    assert output.read_bytes() == content
