"""A checkpoint names classes; nothing but registered classes of this package may be called."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import MULTI_TASK, Traps
from w2v2_mt.app.commands import main
from w2v2_mt.app.main import run_trusting

NODES = [
    "speech.tokenizer",
    "network",
    "network.regularisation",
    "speech.pipeline.normaliser",
]
"""The nodes that are built when a checkpoint is loaded."""
REFUSALS = "must be|trust|registered class|cannot be imported"


def nodes(traps: Traps) -> dict[str, dict[str, Any]]:
    """Nodes that run, write or remove something when they are called."""
    return {
        "a command": {"_target_": "subprocess.getoutput", "cmd": traps.command},
        "a class that runs a command": {
            "_target_": "subprocess.Popen", "args": traps.command, "shell": True,
        },
        "a function of the system": {"_target_": "os.system", "command": traps.command},
        "a function of this package that writes": {
            "_target_": "w2v2_mt.runs.run_record.write_metrics",
            "folder": str(traps.folder), "metrics": {},
        },
        "a function of this package that starts programs": {
            "_target_": "w2v2_mt.app.slurm_commands._ask", "command": traps.command,
        },
        "a module inside of a module": {
            "_target_": "w2v2_mt.app.sweep_runner.subprocess.getoutput", "cmd": traps.command,
        },
        "a class of this package that is not registered": {
            "_target_": "w2v2_mt.training.checkpoints.AtomicCheckpointIO",
        },
        "a function of the settings": {
            "_target_": "w2v2_mt.training.callbacks.monitors.learning_rate_monitor",
        },
        "a list": {"_target_": ["subprocess.getoutput"], "cmd": traps.command},
    }  # fmt: skip


def put(record: dict[str, Any], key: str, node: Any) -> None:
    """Replace a node of the settings, for which no vocabulary is stored."""
    record.pop("vocabulary", None)
    *owners, name = key.split(".")
    block = record["config"]
    for owner in owners:
        block = block[owner]
    block[name] = node
    if name == "normaliser":  # All tasks must have the same one.
        record["config"]["speaker"]["pipeline"][name] = node


def reading_commands(checkpoint: Path, tone: Path, folder: Path) -> list[list[object]]:
    """Return every command of `w2v2-mt` that reads a checkpoint."""
    return [
        ["predict", checkpoint, tone],
        ["export", "huggingface", checkpoint, folder / "exported"],
        ["export", "onnx", checkpoint, folder / "exported.onnx"],
    ]


@pytest.mark.parametrize("key", NODES)
def test_a_checkpoint_calls_nothing_but_registered_classes(
    key, write_checkpoint, refusal, traps, tone, tmp_path
):
    for number, node in enumerate(nodes(traps).values()):
        checkpoint = write_checkpoint(lambda record, node=node: put(record, key, node))
        commands = reading_commands(checkpoint, tone, tmp_path)
        for command in commands if number == 0 else commands[:1]:
            sentence = refusal(*command)
            assert str(node["_target_"]) in sentence
            assert re.search(REFUSALS, sentence)


def test_a_node_below_a_sound_one_is_refused_too(
    write_checkpoint, refusal, traps, tone
):  # fmt: skip
    for node in nodes(traps).values():

        def hide(record: dict[str, Any], node: Any = node) -> None:
            record["config"]["network"]["stat_pooling_type"] = [node]

        assert "_target_" in refusal("predict", write_checkpoint(hide), tone)


@pytest.mark.parametrize("choice", ["stat_pooling_type", "upstream_kind", "sharing_ways"])
def test_a_choice_by_dotted_path_needs_trust(choice, write_checkpoint, refusal, tone):
    path: Any = "subprocess.Popen"

    def choose(record: dict[str, Any]) -> None:
        record["config"]["network"][choice] = [path] if choice == "sharing_ways" else path

    assert "--trust subprocess" in refusal("predict", write_checkpoint(choose), tone)


@pytest.mark.parametrize(
    "key", [*NODES, "optim.loss", "optim.loss.speaker_loss", "optim.loss.scale_method"]
)
def test_a_test_of_a_checkpoint_calls_nothing_but_registered_classes(
    key, write_checkpoint, small_config, watched, traps, tmp_path
):
    checkpoint = write_checkpoint()
    config = small_config(
        MULTI_TASK, "fit_model=false", f"load_network_from_checkpoint={checkpoint}"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    for node in nodes(traps).values():
        write_checkpoint(lambda record, node=node: put(record, key, node))
        with watched(), pytest.raises(ValueError, match=f"_target_ .*({REFUSALS})"):
            run_trusting(config=config, config_name=MULTI_TASK, folder=folder, overrides=[])


@pytest.mark.parametrize("key", ["speech.tokenizer", "network.stat_pooling_type"])
def test_a_module_that_a_checkpoint_names_is_not_even_imported(
    key, write_checkpoint, refusal, traps, tone, tmp_path, monkeypatch
):
    (tmp_path / "their_lab.py").write_text(
        f"import os\nos.system({traps.command!r})\nclass Part: pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    node = "their_lab.Part" if key.startswith("network") else {"_target_": "their_lab.Part"}
    checkpoint = write_checkpoint(lambda record: put(record, key, node))
    for command in reading_commands(checkpoint, tone, tmp_path):
        assert "--trust their_lab" in refusal(*command)


def test_a_trusted_package_lends_no_classes_of_others(
    write_checkpoint, refusal, traps, tone, tmp_path, monkeypatch
):
    (tmp_path / "my_lab.py").write_text("from subprocess import Popen\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "my_lab.Popen", "args": traps.command, "shell": True}
    checkpoint = write_checkpoint(lambda record: put(record, "speech.tokenizer", node))
    assert "--trust subprocess" in refusal("predict", checkpoint, tone, "--trust", "my_lab")


def test_what_a_run_names_itself_is_all_that_its_checkpoint_may_name(
    write_checkpoint, small_config, watched, traps, tmp_path
):
    # The callback is the user's choice, but other classes of its package are not.
    checkpoint = write_checkpoint(
        lambda record: put(
            record, "speech.tokenizer", {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}
        )
    )
    config = small_config(
        MULTI_TASK,
        "fit_model=false",
        f"load_network_from_checkpoint={checkpoint}",
        "+callbacks.mine._target_=pytorch_lightning.callbacks.Timer",
    )
    with watched(), pytest.raises(ValueError, match="callbacks.EarlyStopping.*trust"):
        run_trusting(config=config, config_name=MULTI_TASK, folder=tmp_path, overrides=[])


def test_a_checkpoint_as_a_run_wrote_it_is_used(write_checkpoint, watched, tone, capfd):
    with watched():
        assert main(["predict", str(write_checkpoint()), str(tone), "--verify"]) == 0
    assert "transcript" in json.loads(capfd.readouterr().out.splitlines()[0])
