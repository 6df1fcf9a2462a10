import base64
import json
from html.parser import HTMLParser

import pytest

from w2v2_mt.app.record import write_metrics, write_setting
from w2v2_mt.app.report import write_report

CSV = """epoch,step,train_loss_step,train_speech_loss,val_wer_mine,val_eer,lr-Adam
0,0,3.5,,,,1e-5
0,1,2.5,,,,2e-5
0,1,,,0.75,0.25,
"""


class Page(HTMLParser):
    """What a browser would fetch for a page, and the text of its cells and headings."""

    def __init__(self, text: str):
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def run_folder(tmp_path):
    """What a run leaves before its report is made."""
    config = {"seed": 5, "gpus": 0, "tag": "<script>alert(1)</script>"}
    folder = tmp_path / "swift-owl-0001"
    write_setting(folder, config=config, overrides=[])
    (folder / "metrics.csv").write_text(CSV)
    metrics = {"test_wer_clean": 0.123456, "tested_checkpoint": None, "tested_step": 2}
    write_metrics(folder, metrics)
    rows = [f"84/1/{number}\tA & B {number}\tA <B>" for number in range(30)]
    (folder / "transcripts_clean.tsv").write_text("\n".join(["key\treference\thypothesis", *rows]))
    return folder


def test_the_page_needs_no_other_file(run_folder):
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert page.fetched
    assert all(address.startswith("data:image/png;base64,") for address in page.fetched)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_pictures_are_those_of_what_was_logged_and_lie_in_the_page(run_folder):
    path = write_report(run_folder)
    assert path == run_folder / "report" / "index.html"
    names = ["training_loss", "word_error_rate", "equal_error_rate", "learning_rate"]
    pictures = [path.parent / f"{name}.png" for name in names]
    assert {picture.name for picture in path.parent.glob("*.png")} == {
        picture.name for picture in pictures
    }
    embedded = [base64.b64decode(text.split(",")[1]) for text in Page(path.read_text()).fetched]
    assert embedded == [picture.read_bytes() for picture in pictures]
    assert all(content.startswith(b"\x89PNG") for content in embedded)


def test_the_page_tells_result_transcripts_and_settings(run_folder):
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert "Run swift-owl-0001" in page.texts
    position = page.texts.index("test_wer_clean")
    assert page.texts[position : position + 2] == ["test_wer_clean", "0.1235"]
    assert "2" in page.texts[page.texts.index("tested_step") + 1]
    # The first ten, with what html would take for its own shown as it was written.
    assert "A & B 0" in page.texts
    assert "A & B 9" in page.texts
    assert "A & B 10" not in page.texts
    assert any("<script>alert(1)</script>" in text for text in page.texts)
    commit = json.loads((run_folder / "environment.json").read_text())["git_commit"]
    assert any(f"commit {commit[:12]}, seed 5, cpu" in text for text in page.texts)


def test_a_run_that_only_tests_has_a_report_without_curves(run_folder):
    (run_folder / "metrics.csv").unlink()
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert page.fetched == []
    assert "Result" in page.texts


def test_a_run_without_a_test_has_a_report_without_a_result(run_folder):
    (run_folder / "metrics.json").unlink()
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert "Result" not in page.texts
    assert len(page.fetched) == 4


def test_a_report_can_be_made_again(run_folder):
    first = write_report(run_folder).read_text(encoding="utf-8")
    assert write_report(run_folder).read_text(encoding="utf-8") == first
