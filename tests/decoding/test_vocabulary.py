import json
import re

import pytest

from w2v2_mt.decoding.subwords import SubwordTokenizer
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.decoding.vocabulary import letter_vocabulary, read_vocabulary, write_vocabulary

GOOD = {"<pad>": 0, "|": 1, "A": 2, "<unk>": 3}


def save(path, content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    "content",
    [GOOD, json.dumps(GOOD).encode("utf-8-sig"), {"[PAD]": 0, "|": 1, "A": 2, "<unk>": 3}],
    ids=["plain", "byte-order mark", "[PAD]"],
)
def test_a_vocabulary_is_read(tmp_path, content):
    assert read_vocabulary(tmp_path / save(tmp_path / "vocabulary.json", content)) == GOOD
    tokenizer = LetterTokenizer(vocabulary_path=str(tmp_path / "vocabulary.json"))
    assert tokenizer.symbols == list(GOOD)
    assert tokenizer.blank_index == 0
    assert tokenizer.encode("A A").tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (["<pad>", "|", "A"], """must be one JSON object, not ["<pad>", "|", "A"]"""),
        (None, "must be one JSON object, not null"),
        ({}, "must be one JSON object, not an empty object"),
        (b"", "must be JSON (Expecting value"),
        (b"[" * 100_000, "must be JSON ("),
        ({"eng": GOOD}, "must give each symbol an integer, not {"),
        (GOOD | {"B": None}, "must give each symbol an integer, not null ('B')"),
        (GOOD | {"B": True}, "not true ('B')"),
        (GOOD | {"B": "4"}, """not "4" ('B')"""),
        (GOOD | {"B": 4.0}, "not 4.0 ('B')"),
        (b'{"<pad>": 0, "|": 1, "A": 2, "A": 3}', "the symbol 'A' occurs twice"),
        (json.dumps(GOOD).encode("utf-16"), "must be in UTF-8 ("),
        ('{"é": 0}'.encode("latin-1"), "must be in UTF-8 ("),
        (GOOD | {"B": 2}, "must differ, but 'A', 'B' have the same (2)"),
        (GOOD | {"B": -1}, "4 is missing and -1 is outside 0 to 4"),
        (GOOD | {"B": 9}, "4 is missing and 9 is outside 0 to 4"),
        (GOOD | {" ": 4}, "must not have the symbol ' ', as '|' is the boundary"),
        (GOOD | {"": 4}, "must not have the symbol ''"),
        (GOOD | {"\n": 4}, r"must not have the symbol '\n'"),
        ({"<pad>": 0, " ": 1, "A": 2}, "must have the symbol '|'. Add it in place of the space."),
        (GOOD | {"CH": 4, "TH": 5}, "but 'CH', 'TH' are not"),
        ({"PAD": 0, "|": 1, "A": 2}, "must have the symbol '<pad>'"),
    ],
)
def test_another_file_is_refused_with_its_name(tmp_path, content, problem):
    path = save(tmp_path / "vocabulary.json", content)
    with pytest.raises(ValueError, match=re.escape(problem)) as error:
        LetterTokenizer(vocabulary_path=path)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_a_vocabulary_of_the_other_kind_is_named(tmp_path):
    subwords = {"<pad>": 0, "<unk>": 1, "\u2581A": 2, "\u2581": 3, "A": 4}
    path = save(tmp_path / "bpe_vocabulary.json", subwords)
    with pytest.raises(
        ValueError, match=r"must have the symbol '\|'.* or set speech/tokenizer=bpe"
    ):
        LetterTokenizer(vocabulary_path=path)
    path = save(tmp_path / "vocabulary.json", GOOD)
    with pytest.raises(ValueError, match="the symbol '\u2581'.* or set speech/tokenizer=default"):
        SubwordTokenizer(vocabulary_path=path)


def test_a_large_vocabulary_of_chinese_characters_is_read(tmp_path):
    characters = [chr(0x4E00 + index) for index in range(6_000)]
    write_vocabulary(tmp_path / "vocabulary.json", letter_vocabulary(characters))
    tokenizer = LetterTokenizer(vocabulary_path=str(tmp_path / "vocabulary.json"))
    assert tokenizer.num_tokens == 6_003
    assert tokenizer.decode(tokenizer.encode("\u4e00\u4e01 \u4e02")) == "\u4e00\u4e01 \u4e02"
    with pytest.raises(ValueError, match="and 5941 more") as error:
        tokenizer.encode("A")
    assert len(str(error.value)) < 500
