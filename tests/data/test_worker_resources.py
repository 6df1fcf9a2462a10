"""Shared memory, temporary files and open files of DataLoader workers."""

import subprocess
import sys
from functools import partial

import pytest

from w2v2_mt.data.worker_resources import WorkerDemand, find_shortages

DEMAND = WorkerDemand(
    num_workers=2, train_num_samples=1 << 20, eval_num_samples=1 << 18, num_evaluations=3
)


def test_the_demand_counts_batches_that_wait_or_are_in_use():
    # Two workers with two batches each, and two batches that have arrived; 4 bytes per sample.
    assert DEMAND.train_bytes == 6 * 4 * (1 << 20)
    assert DEMAND.eval_bytes == 6 * 4 * (1 << 18)
    # 4 DataLoaders with one pipe, and for each worker a pipe and a sign of its end; 6 waveforms.
    assert DEMAND.num_files == 4 * (2 + 2 * 3) + 6


def test_a_shared_memory_that_is_too_small_is_reported_with_both_sizes(monkeypatch, tmp_path):
    find = partial(find_shortages, [DEMAND, DEMAND], shared_memory=tmp_path, max_num_files=10_000)
    free = type("Status", (), {"f_frsize": 1 << 20, "f_bavail": 54})
    monkeypatch.setattr("os.statvfs", lambda path: free)
    assert list(find(num_processes=1)) == []
    (sentence,) = find(num_processes=2)
    assert sentence.startswith("DataLoader workers may need 108 MiB of shared memory, but ")
    assert f"{tmp_path} has 54 MiB left" in sentence
    assert "--shm-size=8g" in sentence


def test_a_limit_of_open_files_that_is_too_low_is_reported():
    find = partial(find_shortages, [DEMAND], num_processes=1)
    assert list(find(max_num_files=138)) == []
    (sentence,) = find(max_num_files=137)
    assert sentence.startswith("DataLoader workers may need 138 open files, but this process may ")
    assert "`ulimit -n 65536`" in sentence


def test_a_run_without_workers_needs_nothing(monkeypatch):
    monkeypatch.setattr("os.statvfs", lambda path: pytest.fail("asked"))
    alone = WorkerDemand(
        num_workers=0, train_num_samples=1 << 40, eval_num_samples=1 << 40, num_evaluations=3
    )
    assert alone.train_bytes == alone.num_files == 0
    assert list(find_shortages([alone], num_processes=1, max_num_files=1)) == []


def test_a_folder_of_temporary_files_whose_path_is_too_long_is_refused(monkeypatch, tmp_path):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: str(folder))
    with pytest.raises(ValueError, match=r"the folder of temporary files \(.*xxx\) cannot be used"):
        list(find_shortages([DEMAND], num_processes=1))


SCRIPT = """
from torch.utils.data import IterableDataset
from w2v2_mt.data.loaders import StreamLoader

class OneThatCannotBePassedOn(IterableDataset):
    def __iter__(self):
        yield lambda: None

loader = StreamLoader(OneThatCannotBePassedOn(), num_workers=1, pin_memory=False)
next(iter(loader))
"""


@pytest.mark.integration
def test_a_worker_that_cannot_pass_on_a_batch_ends_instead_of_letting_the_run_wait():
    command = [sys.executable, "-c", SCRIPT]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 1
    assert "a DataLoader worker cannot pass on a batch (" in finished.stderr
    assert "exited unexpectedly" in finished.stderr
