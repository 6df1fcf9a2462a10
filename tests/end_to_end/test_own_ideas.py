"""Ideas in a folder outside of the repository, used from the command line by their dotted paths."""

import json
import os
import subprocess
import sys

import pytest
import soundfile

from tests.helpers.run_fixtures import SCRIPTS
from tests.helpers.small_networks import save_architecture
from tests.losses.test_own_weighting import OWN_MODULE
from tests.models.test_own_classes import ADAPTERS, POOLING, UPSTREAM
from tests.settings.test_own_classes import MY_LAB
from w2v2_mt.settings.environment import PROJECT_FOLDER

OWN_IDEAS = [
    "network.stat_pooling_type=my_lab.pooling.TopK",
    "+network.top_k=3",
    "network.sharing_ways=[my_lab.adapters.Adapters]",
    "+network.adapter_dim=4",
    "network.upstream_kind=my_lab.upstream.MyUpstream",
    # A weighting, and a method that changes the gradients of the tasks.
    "optim.loss.scale_method=my_lab.weighting.Mine,my_lab.weighting.OnlyFirst",
    "+optim.loss.my_parameter=2.0",
    "optim/schedule=constant",
    "optim.schedule._target_=my_lab.Sawtooth",
    "+optim.schedule.period=4",
    "speech.tokenizer._target_=my_lab.Pairs",
    "+speech.tokenizer.vowels=AEIOU",
]


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory):
    """A folder with the package my_lab and an architecture that only its upstream reads."""
    folder = tmp_path_factory.mktemp("lab")
    modules = {
        "__init__": MY_LAB,
        "pooling": POOLING,
        "adapters": ADAPTERS,
        "upstream": UPSTREAM,
        "weighting": OWN_MODULE,
    }
    (folder / "my_lab").mkdir()
    for name, text in modules.items():
        (folder / "my_lab" / f"{name}.py").write_text(text)
    save_architecture(str(folder / "architecture"), "base")
    config = folder / "architecture" / "config.json"
    config.write_text(config.read_text().replace('"wav2vec2"', '"my-wav2vec2"'))
    return folder


def run_in_lab(lab_folder, *command):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=PROJECT_FOLDER,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(lab_folder), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_ideas_outside_of_the_repository_train_and_are_trusted_by_name_afterwards(
    lab_folder, small_overrides, tmp_path
):
    sweep = run_in_lab(
        lab_folder,
        SCRIPTS["train_mt_speaker_speech"],
        "-m",
        *small_overrides(
            "train_mt_speaker_speech",
            f"network.wav2vec_huggingface_id={lab_folder / 'architecture'}",
            f"hydra.sweep.dir={tmp_path / 'sweep'}",
            *OWN_IDEAS,
        ),
    )
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    for number in ("0", "1"):
        metrics = json.loads((tmp_path / "sweep" / number / "metrics.json").read_text())
        assert metrics["tested_step"] == 2
        assert 0 <= metrics["val_eer"] <= 1

    soundfile.write(tmp_path / "tone.wav", [0.1, -0.1] * 8_000, 16_000)
    predict = (
        "scripts/predict.py",
        tmp_path / "sweep/0/checkpoints/best.ckpt",
        tmp_path / "tone.wav",
    )
    refused = run_in_lab(lab_folder, *predict)
    assert refused.returncode == 1
    assert "--trust my_lab" in refused.stderr
    trusted = run_in_lab(lab_folder, *predict, "--trust", "my_lab")
    assert trusted.returncode == 0, trusted.stderr
