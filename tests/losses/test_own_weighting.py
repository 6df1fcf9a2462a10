"""A weighting and a gradient method of a user, in a folder outside the repository."""

import sys

import pytest
import torch

from tests.helpers.joint_training import fit, noise_batch, small_multi_task
from tests.helpers.small_networks import save_architecture
from w2v2_mt.core.registry import EVERYTHING, trusting
from w2v2_mt.settings.instantiation import instantiate

OWN_MODULE = '''
import torch

from w2v2_mt.losses.weighting import LossWeighting


class Mine(LossWeighting):
    """The first task counts `my_parameter` times as much as each other task."""

    def __init__(self, task_names, *, my_parameter: float):
        super().__init__(task_names)
        self.my_parameter = my_parameter
        self.register_buffer("num_steps", torch.tensor(0))

    def forward(self, losses):
        self.num_steps += 1
        first = next(iter(losses))
        return {
            task: torch.full_like(loss, self.my_parameter if task == first else 1.0)
            for task, loss in losses.items()
        }


class OnlyFirst(Mine):
    """Only the first task trains the shared parameters."""

    needs_task_gradients = True

    def gradient_scales(self, losses, geometry):
        first = next(iter(losses))
        return {task: torch.tensor(float(task == first)) for task in losses}
'''

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{message}")
    for message in ("have no `val_dataloader`", "training batches", "in eval mode at the start")
]


@pytest.fixture(autouse=True)
def my_lab(tmp_path, monkeypatch):
    """The user's own package, which only its name leads to."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "weighting.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]


def own_loss(scale_method, **options):
    node = {
        "_target_": "w2v2_mt.losses.multi_task.MultiTaskLossSettings",
        "scale_method": scale_method,
        "gradient_diagnostics_every_n_steps": None,
        "ctc_loss": {"_target_": "w2v2_mt.losses.ctc.CtcLoss", "blank_index": 0},
        "speaker_loss": {"_target_": "w2v2_mt.losses.speaker_loss.CrossEntropyLoss"},
        **options,
    }
    return instantiate(node, key="optim.loss").build(["speech", "speaker"])


def task_with(loss, folder):
    architecture = save_architecture(str(folder / "architecture"), "base", num_hidden_layers=2)
    task = small_multi_task(architecture, scale_method=None)
    task.loss = loss
    return task


def test_a_weighting_is_used_by_its_dotted_path_with_its_own_parameter(tmp_path):
    with trusting("my_lab"):
        loss = own_loss("my_lab.weighting.Mine", my_parameter=3.0, dwa_window=20)
    losses = {"speech": torch.tensor(2.0), "speaker": torch.tensor(5.0)}
    assert loss(losses).loss.item() == 3 * 2 + 5
    task = task_with(loss, tmp_path)
    fit(task, [noise_batch(range(2)), noise_batch(range(2, 4))], folder=tmp_path)
    assert int(task.state_dict()["loss.weighting.num_steps"]) == 3


def test_a_gradient_method_is_used_by_its_dotted_path(tmp_path):
    with trusting("my_lab"):
        loss = own_loss("my_lab.weighting.OnlyFirst", my_parameter=1.0)
    task = task_with(loss, tmp_path)
    weighted, _ = task.compute_loss(noise_batch(range(2)))
    shared, _ = task.network.split_parameters()
    of_speech = torch.autograd.grad(
        weighted.losses["speech"], shared, retain_graph=True, allow_unused=True
    )
    task.backpropagate(weighted.loss, weighted)
    for parameter, gradient in zip(shared, of_speech, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient)


def test_a_dotted_path_is_not_followed_without_trust():
    with pytest.raises(ValueError, match="If you trust my_lab, add --trust my_lab"):
        own_loss("my_lab.weighting.Mine", my_parameter=3.0)


def test_another_option_than_the_own_parameter_is_refused():
    with (
        trusting(EVERYTHING),
        pytest.raises(
            ValueError, match="^optim.loss.my_parametr is not a setting of .* Did you mean 'my_p"
        ),
    ):
        own_loss("my_lab.weighting.Mine", my_parametr=3.0)


def test_the_own_parameter_must_be_set():
    with (
        trusting(EVERYTHING),
        pytest.raises(ValueError, match=r"must have the setting my_parameter. Add \+optim.loss.my"),
    ):
        own_loss("my_lab.weighting.Mine")
