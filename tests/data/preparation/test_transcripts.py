import re

import pytest

from w2v2_mt.data.preparation.transcripts import parse_transcripts


def test_each_line_is_an_utterance_and_its_words() -> None:
    content = b"1-2-0000 THE CAT'S HAT\n\n1-2-0001  TWO  SPACES \r\n"
    assert parse_transcripts(content, source="x") == {
        "1-2-0000": "THE CAT'S HAT",
        "1-2-0001": "TWO SPACES",
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"1-2-0000 THE cat", "the character 'c' in 1-2-0000; only the letters A to Z"),
        (b"1-2-0000 TWO-WAY", "the character '-'"),
        (b"1-2-0000 A|B", "the character '|'"),
        ("1-2-0000 CAFÉ".encode(), "the character 'É'"),
        ("1-2-0000 CAFÉ".encode("latin-1"), "the character '\ufffd'"),
        (b"1-2-0000 \n", "no words for 1-2-0000"),
    ],
)
def test_what_the_vocabulary_cannot_spell_is_refused(content: bytes, complaint: str) -> None:
    message = f"^a.tar.gz: b.trans.txt has .*{re.escape(complaint)}"
    with pytest.raises(ValueError, match=message):
        parse_transcripts(content, source="a.tar.gz: b.trans.txt")
