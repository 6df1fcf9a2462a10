import re
from pathlib import Path

import pytest

from w2v2_mt.prepare.statistics import round_ticks, write_statistics


def page_of(folder: Path, **sets: dict[str, list[float]]) -> str:
    """The page of sets, from the durations in seconds of the utterances of each speaker."""
    for name, speakers in sets.items():
        (folder / name).mkdir(exist_ok=True)
        rows = [
            f"{speaker}/{number}\t{speaker}\t{16_000 * duration_sec:.0f}\n"
            for speaker, durations_sec in speakers.items()
            for number, duration_sec in enumerate(durations_sec)
        ]
        text = "key\tspeaker\tnum_samples\n" + "".join(rows)
        (folder / name / "utterances.tsv").write_text(text)
    folders = {name: folder / name for name in sets}
    write_statistics(folder / "statistics.html", title="A & B", sets=folders)
    return (folder / "statistics.html").read_text()


def test_the_table_says_what_is_in_each_set(tmp_path: Path) -> None:
    page = page_of(tmp_path, train={"a": [3600], "b": [1800, 7200]})
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells == ["train", "3", "2", "3.50", "1800.00 s", "3600.00 s", "7200.00 s"]
    assert "<h1>A &amp; B</h1>" in page


def test_each_set_has_two_pictures_and_nothing_is_fetched(tmp_path: Path) -> None:
    page = page_of(tmp_path, train={"a": [1.0], "b": [2.0]}, val={"a": [1.0], "b": [2.0]})
    assert page.count("<svg") == 4
    assert not re.findall(r"src=|href=|url\(", page)


def test_bars_are_as_high_as_their_counts(tmp_path: Path) -> None:
    page = page_of(tmp_path, train={"a": [1.0, 1.0, 1.0, 2.0]})
    bars = re.findall(r"class='bars' d='([^']*)'", page)[0]
    # 40 bars from 60 to 420, so each is 9 wide; from 230 up to 34 for the highest count, 3.
    assert bars.startswith("M60 230V34.0H69.0V230.0H78.0")
    assert bars.endswith("V230.0H411.0V164.7H420.0V230Z")


def test_ticks_are_round_and_lie_inside() -> None:
    assert round_ticks(0, 23) == [0, 5, 10, 15, 20]
    assert round_ticks(1.27, 35.0) == [10, 20, 30]
    assert round_ticks(15.5, 16.5) == pytest.approx([15.6, 15.8, 16.0, 16.2, 16.4])


def test_the_same_sets_make_the_same_bytes(tmp_path: Path) -> None:
    train = {"a": [*range(1, 20)], "b": [*range(20, 24)]}
    assert page_of(tmp_path, train=train) == page_of(tmp_path, train=train)
