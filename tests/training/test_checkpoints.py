import re
from pathlib import Path

import pytest
import torch

from w2v2_mt.training.checkpoints import RECORD_KEY, check_vocabulary

SYMBOLS = ["<pad>", "|", "A", "B"]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    record = {"vocabulary": SYMBOLS, "config": {}}
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {}, "global_step": 1, RECORD_KEY: record}, path)
    return path


def test_the_vocabulary_of_the_run_and_a_network_without_one_are_accepted(checkpoint):
    check_vocabulary(checkpoint, SYMBOLS)
    check_vocabulary(checkpoint, None)


@pytest.mark.parametrize(
    ("vocabulary", "problem"),
    [
        (["<pad>", "|", "B", "A"], "has another order: token 2 is 'A' and not 'B'"),
        (["<pad>", "|", "A", "b"], "lacks 'b' and has in addition 'B'"),
        (["<pad>", "|", "A", "B", "C"], "lacks 'C'"),
    ],
)
def test_another_vocabulary_of_a_checkpoint_is_refused(checkpoint, vocabulary, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        check_vocabulary(checkpoint, vocabulary)
