"""Each registered class that a config group chooses has a yaml of its name, and the reverse."""

from pathlib import Path

import pytest
import yaml

from w2v2_mt.core.registry import Registry
from w2v2_mt.decoding.tokenizer import TOKENIZERS
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss  # noqa: F401 (registers itself)
from w2v2_mt.losses.speaker_loss import SPEAKER_LOSSES
from w2v2_mt.optim.optimizers import OPTIMIZERS
from w2v2_mt.optim.schedules import SCHEDULES
from w2v2_mt.settings.instantiation import TARGET, find_target

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"
OTHER_LOSSES = {"ctc", "mt_speech_speaker_loss"}


@pytest.mark.parametrize(
    "registry", [TOKENIZERS, SPEAKER_LOSSES, OPTIMIZERS, SCHEDULES], ids=lambda each: each.kind
)
def test_the_options_of_a_group_are_its_registered_classes(registry: Registry):
    options = {
        path.stem: find_target(content[TARGET])
        for path in (CONFIG_FOLDER / registry.setting).glob("*.yaml")
        # An option without one changes values of another option.
        if path.stem not in OTHER_LOSSES and TARGET in (content := yaml.safe_load(path.read_text()))
    }
    assert options == dict(registry.items())
