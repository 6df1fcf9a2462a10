"""The short runs whose losses, metrics, files and networks are frozen."""

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.golden.run_commands import run_commands
from tests.helpers.left_in_folder import depends_on_machine
from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards

GOLDEN_FOLDER = Path(__file__).resolve().parent
RUNS_FILE = GOLDEN_FOLDER / "runs.yaml"
RESULTS_FILE = GOLDEN_FOLDER / "run_results.json"

SPEECH, SPEAKER, BOTH = "run_speech.py", "run_speaker.py", "run_mt_speech_speaker.py"
SMALL_SPEECH_BATCHES = [
    "speech.dataloader.train_max_num_samples=60_000",
    "speech.dataloader.max_queue_size=8",
]
SMALL_SPEAKER_BATCHES = [
    "speaker.dataloader.train_batch_size=4",
    "speaker.pipeline.selector_train.desired_chunk_length_sec=0.5",
]
SMALL_BATCHES = {
    SPEECH: SMALL_SPEECH_BATCHES,
    SPEAKER: SMALL_SPEAKER_BATCHES,
    BOTH: [*SMALL_SPEECH_BATCHES, *SMALL_SPEAKER_BATCHES],
}

RELATIVE_TOLERANCE = 1e-4
"""Other processors add in another order, which 20 steps of training let grow."""
BOOTSTRAP_SUFFIXES = ("_low", "_high")
"""Ends of confidence intervals, which depend on what the bootstrap draws."""

Result = dict[str, Any]


def replace_settings(defaults: list[str], settings: Sequence[str]) -> list[str]:
    """Return settings, and the defaults of other keys before them: a command has each key once."""
    keys = {setting.lstrip("+").partition("=")[0] for setting in settings}
    return [*(each for each in defaults if each.partition("=")[0] not in keys), *settings]


def small_command(script: str, *settings: str) -> list[str]:
    """Return the command of a run of a small network on the data of `write_data`."""
    defaults = [
        "network.wav2vec_huggingface_id=tests/golden/architectures/wav2vec2-base",
        "network.reset_weights=true",
        "network.use_gradient_checkpointing=false",
        "network.completely_freeze_feature_extractor=false",
        "optim.algo.lr=1e-3",
        "num_workers=0",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        *SMALL_BATCHES[script],
    ]
    return [script, *replace_settings(defaults, settings)]


def write_data(folder: Path) -> None:
    """Write small shards of LibriSpeech, VoxCeleb1 and VoxCeleb2."""
    write_librispeech_shards(folder, num_utterances=6, max_num_words=2)
    write_voxceleb_shards(folder, max_samples=12_000)


def run_names() -> list[str]:
    """Return the names of all frozen runs."""
    return list(yaml.safe_load(RUNS_FILE.read_text()))


def perform_runs(folder: Path) -> dict[str, str]:
    """Perform all frozen runs, each in a folder of its name, and return what each printed."""
    write_data(folder / "data")
    commands = [
        small_command(
            script,
            *settings.split(),
            # That of every CPU.
            "trainer.precision=32-true",
            f"hydra.run.dir={folder / name}",
        )
        for name, (script, settings) in yaml.safe_load(RUNS_FILE.read_text()).items()
    ]
    outputs = run_commands(commands, data_folder=folder / "data", log_folder=folder / "logs")
    return dict(zip(run_names(), outputs, strict=True))


def read_result(folder: Path) -> Result:
    """Read from the folder of a run what must not change."""
    return {
        "logged": read_logged(folder),
        "metrics": read_metrics(folder),
        "files": read_files(folder),
        "state_dict": read_shapes(folder / "checkpoints" / "last.ckpt"),
    }


def read_logged(folder: Path) -> dict[str, dict[str, float]]:
    """Return what was logged, by name and step, but for the memory and the time that were taken."""
    logged: dict[str, dict[str, float]] = {}
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            step = row.pop("step")
            for name, value in row.items():
                if value and not depends_on_machine(name):
                    logged.setdefault(name, {})[step] = float(f"{float(value):.7g}")
    return logged


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return the result of a run; of the tested checkpoint its file name alone."""
    metrics = json.loads((folder / "metrics.json").read_text())
    tested = metrics["tested_checkpoint"]
    return {**metrics, "tested_checkpoint": tested and Path(tested).name}


def differing_values(expected: Result, actual: Result) -> dict[str, tuple[Any, Any]]:
    """Return the names whose values differ, or that one of the two lacks, with both values.

    Numbers may differ a little, and the ends of confidence intervals as they like.
    """
    return {
        name: (expected.get(name), actual.get(name))
        for name in {**expected, **actual}
        if name not in expected
        or name not in actual
        or not (name.endswith(BOOTSTRAP_SUFFIXES) or _is_same(expected[name], actual[name]))
    }


def _is_same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, dict):
        return expected.keys() == actual.keys() and all(
            _is_same(value, actual[key]) for key, value in expected.items()
        )
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return math.isclose(expected, actual, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-6)
    return bool(expected == actual)


def read_files(folder: Path) -> list[str]:
    """Return the names of the files of a run; event files are named by time and machine."""
    names = {
        re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(folder)))
        for path in folder.rglob("*")
        if path.is_file()
    }
    return sorted(names)


def read_shapes(checkpoint: Path) -> dict[str, str]:
    """Return the type and the shape of each tensor in the network of a checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return {
        key: f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        for key, value in state.items()
    }


def write_results(folder: Path) -> None:
    """Perform all frozen runs and write `run_results.json`."""
    outputs = perform_runs(folder)
    for name, output in outputs.items():
        assert (folder / name / "metrics.json").exists(), output
    write_json(RESULTS_FILE, {name: read_result(folder / name) for name in run_names()})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file with a line for each key of the third level."""
    path.write_text(_as_json(content, num_levels=3) + "\n")


def _as_json(value: Any, *, num_levels: int) -> str:
    if num_levels == 0 or not isinstance(value, dict):
        return json.dumps(value)
    items = [
        f"{json.dumps(key)}: {_as_json(each, num_levels=num_levels - 1)}"
        for key, each in value.items()
    ]
    return "{\n" + ",\n".join(items) + "\n}"
