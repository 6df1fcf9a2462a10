import re
from pathlib import Path

import pytest
import torch

from w2v2_mt.training.checkpoints import RECORD_KEY, check_record, read_checkpoint

SYMBOLS = ["<pad>", "|", "A", "B"]
SPEAKERS = ["id1", "id2", "id3"]
ARCHITECTURE = {"num_attention_heads": 12, "conv_stride": [5, 2], "hidden_dropout": 0.1}
RECORD = {"vocabulary": SYMBOLS, "speakers": SPEAKERS, "architecture": ARCHITECTURE}


def write(path: Path, record: dict) -> Path:
    content = {"state_dict": {}, "global_step": 1, RECORD_KEY: {"config": {}, **record}}
    torch.save(content, path)
    return path


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return write(tmp_path / "best.ckpt", RECORD)


def test_the_classes_of_the_run_and_a_network_without_a_head_are_accepted(checkpoint):
    check_record(checkpoint, {"vocabulary": SYMBOLS, "speakers": SPEAKERS})
    check_record(checkpoint, {"vocabulary": None, "speakers": None})
    check_record(checkpoint, {"architecture": ARCHITECTURE})


def test_a_checkpoint_of_an_earlier_version_has_no_names_to_compare(tmp_path):
    old = write(tmp_path / "old.ckpt", {"num_speakers": 3})
    check_record(old, {"vocabulary": SYMBOLS, "speakers": SPEAKERS})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"vocabulary": ["<pad>", "|", "B", "A"]},
            "has another order: token 2 is 'A' and not 'B'",
        ),
        ({"vocabulary": ["<pad>", "|", "A", "b"]}, "lacks 'b' and has in addition 'B'"),
        ({"vocabulary": [*SYMBOLS, "C"]}, "lacks 'C'"),
        ({"speakers": ["id1", "id2", "id4"]}, "lacks 'id4' and has in addition 'id3'"),
        (
            {"speakers": ["id2", "id1", "id3"]},
            "has another order: speaker 0 is 'id1' and not 'id2'",
        ),
    ],
)
def test_other_classes_of_a_checkpoint_are_refused(checkpoint, changes, problem):
    with pytest.raises(ValueError, match=re.escape(f"it {problem}. ")):
        check_record(checkpoint, {"vocabulary": SYMBOLS, "speakers": SPEAKERS, **changes})


def test_an_architecture_with_weights_of_the_same_shapes_is_refused(checkpoint):
    check_record(checkpoint, {"architecture": {**ARCHITECTURE, "hidden_dropout": 0.0}})
    with pytest.raises(ValueError, match=r"its num_attention_heads is 12 and not 16\. Set"):
        check_record(checkpoint, {"architecture": {**ARCHITECTURE, "num_attention_heads": 16}})


@pytest.mark.parametrize("name", ["vocabulary", "speakers"])
def test_a_class_that_is_not_named_by_a_text_is_refused(tmp_path, name):
    path = write(tmp_path / "foreign.ckpt", {name: [["a"]]})
    with pytest.raises(ValueError, match=f"an entry of {name} is not a text"):
        read_checkpoint(path)
