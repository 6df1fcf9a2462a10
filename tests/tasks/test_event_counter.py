import pytest
import torch

from tests.helpers.joint_training import small_multi_task
from tests.helpers.small_networks import save_architecture
from w2v2_mt.tasks.event_counter import EventCounter


def test_events_add_up_and_a_checkpoint_continues_their_count():
    before = EventCounter()
    for number in (0, 3, 2):
        before.add(torch.tensor(number))
    after = EventCounter()
    after.load_state_dict(before.state_dict())
    after.add(torch.tensor(4))
    assert int(before.total) == 5
    assert int(after.total) == 9


@pytest.fixture
def task(tmp_path):
    architecture = save_architecture(str(tmp_path), "base", num_hidden_layers=1)
    return small_multi_task(architecture, scale_method="dwa", num_shared_transformers=1)


def test_counts_of_an_old_multi_task_checkpoint_are_loaded(task):
    old = {
        name: value for name, value in task.state_dict().items() if not name.endswith("total")
    } | {"unalignable.total": torch.tensor(7), "without_selection.total": torch.tensor(3)}
    task.load_state_dict(old, strict=True)
    assert int(task.objectives["speech"].unalignable.total) == 7
    assert int(task.objectives["speaker"].without_selection.total) == 3


def test_an_old_checkpoint_without_counts_is_loaded(task):
    for objective in ("speech.unalignable", "speaker.without_selection"):
        task.get_submodule(f"objectives.{objective}").total += 5
    old = {name: each for name, each in task.state_dict().items() if not name.endswith("total")}
    task.load_state_dict(old, strict=True)
    assert int(task.objectives["speech"].unalignable.total) == 0


def test_present_counts_are_loaded(task):
    task.objectives["speech"].unalignable.total += 5
    state = {name: value.clone() for name, value in task.state_dict().items()}
    task.objectives["speech"].unalignable.total += 1
    task.load_state_dict(state, strict=True)
    assert int(task.objectives["speech"].unalignable.total) == 5
