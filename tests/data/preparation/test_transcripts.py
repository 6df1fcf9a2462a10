import pytest

from w2v2_mt.data.preparation.transcripts import parse_transcripts


def test_each_line_is_an_utterance_and_its_words() -> None:
    content = b"1-2-0000 THE CAT'S HAT\n\n1-2-0001  TWO  SPACES \r\n"
    assert parse_transcripts(content, chapter="1/2") == (
        {"1/2/0000": "THE CAT'S HAT", "1/2/0001": "TWO SPACES"},
        {},
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"1-2-0000 THE cat", "the character 'c' of its transcription is none of the letters A"),
        (b"1-2-0000 ROOM 5", "the character '5'"),
        (b"1-2-0000 TWO-WAY", "the character '-'"),
        (b"1-2-0000 A|B", "the character '|'"),
        ("1-2-0000 CAFÉ".encode(), "the character 'É'"),
        ("1-2-0000 CAFÉ".encode("latin-1"), "the character '\ufffd'"),
        (b"1-2-0000 \n", "it has no words"),
    ],
)
def test_what_the_vocabulary_cannot_spell_is_told(content: bytes, complaint: str) -> None:
    transcriptions, errors = parse_transcripts(content + b"\n1-2-0001 YES", chapter="1/2")
    assert transcriptions == {"1/2/0001": "YES"}
    assert list(errors) == ["1/2/0000"]
    assert errors["1/2/0000"].startswith(complaint)


@pytest.mark.parametrize("second", ["YES", "NO", "ROOM 5"])
def test_two_lines_of_one_utterance_are_told(second: str) -> None:
    content = f"1-2-0000 YES\n1-2-0001 GOOD\n1-2-0000 {second}".encode()
    transcriptions, errors = parse_transcripts(content, chapter="1/2")
    assert transcriptions == {"1/2/0001": "GOOD"}
    assert errors["1/2/0000"].startswith("it has two lines in the transcript")


def test_a_line_of_another_chapter_is_told() -> None:
    transcriptions, errors = parse_transcripts(b"1-3-0000 YES", chapter="1/2")
    assert not transcriptions
    assert errors == {"1-3-0000": "its line stands in the transcript of the chapter 1/2."}
