"""A checkpoint claims sizes and types; memory stays bounded, and the answer is one sentence."""

import zipfile
from pathlib import Path

import pytest
import torch

from tests.security.conftest import MULTI_TASK
from w2v2_mt.app.main import run_trusting
from w2v2_mt.training.callbacks.best_checkpoint import MovableCheckpoint

HUGE = 2**40

RECORDS = {
    "speakers": lambda record: record.update(num_speakers=HUGE),
    "explicit speakers": lambda record: record["config"]["network"].update(
        explicit_num_speakers=HUGE
    ),
    "centres": lambda record: record["config"]["network"].update(num_subcentres=HUGE),
    "tokens": lambda record: record.update(vocabulary=record["vocabulary"] * 2),
    "width": lambda record: record["architecture"].update(hidden_size=2**20),
    "layers": lambda record: record["architecture"].update(num_hidden_layers=HUGE),
    "convolutions": lambda record: record["architecture"].update(conv_dim=[2**16] * 7),
    "text": lambda record: record["architecture"].update(hidden_size="large"),
    "no config": lambda record: record.pop("config"),
    "config": lambda record: record.update(config=[]),
    "no network": lambda record: record["config"].pop("network"),
    "network": lambda record: record["config"].update(network=None),
    "no tokenizer": lambda record: record["config"]["speech"].update(tokenizer="default"),
    "pipeline": lambda record: record["config"].update(speech={"pipeline": []}),
    "metrics": lambda record: record.update(metrics={"val_eer": "low"}),
    "vocabulary": lambda record: record.update(vocabulary=[["a"]]),
    "circle": lambda record: record["config"]["network"].update(regularisation="${network}"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_claims_too_much_is_a_sentence(name, write_checkpoint, refusal, tone):
    refusal("predict", write_checkpoint(RECORDS[name]), tone)


def test_a_weight_that_repeats_one_number_is_refused(write_checkpoint, refusal, tone):
    def expand(content):
        content["state_dict"] = {"network.a": torch.zeros(1).expand(HUGE)}

    checkpoint = write_checkpoint(change_all=expand)
    assert "network.a has more values than are stored" in refusal("predict", checkpoint, tone)


@pytest.mark.parametrize("weight", [1, None, "text", torch.zeros(2, 2).to_sparse()])
def test_a_weight_that_is_not_a_tensor_is_refused(write_checkpoint, refusal, tone, weight):
    def put(content):
        content["state_dict"] = {"network.a": weight}

    refusal("predict", write_checkpoint(change_all=put), tone)


def test_a_checkpoint_that_unpacks_to_more_is_refused(write_checkpoint, refusal, tone, tmp_path):
    packed = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(write_checkpoint()) as old, zipfile.ZipFile(packed, "w", 8) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    assert "is corrupt or not a checkpoint" in refusal("predict", packed, tone)


@pytest.mark.parametrize("payload", ["pickle", "torch"])
def test_a_pickle_that_runs_a_command_is_refused(
    write_checkpoint, refusal, traps, tone, tmp_path, payload
):
    checkpoint = tmp_path / "theirs.ckpt"
    content = f"cos\nsystem\n(S{traps.command!r}\ntR.".encode()
    if payload == "pickle":
        checkpoint.write_bytes(content)
    else:
        with zipfile.ZipFile(checkpoint, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
    assert "is corrupt or not a checkpoint" in refusal("predict", checkpoint, tone)


@pytest.mark.parametrize("path", ["/thesis/..", "/", "a/b/.."])
def test_the_best_checkpoint_of_a_state_must_be_a_file(path, tmp_path):
    callback = MovableCheckpoint(monitor="val_eer")
    callback.dirpath = str(tmp_path)
    state = {**callback.state_dict(), "best_k_models": {path: torch.tensor(0.5)}}
    with pytest.raises(ValueError, match="must be a file"):
        callback.load_state_dict(state)


def test_resuming_in_the_folder_of_somebody_else_runs_no_code(
    traps, watched, small_config, tmp_path
):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    last: Path = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(f"cos\nsystem\n(S{traps.command!r}\ntR.".encode())
    config = small_config(MULTI_TASK)
    with watched(), pytest.raises(ValueError, match="is corrupt or not a checkpoint"):
        run_trusting(config=config, config_name=MULTI_TASK, folder=folder, overrides=[])
