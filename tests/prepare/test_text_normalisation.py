# ruff: noqa: RUF001 (characters of other scripts are what is tested)
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2v2_mt.prepare.text_normalisation import TextNormalisation, read_replacements


def upper(text: str, **options) -> str:
    return TextNormalisation(case="upper", **options)(text)


def lower(text: str, **options) -> str:
    return TextNormalisation(case="lower", **options)(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "HELLO WORLD"),
        ("  two\t spaces\u00a0here\r\n", "TWO SPACES HERE"),
        ("It's \u2018quoted\u2019, isn\u2019t it?", "IT'S QUOTED ISN'T IT"),
        ("the dogs' bones; 'tis rock 'n' roll", "THE DOGS BONES TIS ROCK N ROLL"),
        ("well-known and/or new\u2014old", "WELL KNOWN AND OR NEW OLD"),
        ("wait...what (really)?", "WAIT WHAT REALLY"),
        ("7 of 9 cost $3.50", "7 OF 9 COST 3 50"),
        ("a|b", "A B"),
        ("\U0001f600 smile \u2764\ufe0f", "SMILE"),
    ],
)
def test_punctuation_and_symbols_separate_words(text: str, expected: str) -> None:
    assert upper(text) == expected


def test_german_is_written_in_the_chosen_case_and_with_the_chosen_letters() -> None:
    text = "Die Straße – „schön“ & weiß."
    assert lower(text) == "die straße schön weiß"
    assert upper(text) == "DIE STRASSE SCHÖN WEISS"
    assert upper(text, replacements={"ß": "\u1e9e", "&": " und "}) == "DIE STRAẞE SCHÖN UND WEIẞ"
    assert lower(text, replacements={"ß": "ss"}) == "die strasse schön weiss"


def test_chinese_is_joined_where_punctuation_was() -> None:
    keep = TextNormalisation(case="keep")
    assert keep("你好，世界！") == "你好世界"
    assert keep("「他」说：“ＯＫ，再见。”") == "他说 OK 再见"
    assert keep("我 爱 你") == "我 爱 你"
    assert TextNormalisation(case="keep", replacements={" ": ""})("我 爱 你") == "我爱你"
    assert keep("コンピュータ・ゲーム、ｶﾞﾗｽ") == "コンピュータゲームガラス"


def test_turkish_needs_replacements() -> None:
    assert upper("ilgi ısı") == "ILGI ISI"
    assert upper("ilgi ısı", replacements={"i": "İ"}) == "İLGİ ISI"
    assert lower("İLGİ ISI", replacements={"İ": "i", "I": "ı"}) == "ilgi ısı"
    # Without them, lower case of the dotted capital is an i with a second dot.
    assert lower("İ") == "i\u0307"


def test_combining_marks_are_composed_and_stay_with_their_letter() -> None:
    assert lower("Cafe\u0301 Zu\u0308rich") == "café zürich"
    assert upper("\u0390") == unicodedata.normalize("NFC", "\u0399\u0308\u0301")
    assert lower("हिन्दी में") == "हिन्दी में"


@pytest.mark.parametrize(
    "invisible", ["\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060", "\u202e", "\x07"]
)
def test_invisible_characters_are_dropped_inside_words(invisible: str) -> None:
    assert lower(f"ze{invisible}ro") == "zero"


def test_an_invisible_character_can_be_replaced_by_a_space() -> None:
    assert TextNormalisation(case="keep", replacements={"\u200c": " "})("می\u200cروم") == "می روم"


def test_full_width_letters_and_digits_become_plain_ones() -> None:
    assert lower("ＡＢＣ\u3000１２３") == "abc 123"


def test_replacements_apply_to_the_longest_match_once() -> None:
    replacements = {"Dr.": "doctor", "D": "X", "a": "b", "b": "a"}
    assert lower("Dr. Dab", replacements=replacements) == "doctor xba"


def test_characters_can_be_kept() -> None:
    assert lower("Well-known, e-mail.", kept_characters="-") == "well-known e-mail"
    assert lower("the dogs' 'tis", kept_characters="'") == "the dogs' 'tis"
    assert (
        TextNormalisation(case="keep", punctuation="keep")("Hello,  world! a|b")
        == "Hello, world! a b"
    )


@pytest.mark.parametrize("characters", ["|", "- "])
def test_the_boundary_of_words_cannot_be_kept(characters: str) -> None:
    with pytest.raises(ValueError, match="which separates words"):
        TextNormalisation(case="keep", kept_characters=characters)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its text is empty"),
        (" \t", "its text is empty"),
        ("?!", r"its text \('\?!'\) is empty after normalisation"),
        ("caf\ufffd", r"U\+FFFD, which is written for a character that could not be decoded"),
        ("caf\udce9", r"U\+DCE9"),
    ],
)
def test_a_text_without_words_or_with_lost_characters_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        lower(text)


@given(st.text(), st.sampled_from(["upper", "lower", "keep"]), st.sampled_from(["remove", "keep"]))
def test_a_normalised_text_stays_as_it_is(text: str, case, punctuation) -> None:
    normalise = TextNormalisation(case=case, punctuation=punctuation)
    try:
        once = normalise(text)
    except ValueError:
        return
    assert normalise(once) == once
    assert "|" not in once
    assert once == " ".join(once.split())


def test_replacements_are_read_from_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "mapping.tsv"
    path.write_bytes("\ufeffß\tss\r\n&\t and \r\n\r\n«\t\r\n#\tnumber\n".encode())
    assert read_replacements(path) == {"ß": "ss", "&": " and ", "«": "", "#": "number"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ß ss\n", r"line 1 \('ß ss'\) must be a text, one tab"),
        ("a\tb\n\tc\n", "line 2"),
        ("a\tb\tc\n", "line 1"),
        ("a\tb\na\tc\n", "line 2: 'a' must have one replacement, but has 'b' and 'c'"),
    ],
)
def test_a_wrong_line_of_replacements_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mapping.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_replacements(path)


def test_replacements_must_be_a_file_in_utf_8(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--replacements \(.*nowhere\) must be a file"):
        read_replacements(tmp_path / "nowhere")
    (tmp_path / "latin").write_bytes(b"\xdf\tss\n")
    with pytest.raises(ValueError, match="must be in UTF-8"):
        read_replacements(tmp_path / "latin")


def test_metadata_names_what_decides_a_text() -> None:
    normalise = TextNormalisation(case="lower", replacements={"b": "c", "a": ""})
    assert normalise.metadata() == {
        "case": "lower",
        "punctuation": "remove",
        "kept_characters": "",
        "replacements": {"a": "", "b": "c"},
    }
