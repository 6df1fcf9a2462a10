"""The text of tables: encodings, line ends, quotes, and lines that are not rows."""

import gzip
from pathlib import Path

import pytest

from tests.manifests.conftest import ReadCsv
from w2v2_mt.core.limits import MAX_LINE_BYTES
from w2v2_mt.manifests import lines as lines_module
from w2v2_mt.manifests.lines import read_lines
from w2v2_mt.manifests.manifest import read_manifest

PLAIN = "path,text\na.wav,grün\nb.wav,\u65e9\n"


def test_a_byte_order_mark_is_skipped(read_csv: ReadCsv) -> None:
    assert read_csv(PLAIN.encode("utf-8-sig")) == read_csv(PLAIN)
    assert [each.text for each in read_csv(PLAIN).recordings] == ["grün", "早"]


def test_line_ends_of_windows_are_no_part_of_a_text(read_csv: ReadCsv) -> None:
    assert read_csv(PLAIN.replace("\n", "\r\n")) == read_csv(PLAIN)
    quoted = 'path,text\r\na.wav,"x"\r\nb.wav,"y, z"\r\n'
    assert [each.text for each in read_csv(quoted).recordings] == ["x", "y, z"]


def test_the_last_line_may_have_no_end_and_blank_lines_are_skipped(read_csv: ReadCsv) -> None:
    found = read_csv("\npath,text\n\na.wav,x\n  \nb.wav,y")
    assert [each.line for each in found.recordings] == ["mine.csv, line 4", "mine.csv, line 6"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused(read_csv: ReadCsv, encoding: str) -> None:
    with pytest.raises(ValueError, match="mine.csv is in UTF-16, or is not text. Save it as UTF-8"):
        read_csv(PLAIN.encode(encoding))


def test_another_encoding_is_refused_with_its_line(read_csv: ReadCsv) -> None:
    with pytest.raises(ValueError, match="mine.csv, line 3: byte 0xfc is not UTF-8. Save the file"):
        read_csv("path,text\na.wav,x\nb.wav,grün\n".encode("latin-1"))


def test_quotes_hold_commas_quotes_and_line_feeds(read_csv: ReadCsv) -> None:
    found = read_csv(
        'path,text,speaker\n"a.wav","one, ""two""",anna\nb.wav,"three\n\nfour",bo\n'
        'sub/c.wav,5" pipe,bo\n'
    )
    assert found.rejections == []
    assert [(each.text, each.line) for each in found.recordings] == [
        ('one, "two"', "mine.csv, line 2"),
        ("three\n\nfour", "mine.csv, line 3"),
        ('5" pipe', "mine.csv, line 6"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        'x.wav,"never closed',
        'x.wav,"closed" too early',
        'x.wav,"one "two" three"',
        'x.wav,one,"two',
    ],
)
def test_a_wrong_quote_takes_no_other_line_with_it(read_csv: ReadCsv, line: str) -> None:
    text = f'path,text\n{line}\na.wav,x\nb.wav,"y\nz"\nsub/c.wav,"w"\n'
    found = read_csv(text)
    assert [each.text for each in found.recordings] == ["x", "y\nz", "w"]
    (rejection,) = found.rejections
    assert rejection.file == "mine.csv, line 2"
    assert rejection.reason.startswith("its quotes are not those of a table")


def test_every_line_with_an_open_quote_is_rejected_alone(read_csv: ReadCsv) -> None:
    rows = "".join(f'x{number}.wav,"open {number}\n' for number in range(500))
    found = read_csv(f"path,text\na.wav,x\n{rows}b.wav,y\n")
    assert len(found.rejections) + len(found.recordings) == 502
    assert {each.key for each in found.recordings} == {"a", "b"}


def test_a_text_with_a_bare_comma_is_rejected(read_csv: ReadCsv) -> None:
    found = read_csv("path,text\na.wav,well, yes\nb.wav,y\n")
    assert [each.reason for each in found.rejections] == [
        "it has 3 fields, and the headings have 2. A text with ',' in it must be in double quotes."
    ]
    assert [each.key for each in found.recordings] == ["b"]


def test_the_tab_separates_where_headings_have_one(read_csv: ReadCsv) -> None:
    found = read_csv("path\ttext\na.wav\twell, yes\nb.wav\tno; yes\n", name="mine.csv")
    assert [each.text for each in found.recordings] == ["well, yes", "no; yes"]


def test_characters_that_end_lines_elsewhere_are_part_of_a_text(read_csv: ReadCsv) -> None:
    text = "a\u2028b\u0085c\x0bd\re"
    (found,) = read_csv(f'path,text\na.wav,"{text}"\n').recordings
    assert found.text == text


def test_a_nul_character_is_rejected(read_csv: ReadCsv) -> None:
    found = read_csv('path,text,speaker\na.wav,x,s\nb.wav,a\0b,\nsub/c.wav,,a\0b\n\0,x,\n"\0",x,\n')
    assert [each.key for each in found.recordings] == ["a"]
    reasons = [each.reason for each in found.rejections]
    assert reasons[0] == "its text holds a NUL character."
    assert reasons[1] == "its speaker 'a\\x00b' holds a character that cannot be printed."
    assert "'\\x00' holds a character that no name of a file can have" in reasons[2]
    assert len(reasons) == 4


def test_a_huge_line_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"path,text\na.wav,x\n")
        for _ in range(64):
            file.write(bytes([120]) * (1 << 20))
    with pytest.raises(ValueError, match="line 3: more than 4 MiB in one line; a manifest has one"):
        read_manifest(path)
    assert MAX_LINE_BYTES == 4 << 20


def test_a_huge_manifest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_MANIFEST_BYTES", 3 << 20)
    path = tmp_path / "mine.csv"
    path.write_bytes((b"x" * 1023 + b"\n") * (3 << 10))
    assert sum(1 for _ in read_lines(path)) == 3 << 10
    with path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ValueError, match=r"line 3073: more than 3 MiB in all; a manifest has one"):
        list(read_lines(path))


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(gzip.compress(b"path,text\n" + bytes(range(32, 127)) * 999)[:-9])
    with pytest.raises(
        ValueError, match=r"mine.csv.gz is corrupt or truncated .*Get the file agai"
    ):
        list(read_lines(path))


def test_many_columns_are_refused(read_csv: ReadCsv) -> None:
    with pytest.raises(ValueError, match="mine.csv has 5001 columns; at most 1000 are read"):
        read_csv("path" + ",x" * 5000 + "\n")


def test_long_headings_are_abridged_in_messages(read_csv: ReadCsv) -> None:
    names = ",".join(f"{number:03d}" * 30 for number in range(500))
    with pytest.raises(ValueError, match="has no column 'path'") as error:
        read_csv(names + "\n")
    assert len(str(error.value)) < 1000
    assert ", ..." in str(error.value)
