"""Classes and yaml files of one's own, in a folder outside of the repository."""

import sys

import pytest

from w2v2_mt.app.build import build_job
from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.core.registry import trusting
from w2v2_mt.settings.command_line import CommandLine, check_command
from w2v2_mt.settings.validation import find_trusted

MY_LAB = '''
from dataclasses import dataclass

import torch

from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.optim.schedules import StepSchedule


@dataclass(frozen=True, kw_only=True)
class Sawtooth(StepSchedule):
    """Rise again and again."""

    period: int

    def factor(self, step, *, num_steps, peak_lr):
        return (step % self.period + 1) / self.period


class Pairs(Tokenizer):
    """Vowels and all other letters."""

    def __init__(self, *, vowels: str, vocabulary_path: str | None):
        super().__init__(symbols=["_", "a", "b", " "], text_of_token={1: "a", 2: "b", 3: " "},
                         blank_index=0)
        self.vowels = vowels

    def encode(self, transcription):
        tokens = [3 if c == " " else 1 if c in self.vowels else 2 for c in transcription]
        return torch.tensor(tokens)
'''


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    """Write a module and a folder of yaml files that use it."""
    (tmp_path / "my_lab.py").write_text(MY_LAB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_lab", raising=False)
    schedule = tmp_path / "config" / "optim" / "schedule" / "sawtooth.yaml"
    schedule.parent.mkdir(parents=True)
    schedule.write_text("_target_: my_lab.Sawtooth\nperiod: 4\n")
    return tmp_path / "config"


OVERRIDES = (
    "optim/schedule=constant",
    "optim.schedule._target_=my_lab.Sawtooth",
    "+optim.schedule.period=4",
    "speech.tokenizer._target_=my_lab.Pairs",
    "+speech.tokenizer.vowels=AEIOU",
)


def test_a_schedule_and_a_tokenizer_of_ones_own_are_used_by_dotted_path(small_config, my_lab):
    config = small_config("train_speech", *OVERRIDES)
    with trusting(*find_trusted(config)):
        job = build_job(config)
    configured = job.task.configure_optimizers()
    (factor,) = configured["lr_scheduler"]["scheduler"].lr_lambdas
    assert [factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 0.25]
    batch = next(iter(job.data.train_dataloader()))
    assert set(batch.tokens.unique().tolist()) <= {0, 1, 2, 3}
    assert job.task.network.head.linear.out_features == 4
    assert job.task.compute_loss(batch)[0].loss.isfinite()


def test_a_wrong_value_of_a_class_of_ones_own_is_answered_like_any_other(small_config, my_lab):
    with pytest.raises(ConfigError) as error:
        small_config("train_speech", *OVERRIDES[:2], "+optim.schedule.period=x")
    assert str(error.value) == "optim.schedule.period (x) must be an integer."


def test_a_yaml_of_ones_own_is_an_option_of_its_group(small_overrides, my_lab):
    def check(*more):
        command = ["--config-dir", str(my_lab), *small_overrides("train_speech"), *more]
        check_command("train_speech", CommandLine.parse(command))

    check("optim/schedule=sawtooth", "optim.schedule.period=3")
    with pytest.raises(ConfigError, match="^optim/schedule has no option 'sawtoot'. Did you mean"):
        check("optim/schedule=sawtoot")
    with pytest.raises(ConfigError, match="^optim.schedule.perio is not a setting .* 'period'"):
        check("optim/schedule=sawtooth", "optim.schedule.perio=3")
