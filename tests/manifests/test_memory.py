"""Memory per line: a million lines take less than 1 GiB; `benchmarks/manifest.py` reads as many."""

import os
import tracemalloc
from pathlib import Path

import pytest

from tests.helpers.manifests import FORMS
from w2v2_mt.manifests.manifest import Manifest, read_manifest

NUM_LINES = 600
MAX_BYTES_PER_LINE = 900
"""A text of 80 characters and a path of 25 are 160 of them."""


@pytest.fixture
def entries(tmp_path: Path) -> list[dict[str, str]]:
    (tmp_path / "first").touch()
    made = []
    for number in range(NUM_LINES):
        path = f"speaker_{number % 50:03d}_{number:08d}.wav"
        os.link(tmp_path / "first", tmp_path / path)
        text = f"{number:08d} " + "and so on " * 7
        made.append({"path": path, "text": text, "speaker": f"speaker_{number % 50:03d}"})
    return made


def peak_bytes_per_line(path: Path) -> tuple[Manifest, float]:
    read_manifest(path)  # The checks of types are compiled at the first call.
    tracemalloc.start()
    manifest = read_manifest(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return manifest, peak / NUM_LINES


@pytest.mark.parametrize("form", ["csv", "nemo", "kaldi", "lhotse"])
def test_a_million_lines_fit_into_a_gibibyte(
    tmp_path: Path, entries: list[dict[str, str]], form: str
) -> None:
    manifest, num_bytes = peak_bytes_per_line(FORMS[form](tmp_path, entries))
    assert len(manifest.recordings) == NUM_LINES
    assert num_bytes < MAX_BYTES_PER_LINE


def test_metadata_that_recur_are_stored_once(tmp_path: Path, entries: list[dict[str, str]]) -> None:
    for number, each in enumerate(entries):
        each |= {"age": str(number % 5), "accent": "north", "device": "phone"}
    for form in ("csv", "jsonl"):
        manifest = read_manifest(FORMS[form](tmp_path, entries))
        assert manifest.recordings[9].metadata == {"age": "4", "accent": "north", "device": "phone"}
        assert len({id(each.metadata) for each in manifest.recordings}) == 5


def test_a_million_wrong_lines_are_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("w2v2_mt.manifests.manifest._MAX_REJECTIONS", 100)
    (tmp_path / "a.wav").touch()
    path = tmp_path / "mine.csv"
    path.write_text("path,text\na.wav,x\n" + "none.wav,x\n" * 100)
    assert len(read_manifest(path).rejections) == 100
    with path.open("a") as file:
        file.write("none.wav,x\n")
    message = r"mine\.csv: more than 100 lines cannot be used\. The first is mine\.csv, line 3: 'n"
    with pytest.raises(ValueError, match=message):
        read_manifest(path)
