"""The table that ends the demo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "demo_table.py"
METRICS = {"test_wer_clean": 0.125, "test_wer_other": 0.25, "test_eer_o": 0.0625}


def table_of(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)


def write_metrics(folder: Path, metrics: dict[str, float]) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_rates_are_shown_in_per_cent_with_the_place_of_the_report_and_the_time(tmp_path):
    write_metrics(tmp_path, METRICS)
    (tmp_path / "demo_duration_sec").write_text("605\n")
    result = table_of(tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for name, rate in (("test-clean", "12.5 %"), ("test-other", "25.0 %"), ("speakers", "6.2 %")):
        assert any(name in line and rate in line for line in lines)
    assert f"Report: {tmp_path}/report/index.html" in lines
    assert "Total time: 10 min 05 s" in lines


def test_the_demo_with_real_speech_has_a_row_for_each_task(tmp_path):
    write_metrics(tmp_path, {"test_wer_words": 0.3, "test_eer_words": 0.2})
    result = table_of(tmp_path)
    assert result.returncode == 0, result.stderr
    assert any("word error rate" in x and "30.0 %" in x for x in result.stdout.splitlines())
    assert any("equal error rate" in x and "20.0 %" in x for x in result.stdout.splitlines())
    write_metrics(tmp_path, {"test_wer_words": 0.3})
    assert "has no test_eer_words; run the demo" in table_of(tmp_path).stderr


@pytest.mark.parametrize("name", ["demo[lr_grid]", "demo[/red]", "demo:a:"])
def test_the_name_of_the_folder_is_printed_as_it_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir(parents=True)
    write_metrics(Path(name), METRICS)
    result = table_of(Path(name))
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert f"Demo: {name}" in lines
    assert f"Report: {name}/report/index.html" in lines


@pytest.mark.parametrize("name", METRICS)
def test_a_run_without_a_result_is_one_sentence(tmp_path, name):
    write_metrics(tmp_path, {other: rate for other, rate in METRICS.items() if other != name})
    result = table_of(tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: {tmp_path}/metrics.json has no {name}; run the demo with eval_model=true.\n"
    )
