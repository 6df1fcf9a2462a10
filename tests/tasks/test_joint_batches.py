"""Joint batches: one forward pass, and each head trained by the utterances with its label."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.joint_training import (
    BOTH,
    METHODS,
    SPEAKER,
    SPEECH,
    fit,
    joint_batch,
    small_multi_task_loss,
    small_training_task,
)
from tests.helpers.list_logger import ListLogger
from tests.helpers.reads_of_numbers import ReadsOfNumbers
from tests.helpers.small_networks import (
    SHARING,
    save_architecture,
    sharing_combinations,
    small_multi_task_network,
)
from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.losses.weighting import WEIGHTINGS
from w2v2_mt.tasks.training_task import TrainingTask

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 4, 4],
    "conv_stride": [10, 8, 4],
    "num_conv_pos_embedding_groups": 2,
}
MIXED = [SPEECH, BOTH, SPEAKER, BOTH, SPEECH]
GRADIENT_METHODS = [name for name, each in WEIGHTINGS.items() if each.needs_task_gradients]

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{message}")
    for message in ("have no `val_dataloader`", "training batches", "in eval mode at the start")
]


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    """Make a task with the same double-precision weights; arguments change the network."""
    architecture = save_architecture(str(tmp_path_factory.mktemp("tiny")), "large", **TINY)

    def make(*, scale_method: str | None = None, **changes: object) -> TrainingTask:
        torch.manual_seed(1)
        settings = {"num_shared_transformers": 1} | changes
        network = small_multi_task_network(architecture, **settings)
        return small_training_task(network, small_multi_task_loss(scale_method)).double().train()

    return make


def gradients(task: TrainingTask, batch) -> dict[str, torch.Tensor]:
    """The gradient of each parameter that a step on a batch reaches."""
    task.zero_grad()
    weighted, _ = task.compute_loss(batch)
    task.backpropagate(weighted.loss, weighted)
    return {
        name: each.grad.clone() for name, each in task.named_parameters() if each.grad is not None
    }


def in_double(batch):
    """The batch with waveforms in double precision, so that sums are exact."""
    return replace(batch, waveforms=batch.waveforms.double())


def of_task(name: str, task: str) -> bool:
    return f"{task}_head." in name or f".{task}." in name


def test_parts_hold_the_rows_with_their_label():
    batch = joint_batch(MIXED)
    assert batch.label_rows()["speech"].tolist() == [0, 1, 3, 4]
    assert batch.label_rows()["speaker"].tolist() == [1, 2, 3]
    assert batch.count_labels() == {"speech": 4, "speaker": 3}
    speaker = batch.part("speaker")
    assert speaker.keys == ["1", "2", "3"]
    assert isinstance(speaker, SpeakerBatch)
    assert speaker.speaker_indices.tolist() == [1, 2, 3]
    assert speaker.num_samples.tolist() == [6_000, 4_000, 6_000]
    assert torch.equal(speaker.waveforms, batch.waveforms[1:4])
    assert joint_batch([BOTH, BOTH]).label_rows() == {"speech": None, "speaker": None}


NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU"),
]


@pytest.mark.parametrize("change", ["to", pytest.param("pin_memory", marks=NEEDS_GPU)])
def test_a_joint_batch_is_moved_with_all_its_parts(change):
    batch = joint_batch([*MIXED, SPEAKER])
    moved = batch.to("cpu") if change == "to" else getattr(batch, change)()
    pairs = [(moved, batch), *((moved.parts[task], batch.parts[task]) for task in BOTH)]
    for one, other in pairs:
        for name, value in vars(other).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(one, name), value)
    for task in BOTH:
        assert torch.equal(moved.rows[task], batch.rows[task])


@pytest.mark.parametrize("sharing", sharing_combinations().values(), ids=sharing_combinations())
def test_a_mixed_batch_has_the_gradient_of_the_sum_of_its_parts(make_task, sharing):
    task = make_task(**sharing)
    mixed = gradients(task, in_double(joint_batch(MIXED)))
    # Each part as a batch of its own, weighted by its share in the mean of its task.
    parts = [
        ({"speech": 1 / 4}, joint_batch([SPEECH])),
        ({"speech": 1 / 4, "speaker": 1 / 3}, joint_batch([BOTH], first=1)),
        ({"speaker": 1 / 3}, joint_batch([SPEAKER], first=2)),
        ({"speech": 1 / 4, "speaker": 1 / 3}, joint_batch([BOTH], first=3)),
        ({"speech": 1 / 4}, joint_batch([SPEECH], first=4)),
    ]
    task.zero_grad()
    for shares, part in parts:
        _, results = task.compute_loss(in_double(part))
        assert set(results) == set(shares)
        sum(0.5 * share * results[name].loss for name, share in shares.items()).backward()
    summed = {name: each.grad for name, each in task.named_parameters() if each.grad is not None}
    assert summed.keys() == mixed.keys()
    for name, gradient in mixed.items():
        torch.testing.assert_close(gradient, summed[name], atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("sharing", sharing_combinations().values(), ids=sharing_combinations())
def test_a_joint_step_is_the_alternating_step_on_the_same_utterances(make_task, sharing):
    task, batch = make_task(**sharing), in_double(joint_batch([BOTH] * 3))
    joint = gradients(task, batch)
    alternating = gradients(task, {name: batch.part(name) for name in BOTH})
    assert joint.keys() == alternating.keys()
    for name, gradient in joint.items():
        torch.testing.assert_close(gradient, alternating[name], atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("labels", "absent"), [(SPEECH, "speaker"), (SPEAKER, "speech")])
@pytest.mark.parametrize("sharing", [{}, *SHARING.values()], ids=["plain", *SHARING])
def test_a_task_without_any_label_has_no_gradient(make_task, method, labels, absent, sharing):
    task = make_task(scale_method=method, **sharing)
    found = gradients(task, in_double(joint_batch([labels] * 2)))
    names = {name for name, _ in task.network.named_parameters()}
    reached = {name.removeprefix("network.") for name in found if name.startswith("network.")}
    assert reached == {name for name in names if not of_task(name, absent)}


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_tasks_are_separated_though_they_share_one_graph(
    make_task, method, checkpointing
):
    batch = in_double(joint_batch(MIXED))
    task = make_task(scale_method=method, use_gradient_checkpointing=checkpointing)
    shared, _ = task.network.split_parameters()
    weighted, _ = task.compute_loss(batch)
    geometry = task.backpropagate(weighted.loss, weighted, compares_gradients=True)
    vectors = {}
    for name in BOTH:
        _, results = task.compute_loss(batch)
        grads = torch.autograd.grad(0.5 * results[name].loss, shared, allow_unused=True)
        vectors[name] = torch.cat([each.flatten() for each in grads if each is not None])
        torch.testing.assert_close(geometry.norms[name], vectors[name].norm())
    product = vectors["speech"] @ vectors["speaker"]
    torch.testing.assert_close(geometry.inner_product("speech", "speaker"), product)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_batches_that_lack_tasks(make_task, tmp_path, method):
    task = make_task(scale_method=method).float()
    labels = [[SPEECH] * 2, MIXED, [SPEAKER] * 2, [SPEECH] * 2, MIXED, [BOTH] * 2]
    batches = [joint_batch(each, first=5 * number) for number, each in enumerate(labels)]
    before = {name: each.clone() for name, each in task.state_dict().items()}
    fit(task, batches, folder=tmp_path)
    after = task.state_dict()
    assert all(each.isfinite().all() for each in after.values())
    for name in ("speech", "speaker"):
        assert any(of_task(key, name) and not torch.equal(after[key], before[key]) for key in after)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sharing", [{}, *SHARING.values()], ids=["plain", *SHARING])
def test_a_joint_step_reads_no_value_back(make_task, monkeypatch, method, sharing):
    # On a CPU they ask whether a batch has padding; of lengths on another device they do not.
    for module in ("encoder", "frame_statistics"):
        monkeypatch.setattr(f"w2v2_mt.models.{module}.is_known_unpadded", lambda *_: False)
    task, reads = make_task(scale_method=method, **sharing).float(), ReadsOfNumbers()
    for labels in (MIXED, [SPEECH], [BOTH]):
        with reads:
            weighted, _ = task.compute_loss(joint_batch(labels))
            task.backpropagate(weighted.loss, weighted)
    assert reads.names == []


def test_a_step_without_a_task_logs_no_value_of_it(make_task, tmp_path):
    task = make_task().float()
    batches = [joint_batch(each) for each in ([BOTH], [SPEECH], [SPEAKER])]
    logger = ListLogger()
    fit(task, batches, folder=tmp_path, logger=logger, log_every_n_steps=1)
    named = [{name for name in row if name.endswith("_loss")} for _, row in logger.rows]
    assert named == [
        {"train_loss", "train_speech_loss", "train_speaker_loss"},
        {"train_loss", "train_speech_loss"},
        {"train_loss", "train_speaker_loss"},
    ]
