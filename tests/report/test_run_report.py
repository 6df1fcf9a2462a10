import json
import re

import pytest

from tests.helpers.page_reading import Page
from w2v2_mt.report.page import page_title
from w2v2_mt.report.pictures import draw_picture
from w2v2_mt.report.run_report import write_report


def text_of(folder):
    return write_report(folder).path.read_text(encoding="utf-8")


def page_of(folder):
    return Page(text_of(folder))


def test_the_page_fetches_and_runs_nothing(run_folder):
    text = text_of(run_folder)
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("#") for address in page.addresses)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.findall(r"url\((?!#)", text)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in text


def test_no_two_elements_share_an_id_across_pictures(run_folder):
    pictures = re.findall(r"<svg .*?</svg>", text_of(run_folder), flags=re.DOTALL)
    ids = [set(re.findall(r' id="([^"]*)"', picture)) for picture in pictures]
    assert sum(map(len, ids)) == len(set.union(*ids))
    for picture, own in zip(pictures, ids, strict=True):
        assert set(re.findall(r'(?:="|url\()#([^")]*)', picture)) <= own


def test_pictures_are_also_written_as_files(run_folder):
    report = write_report(run_folder)
    assert report.path == run_folder / "report" / "index.html"
    names = [
        "training_loss",
        "word_error_rate",
        "equal_error_rate",
        "learning_rate",
        "det",
        "scores_e",
        "scores_o",
        "errors_by_duration_clean",
        "errors_by_speaker_clean",
    ]
    assert [picture.name for picture in report.pictures] == names
    text = report.path.read_text(encoding="utf-8")
    for picture in report.pictures:
        assert (report.path.parent / f"{picture.name}.png").read_bytes() == picture.png
        assert picture.png.startswith(b"\x89PNG")
        assert picture.svg in text
    # 40,000 trials and curves of 2,000 steps are drawn with as many points as can be seen.
    assert len(text) < 500_000


@pytest.mark.parametrize(
    ("kind", "name", "title"),
    [
        ("Run", "run", "Run"),
        ("Run", "run_3", "Run_3"),
        ("Run", "4", "Run 4"),
        ("Sweep", "sweep", "Sweep"),
        ("Sweep", "grid", "Sweep grid"),
        ("Run", "", "Run"),
    ],
)
def test_a_title_does_not_repeat_the_kind(kind, name, title):
    assert page_title(kind, name) == title


def test_the_page_shows_run_result_and_settings(run_folder):
    page = page_of(run_folder)
    assert "Run swift-owl-0001" in page.texts
    commit = json.loads((run_folder / "environment.json").read_text())["git_commit"]
    assert any(f"commit {commit[:12]}" in text and "seed 5, cpu" in text for text in page.texts)
    assert "tag='<b>x</b>'\noptim.algo.lr=1e-4" in page.texts
    row = page.texts.index("12.35")
    assert page.texts[row - 1 : row + 2] == ["clean", "12.35", "10.00 to 15.00"]
    row = page.texts.index("Character errors by speaker, clean")
    assert page.texts.index("20.00", row) < page.texts.index("5.00", row)
    row = page.texts.index("5.00")
    assert page.texts[row - 1 : row + 2] == ["o", "5.00", "4.00 to 6.25"]
    assert any("<script>alert(1)</script>" in text for text in page.texts)
    assert not any("The run failed" in text for text in page.texts)


def test_edits_are_marked_in_the_words_of_the_reference(run_folder):
    text = text_of(run_folder)
    assert "84/1/0: 1 error, 3 words in the reference</p><p>A &amp; <del>B</del>" in text
    assert "<del>B</del> <ins>&lt;B&gt;</ins></p>" in text


def test_only_utterances_with_errors_are_among_those_with_most(run_folder):
    lines = "key\treference\thypothesis\n1/1/1\tA B\tA B\n1/1/2\tA B\tA\n"
    (run_folder / "transcripts_clean.tsv").write_text(lines)
    page = page_of(run_folder)
    most = page.texts.index("Most errors, clean")
    sample = page.texts.index("Random sample, clean")
    assert [text for text in page.texts[most:sample] if "in the reference" in text] == [
        "1/1/2: 1 error, 2 words in the reference"
    ]
    assert [text for text in page.texts[sample:] if "in the reference" in text] == [
        "1/1/1: 0 errors, 2 words in the reference",
        "1/1/2: 1 error, 2 words in the reference",
    ]


def test_a_run_that_has_just_begun_has_a_report(run_folder):
    for path in run_folder.iterdir():
        if path.name not in ("config.yaml", "overrides", "environment.json"):
            path.unlink()
    page = page_of(run_folder)
    assert page.headings == ["Settings"]
    assert "There is no test result (nothing was logged yet)." in page.texts


def test_a_failed_run_shows_its_error(run_folder):
    (run_folder / "metrics.json").unlink()
    (run_folder / "error.txt").write_text("Traceback:\n  x\nValueError: <too> much\n")
    page = page_of(run_folder)
    assert "The run failed (logged to step 3999): ValueError: <too> much" in page.texts
    assert "Training" in page.headings
    assert "Result" not in page.headings


@pytest.mark.parametrize(
    ("missing", "heading"), [("scores_*", "Speakers"), ("transcripts_*", "Transcripts")]
)
def test_a_run_of_one_task_has_nothing_of_the_other(run_folder, missing, heading):
    assert heading in page_of(run_folder).headings
    for path in run_folder.glob(missing):
        path.unlink()
    assert heading not in page_of(run_folder).headings


def test_a_list_without_both_kinds_of_trials_is_reported(run_folder):
    (run_folder / "scores_o.txt").write_text("1 0.5 a b\n")
    page = page_of(run_folder)
    (note,) = [text for text in page.texts if text.startswith("List o has no picture:")]
    assert "none of 1 trial has the label different" in note


def test_a_report_can_be_made_again(run_folder):
    first = text_of(run_folder)
    old = draw_picture("old", "Old", lambda axes: None)
    (run_folder / "report" / "old.png").write_bytes(old.png)
    (run_folder / "report" / "copy.png").write_bytes(old.png)
    (run_folder / "report" / "slide.png").write_bytes(b"of the user")
    assert text_of(run_folder) == first
    assert not (run_folder / "report" / "old.png").exists()
    assert (run_folder / "report" / "copy.png").read_bytes() == old.png
    assert (run_folder / "report" / "slide.png").read_bytes() == b"of the user"
