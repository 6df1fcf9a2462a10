"""Training steps of two tasks: gradients, weights, logs and resumed runs."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.joint_training import LR, METHODS, WEIGHT_LR, fit, noise_batch, small_multi_task
from tests.helpers.list_logger import ListLogger
from tests.helpers.reads_of_numbers import ReadsOfNumbers
from tests.helpers.small_networks import NO_REGULARISATION, save_architecture
from w2v2_mt.losses.weighting import WEIGHTINGS

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{message}")
    for message in (
        "have no `val_dataloader`",
        "number of training batches",
        "in eval mode at the start",
        "resuming from a checkpoint",
    )
]

GRADIENT_METHODS = [name for name, each in WEIGHTINGS.items() if each.needs_task_gradients]


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(str(tmp_path), "large", num_hidden_layers=2)


def batches(count):
    return [noise_batch(range(2 * number, 2 * number + 2)) for number in range(count)]


def trained(architecture, folder, *, num_batches=3, settings=None, **changes):
    """Return a task after some steps, and its network's parameters."""
    task = small_multi_task(architecture, **changes)
    fit(task, batches(num_batches), folder=folder, **(settings or {}))
    return task, {name: each.detach() for name, each in task.network.named_parameters()}


@pytest.mark.parametrize("scale_method", [None, "uncertainty"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_comparing_gradients_does_not_change_the_training(
    architecture, tmp_path, scale_method, accumulated
):
    settings = {"accumulate_grad_batches": accumulated, "gradient_clip_val": 1.0}
    runs = [
        trained(
            architecture,
            tmp_path,
            scale_method=scale_method,
            comparison_interval=interval,
            num_batches=4,
            settings=settings,
        )
        for interval in (None, 1)
    ]
    torch.testing.assert_close(runs[0][1], runs[1][1], atol=1e-6, rtol=1e-5)
    weightings = [task.loss.weighting.state_dict() for task, _ in runs]
    torch.testing.assert_close(*weightings)


@pytest.mark.parametrize(("accumulated", "num_batches"), [(1, 5), (2, 10)])
def test_gradients_are_compared_and_logged_every_nth_step_only(
    architecture, tmp_path, monkeypatch, accumulated, num_batches
):
    task = small_multi_task(architecture, scale_method=None, comparison_interval=2)
    backward_per_task, steps = task.loss.backward_per_task, []

    def counted(*arguments, **named):
        steps.append(task.global_step)
        return backward_per_task(*arguments, **named)

    monkeypatch.setattr(task.loss, "backward_per_task", counted)
    logger = ListLogger()
    fit(
        task,
        batches(num_batches),
        folder=tmp_path,
        logger=logger,
        accumulate_grad_batches=accumulated,
        log_every_n_steps=50,  # which is no matter
    )
    assert steps == [1, 3]
    cosines = logger.of("train_gradient_cosine")
    assert list(cosines) == [1, 3]
    assert all(-1 < cosine < 1 and cosine != 0 for cosine in cosines.values())
    for name in ("train_speech_gradient_norm", "train_speaker_gradient_norm"):
        assert list(logger.of(name)) == [1, 3]
        assert all(norm > 0 for norm in logger.of(name).values())


def test_logged_norms_and_cosine_are_those_of_two_backward_passes(architecture, tmp_path):
    task = small_multi_task(architecture, scale_method="static", comparison_interval=1)
    logger = ListLogger()
    pair = noise_batch(range(2))
    fit(task, [pair], folder=tmp_path, logger=logger, accumulate_grad_batches=1)

    fresh = small_multi_task(architecture, scale_method="static")
    losses = fresh.compute_loss(pair)[0].losses
    losses = [0.2 * losses["speech"], 0.8 * losses["speaker"]]  # type: ignore[assignment]
    shared, _ = fresh.network.split_parameters()
    vectors = []
    for loss in losses:
        parts = torch.autograd.grad(loss, shared, allow_unused=True)
        vectors.append(torch.cat([part.flatten() for part in parts if part is not None]))
    cosine = torch.nn.functional.cosine_similarity(*vectors, dim=0)  # type: ignore[misc]
    assert logger.of("train_gradient_cosine")[0] == pytest.approx(cosine.item(), rel=1e-4)
    norms = [logger.of(f"train_{task}_gradient_norm")[0] for task in ("speech", "speaker")]
    assert norms == pytest.approx([vector.norm().item() for vector in vectors], rel=1e-4)


@pytest.mark.parametrize("scale_method", METHODS)
def test_a_step_reads_no_value_back_whatever_the_weighting(
    architecture, tmp_path, monkeypatch, scale_method
):
    # On a CPU they ask whether a batch has padding; of lengths on another device they do not.
    for module in ("encoder", "frame_statistics"):
        monkeypatch.setattr(f"w2v2_mt.models.{module}.is_known_unpadded", lambda *_: False)
    task = small_multi_task(architecture, scale_method=scale_method)
    training_step, backward, reads = task.training_step, task.backward, ReadsOfNumbers()

    def watched_step(batch, batch_idx):
        with reads:
            return training_step(batch, batch_idx)

    def watched_backward(loss):
        with reads:
            backward(loss)

    monkeypatch.setattr(task, "training_step", watched_step)
    monkeypatch.setattr(task, "backward", watched_backward)
    fit(task, batches(2), folder=tmp_path)
    assert task.global_step == 2
    assert reads.names == []


@pytest.mark.parametrize("scale_method", GRADIENT_METHODS)
def test_while_the_encoder_is_frozen_losses_are_added_and_no_weight_is_learned(
    architecture, tmp_path, scale_method
):
    frozen = {"wav2vec_initially_frozen": True, "num_frozen_steps": 2}
    logger = ListLogger()
    plain, task = (
        trained(
            architecture,
            tmp_path,
            scale_method=method,
            num_batches=2,
            comparison_interval=1,
            settings={"logger": logger},
            **frozen,
        )
        for method in (None, scale_method)
    )
    torch.testing.assert_close(plain[1], task[1])
    assert logger.of("train_gradient_cosine") == {}
    if scale_method == "gradnorm":
        assert task[0].loss.weighting.weights.tolist() == [0.5, 0.5]
        assert task[0].loss.weighting.initial_losses.tolist() == [0, 0]
        unfrozen, _ = trained(
            architecture, tmp_path, scale_method="gradnorm", num_batches=3, **frozen
        )
        assert (unfrozen.loss.weighting.initial_losses > 0).all()
        assert unfrozen.loss.weighting.weights.tolist() != [0.5, 0.5]


@pytest.mark.parametrize("scale_method", METHODS)
def test_an_interrupted_training_resumes_with_the_same_weights(
    architecture, tmp_path, scale_method
):
    pairs = batches(1) * 5
    settings = {"folder": tmp_path, "max_epochs": -1}
    uninterrupted = small_multi_task(architecture, scale_method=scale_method)
    fit(uninterrupted, pairs, max_steps=5, **settings)

    trainer = fit(
        small_multi_task(architecture, scale_method=scale_method), pairs, max_steps=3, **settings
    )
    trainer.save_checkpoint(tmp_path / "killed.ckpt")
    resumed = small_multi_task(architecture, scale_method=scale_method)
    fit(resumed, pairs, max_steps=5, checkpoint=tmp_path / "killed.ckpt", **settings)
    assert resumed.global_step == uninterrupted.global_step == 5
    torch.testing.assert_close(resumed.state_dict(), uninterrupted.state_dict())
    if scale_method in ("dwa", "uncertainty", "gradnorm"):
        at_first = small_multi_task(architecture, scale_method=scale_method).loss.state_dict()
        now = resumed.loss.state_dict()
        assert any(not torch.equal(now[name], at_first[name]) for name in now)


@pytest.mark.parametrize("scale_method", METHODS)
def test_each_method_trains_in_half_precision_with_dropped_layers_and_branches(
    architecture, tmp_path, scale_method
):
    task, parameters = trained(
        architecture,
        tmp_path,
        scale_method=scale_method,
        use_multi_branch_encoder=True,
        num_shared_transformers=1,
        regularisation=replace(NO_REGULARISATION, layerdrop=0.5),
        settings={"precision": "bf16-mixed", "accumulate_grad_batches": 2},
        num_batches=8,
    )
    assert all(each.isfinite().all() for each in parameters.values())
    assert all(each.isfinite().all() for each in task.loss.state_dict().values())


def test_learned_weights_have_a_learning_rate_of_their_own(architecture, tmp_path):
    task, _ = trained(architecture, tmp_path, scale_method="uncertainty", num_batches=1)
    network_group, weight_group = task.optimizers().param_groups
    assert (network_group["lr"], weight_group["lr"]) == (LR, WEIGHT_LR)
    assert weight_group["params"] == [task.loss.weighting.log_variances]
    names = {id(each) for each in network_group["params"]}
    assert names == {id(each) for each in task.network.parameters() if each.requires_grad}
    # The first step of Adam is as long as the learning rate; the losses are far above 1 / 2.
    moved = task.loss.weighting.log_variances.tolist()
    assert moved == pytest.approx([WEIGHT_LR, WEIGHT_LR], rel=1e-3)


@pytest.mark.parametrize("step", ["compute_loss", "validation_step", "test_step", "transfer"])
def test_an_utterance_without_a_frame_is_refused_by_its_key(architecture, step):
    task = small_multi_task(architecture, scale_method=None)
    batch = noise_batch(range(2))["speech"]
    short = replace(batch, num_samples=batch.num_samples.clone())
    short.num_samples[1] = 399
    steps = {
        "compute_loss": lambda given: task.compute_loss({**noise_batch(range(2)), "speech": given}),
        "validation_step": lambda given: task.validation_step(given, 0),
        "test_step": lambda given: task.test_step(given, 0),
        "transfer": lambda given: task.on_before_batch_transfer(given, 0),
    }
    steps[step](batch)
    sentence = f"Utterance {batch.keys[1]} of the set .* 399 samples, too few .* at least 400"
    with pytest.raises(ValueError, match=sentence):
        steps[step](short)
