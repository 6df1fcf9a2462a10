"""A test finds the same in batches, one by one, with more readers and in more processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers import one_testing_process
from tests.helpers.one_testing_process import found
from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards

ROOT = Path(__file__).parents[2]
BATCHES = {"eval_max_num_samples": 640_000, "val_batch_size": None}

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(scope="module", params=["tones", "real speech"])
def data_folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    if request.param == "tones":
        write_librispeech_shards(folder)
        write_voxceleb_shards(folder)
        return folder
    archives = request.getfixturevalue("shared_folder") / "data"
    for name in ("librispeech", "voxceleb_archives", "voxceleb_meta"):
        (folder / name).symlink_to(archives / name)
    for corpus, options in (
        ("librispeech", ["--subsets", "test-clean", "--limit", "40"]),
        ("voxceleb1", ["--num_workers", "0"]),
    ):
        command = [sys.executable, "-m", "w2v2_mt", "prepare", corpus, "--data_folder", str(folder)]
        subprocess.run([*command, *options], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def in_batches(data_folder, tmp_path_factory):
    return found(tmp_path_factory.mktemp("batches"), data_folder, batch=BATCHES)


def assert_same(one, other):
    keys = [key for key, *_ in one["transcripts"]]
    assert keys == sorted(set(keys))
    assert one["transcripts"] == other["transcripts"]
    assert one["scores"].keys() == other["scores"].keys() == {"o", "val", "o_1.2s", "val_1.2s"}
    for name, scores in one["scores"].items():
        torch.testing.assert_close(other["scores"][name], scores, atol=1e-4, rtol=0)
    assert one["embeddings"].keys() == {"test", "test_1.2s", "cohort"}
    torch.testing.assert_close(other["embeddings"], one["embeddings"], atol=1e-4, rtol=0)
    assert one["metrics"].keys() == other["metrics"].keys()
    for name, value in one["metrics"].items():
        exact = name.startswith(("test_eer", "test_wer", "test_cer"))
        assert other["metrics"][name] == (value if exact else pytest.approx(value, abs=1e-4))


def test_there_is_something_to_compare(in_batches):
    hypotheses = {hypothesis for *_, hypothesis in in_batches["transcripts"]}
    assert len(hypotheses) > len(in_batches["transcripts"]) / 2
    for name, scores in in_batches["scores"].items():
        assert len(scores.unique()) > len(scores) / 2
        assert 0 < in_batches["metrics"][f"test_eer_{name}"] < 1


def test_batches_find_what_batches_of_one_find(in_batches, data_folder, tmp_path):
    one_by_one = {"eval_max_num_samples": 640_000, "val_batch_size": 1}
    assert_same(in_batches, found(tmp_path, data_folder, batch=one_by_one))


def test_two_readers_find_what_one_finds(in_batches, data_folder, tmp_path):
    assert_same(in_batches, found(tmp_path, data_folder, batch=BATCHES, num_workers=2))


def test_two_processes_find_what_one_finds(in_batches, data_folder, tmp_path):
    path = os.pathsep.join(str(ROOT / part) for part in ("src", ".", "tests", "tests/models"))
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                one_testing_process.__file__,
                *(str(rank), "2", str(tmp_path), str(data_folder)),
            ],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "OMP_NUM_THREADS": "1",
                # By these, Lightning knows that it need not start the other one.
                "TORCHELASTIC_RUN_ID": "test",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": "0",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    for rank in range(2):
        assert_same(in_batches, torch.load(tmp_path / f"found_by_{rank}.pt", weights_only=True))
