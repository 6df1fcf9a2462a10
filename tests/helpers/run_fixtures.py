import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest

from tests.golden.runs import replace_settings
from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards
from tests.helpers.small_networks import save_architecture
from tests.helpers.warm_commands import WarmCommand
from w2v2_mt.app.run import run
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.validation import check_settings

SMALL_BATCHES = {
    "train_speech": [
        "speech.dataloader.train_max_num_samples=60_000",
        "speech.dataloader.max_queue_size=8",
    ],
    "train_speaker": [
        "speaker.dataloader.train_batch_size=4",
        "speaker.pipeline.selector_train.desired_chunk_length_sec=0.5",
    ],
}
SCRIPTS = {
    "train_speech": "run_speech.py",
    "train_speaker": "run_speaker.py",
    "train_mt_speaker_speech": "run_mt_speech_speaker.py",
}
SMALL_BATCHES["train_mt_speaker_speech"] = [
    *SMALL_BATCHES["train_speech"],
    *SMALL_BATCHES["train_speaker"],
]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with small shards of LibriSpeech, VoxCeleb1 and VoxCeleb2."""
    folder = tmp_path_factory.mktemp("data")
    write_librispeech_shards(folder, num_utterances=6, max_num_words=2)
    write_voxceleb_shards(folder, max_samples=12_000)
    return folder


@pytest.fixture(scope="session")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a wav2vec2 config of four narrow layers."""
    return save_architecture(str(tmp_path_factory.mktemp("architecture")), "base")


@pytest.fixture
def small_overrides(data_folder: Path, architecture: str, tmp_path: Path) -> Callable[..., list]:
    """A command line of a few steps with more overrides, which replace those of the same key."""

    def overrides(config_name: str, *more: str) -> list[str]:
        few_steps = [
            f"data_folder={data_folder}",
            f"log_folder={tmp_path}",
            "gpus=0",
            "num_workers=0",
            f"network.wav2vec_huggingface_id={architecture}",
            "network.reset_weights=true",
            "network.use_gradient_checkpointing=false",
            "trainer.max_steps=2",
            "trainer.val_check_interval=2",
            "trainer.log_every_n_steps=1",
            "trainer.enable_progress_bar=false",
            # That of every CPU.
            "trainer.precision=32-true",
            *SMALL_BATCHES[config_name],
        ]
        return replace_settings(few_steps, more)

    return overrides


@pytest.fixture
def small_config(small_overrides: Callable[..., list[str]]) -> Callable[..., dict[str, Any]]:
    """The settings of a run of a few steps, after the check."""

    def config(config_name: str, *more: str) -> dict[str, Any]:
        folder = str(PROJECT_FOLDER / "config")
        with hydra.initialize_config_dir(folder, version_base="1.3"):
            composed = hydra.compose(config_name, small_overrides(config_name, *more))
        return check_settings(composed)

    return config


@pytest.fixture
def start_command(small_overrides: Callable[..., list[str]]) -> Callable[..., WarmCommand]:
    """Starts a run or a sweep of a few steps in a folder, with more overrides behind it."""

    def start(
        folder: Path, config_name: str, *more: str, is_sweep: bool = False, **options: Any
    ) -> WarmCommand:
        place = f"hydra.{'sweep' if is_sweep else 'run'}.dir={folder}"
        arguments = small_overrides(config_name, place, *more)
        return WarmCommand(
            [SCRIPTS[config_name], *(["-m"] if is_sweep else []), *arguments],
            cwd=PROJECT_FOLDER,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            **options,
        )

    return start


@pytest.fixture
def run_command(start_command: Callable[..., WarmCommand]) -> Callable[..., str]:
    """The same to its end, which has to be a good one; gives what was printed."""

    def run(folder: Path, config_name: str, *more: str) -> str:
        process = start_command(folder, config_name, *more)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, output + errors
        return output

    return run


@pytest.fixture
def train(small_config: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Path]:
    """Trains a network for two steps; returns its checkpoint."""

    def trained(config_name: str, *overrides: str, kind: str = "base") -> Path:
        architecture = save_architecture(str(tmp_path / "architecture"), kind)
        config = small_config(
            config_name,
            f"network.wav2vec_huggingface_id={architecture}",
            "eval_model=false",
            *overrides,
        )
        run(config, config_name=config_name, folder=tmp_path / "run", overrides=())
        shutil.rmtree(architecture)
        return tmp_path / "run" / "checkpoints" / "best.ckpt"

    return trained


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """The superuser may write and read everything, so here he is somebody else."""
    nobody, is_superuser = 65534, os.geteuid() == 0
    if is_superuser:
        os.seteuid(nobody)
    yield
    if is_superuser:
        os.seteuid(0)
