import csv

import pytest

from w2v2_mt.runs.run_folder import read_rows
from w2v2_mt.training.curves_logger import CurvesLogger

KEPT = [{"step": "0", "train_loss": "3.0"}, {"step": "1", "train_loss": "2.0"}]


def write_rows(folder):
    table = CurvesLogger(folder)
    for row in KEPT:
        table.log_metrics({"train_loss": float(row["train_loss"])}, step=int(row["step"]))
    table.save()


class Killed(BaseException):
    pass


@pytest.fixture
def kill_while_writing(monkeypatch):
    """From the call on, a run is killed when it has written the first row of a table."""

    def begin():
        def writerows(writer, rows):
            writer.writerow(next(iter(rows)))
            raise Killed

        monkeypatch.setattr(csv.DictWriter, "writerows", writerows)

    return begin


def test_a_run_killed_while_a_column_is_added_loses_no_row(tmp_path, kill_while_writing):
    write_rows(tmp_path)
    table = CurvesLogger(tmp_path, num_steps_done=2)
    table.log_metrics({"val_eer": 0.25}, step=2)
    kill_while_writing()
    with pytest.raises(Killed):
        table.save()
    assert read_rows(tmp_path / "metrics.csv") == KEPT


def test_a_run_killed_while_it_keeps_earlier_rows_loses_none(tmp_path, kill_while_writing):
    write_rows(tmp_path)
    kill_while_writing()
    with pytest.raises(Killed):
        CurvesLogger(tmp_path, num_steps_done=1)
    assert read_rows(tmp_path / "metrics.csv") == KEPT


def test_a_new_column_is_empty_in_earlier_rows(tmp_path):
    write_rows(tmp_path)
    table = CurvesLogger(tmp_path, num_steps_done=2)
    table.log_metrics({"val_eer": 0.25}, step=2)
    table.save()
    assert read_rows(tmp_path / "metrics.csv") == [
        *({**row, "val_eer": ""} for row in KEPT),
        {"step": "2", "train_loss": "", "val_eer": "0.25"},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("cut", ["1", "12", "12,1", "12,1.5"])
def test_an_unfinished_last_line_is_not_a_row(tmp_path, cut):
    path = tmp_path / "metrics.csv"
    path.write_text(f"step,train_loss\r\n0,3.0\r\n1,2.0\r\n{cut}")
    assert read_rows(path) == KEPT
