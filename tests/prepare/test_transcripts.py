import pytest

from w2v2_mt.prepare.librispeech_utterances import parse_transcripts


def test_each_line_is_an_utterance_and_its_words() -> None:
    content = b"1-2-0000 THE CAT'S HAT\n\n1-2-0001  TWO  SPACES \r\n"
    assert parse_transcripts(content, chapter="1/2") == (
        {"1/2/0000": "THE CAT'S HAT", "1/2/0001": "TWO SPACES"},
        {},
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"1-2-0000 THE cat", "the character 'c' of its transcription is not a letter from A to Z"),
        (b"1-2-0000 ROOM 5", "the character '5'"),
        (b"1-2-0000 TWO-WAY", "the character '-'"),
        (b"1-2-0000 A|B", "the character '|'"),
        ("1-2-0000 CAFÉ".encode(), "the character 'É'"),
        ("1-2-0000 CAFÉ".encode("latin-1"), "the character '\ufffd'"),
        (b"1-2-0000 \n", "it has no words"),
    ],
)
def test_what_the_vocabulary_cannot_spell_is_reported(content: bytes, complaint: str) -> None:
    transcriptions, errors = parse_transcripts(content + b"\n1-2-0001 YES", chapter="1/2")
    assert transcriptions == {"1/2/0001": "YES"}
    assert list(errors) == ["1/2/0000"]
    assert errors["1/2/0000"].startswith(complaint)


@pytest.mark.parametrize("second", ["YES", "NO", "ROOM 5"])
def test_two_lines_of_one_utterance_are_reported(second: str) -> None:
    content = f"1-2-0000 YES\n1-2-0001 GOOD\n1-2-0000 {second}".encode()
    transcriptions, errors = parse_transcripts(content, chapter="1/2")
    assert transcriptions == {"1/2/0001": "GOOD"}
    assert errors["1/2/0000"].startswith("it has two lines in the transcript")


def test_a_line_of_another_chapter_is_reported() -> None:
    transcriptions, errors = parse_transcripts(b"1-3-0000 YES", chapter="1/2")
    assert not transcriptions
    assert errors == {"1/3/0000": "its line is in the transcript of the chapter 1/2."}


@pytest.mark.parametrize("character", "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r\x1f\xa0\u3000")
def test_only_a_line_feed_ends_a_line(character: str) -> None:
    content = f"1-2-0000 ONE HALF{character}THE OTHER\r\n1-2-0001 YES\n".encode()
    transcriptions, errors = parse_transcripts(content, chapter="1/2")
    assert transcriptions == {"1/2/0001": "YES"}
    assert errors["1/2/0000"].startswith(f"the character {character!r}")


@pytest.mark.parametrize("rest", ["THE OTHER HALF", "1-3-0000 YES", "\x85THE"])
def test_a_line_of_no_utterance_rejects_the_one_before_it(rest: str) -> None:
    content = f"1-2-0000 GOOD\n1-2-0001 ONE HALF\n\n{rest}\n1-2-0002 YES\n".encode()
    transcriptions, errors = parse_transcripts(content, chapter="1/2")
    assert transcriptions == {"1/2/0000": "GOOD", "1/2/0002": "YES"}
    assert "may be the rest of its sentence" in errors.pop("1/2/0001")
    assert list(errors) == (["1/3/0000"] if rest.startswith("1-3") else [])
