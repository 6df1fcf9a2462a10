"""The recipes of gpu.py: networks and ways of training them, on any device."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from default_settings import random_upstream
from plain_recipe import PlainMultiTaskNetwork
from torch import Tensor
from train_step import Batches, build_network, build_task

from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.models.flops import UsefulFlops
from w2v2_mt.models.upstream import find_kind, load_config, load_upstream
from w2v2_mt.settings.instantiation import instantiate

PLAIN_RECIPE = "plain recipe"
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}
PRECISIONS = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}
"""The precision of a Trainer that computes in the same type."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and a way of training it."""

    name: str
    architecture: str
    precision: str
    overrides: tuple[str, ...] = ()
    is_compiled: bool = False

    @property
    def baseline(self) -> "Recipe":
        """Return the plain recipe that it is compared with."""
        return replace(self, name=PLAIN_RECIPE, overrides=(), is_compiled=False)


def list_recipes(architecture: str, precision: str) -> dict[str, list[Recipe]]:
    """Return the recipes of an architecture in groups, of which the first ones matter most."""
    config = load_config(architecture, reset_weights=True)
    num_layers, dim = config.num_hidden_layers, config.hidden_size
    half, most = num_layers // 2, 3 * num_layers // 4
    branched = "network.use_multi_branch_encoder=true"
    guided = "network.enable_ctc_pool_speaker_embedding=true"

    def shared(number: int) -> str:
        return f"network.num_shared_transformers={number}"

    ours = Recipe(name="ours", architecture=architecture, precision=precision)
    checkpointed = replace(
        ours,
        name="ours, gradient checkpointing",
        overrides=("network.use_gradient_checkpointing=true",),
    )
    variants = {
        f"branched, {most} of {num_layers} layers shared": (branched, shared(most)),
        f"branched, {half} of {num_layers} layers shared": (branched, shared(half)),
        "branched, no layer shared": (branched, shared(0)),
        "split dimensions": (f"network.num_speaker_dimensions={dim // 2}",),
        "CTC-guided pooling": (guided,),
        f"CTC-guided, branched, {half} shared": (guided, branched, shared(half)),
        "learned layer weights": ("network.layer_weights=learned",),
    }
    half_precision = replace(ours, precision="fp16")
    return {
        "main": [ours.baseline, ours, checkpointed],
        "variants": [
            replace(ours, name=name, overrides=overrides) for name, overrides in variants.items()
        ],
        "fp16": [] if precision == "fp32" else [half_precision.baseline, half_precision],
        "compiled": [replace(ours, name="ours, compiled", is_compiled=True)],
    }


def build_step(
    recipe: Recipe, device: torch.device, batches: Batches, lengths: Sequence[BatchLengths]
) -> tuple[Callable[[], Tensor], float]:
    """Return the training step of a recipe on the device, and its useful FLOPs."""
    settings = random_upstream(recipe.architecture, *recipe.overrides)
    network: Any = build_network(settings)
    flops = UsefulFlops(network).count_step(lengths)
    if recipe.name == PLAIN_RECIPE:
        torch.manual_seed(0)  # The encoder is built first, so this repeats its weights.
        config = load_config(recipe.architecture, reset_weights=True)
        config.update(asdict(instantiate(settings["network"]["regularisation"])))
        upstream = load_upstream(recipe.architecture, config, find_kind(config), reset_weights=True)
        network = PlainMultiTaskNetwork(wav2vec2=upstream, heads_of=network)
    task = build_task(settings, network).to(device)
    if recipe.is_compiled:
        task.network.trunk.encoder.compile_layers()
    optimizer = task.configure_optimizers()["optimizer"]
    dtype = TYPES[recipe.precision]
    scaler = torch.amp.grad_scaler.GradScaler(device.type, enabled=recipe.precision == "fp16")

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            weighted, _ = task.compute_loss(batches)
        task.backpropagate(scaler.scale(weighted.loss), weighted)
        scaler.step(optimizer)
        scaler.update()
        return weighted.loss.detach()

    return step, flops
