"""A trained network loaded from a checkpoint, without data, hub or pretrained weights."""

import json
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from w2v2_mt.core.registry import trusting
from w2v2_mt.core.units import count
from w2v2_mt.data.transforms import NormaliseWaveform
from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.models.networks import TaskNetwork
from w2v2_mt.models.trunk_settings import TrunkSettings
from w2v2_mt.settings.instantiation import instantiate
from w2v2_mt.training.checkpoints import RECORD_KEY, read_whole_checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network in eval mode on the CPU, with what is needed to use it.

    Args:
        config_name: The root config of the run that trained it, such as `train_speech`.
        config: All settings of that run.
        tokenizer: The tokenizer of its CTC head, or None without one.
        num_speakers: The training speakers of its speaker head, or None without one.
        step: Optimizer steps before the checkpoint was written.
        metrics: The last metrics before that; those of validation sets begin with `val_`.
    """

    config_name: str
    config: dict[str, Any]
    network: TaskNetwork
    tokenizer: Tokenizer | None
    num_speakers: int | None
    normaliser: NormaliseWaveform
    step: int
    metrics: dict[str, float]

    @property
    def tasks(self) -> list[str]:
        """The tasks that the network has a head for."""
        return list(self.network.heads)


def load_trained(checkpoint: Path, *, trust: Sequence[str] = ()) -> TrainedNetwork:
    """Load the network of a checkpoint.

    Args:
        checkpoint: A checkpoint of a run.
        trust: Packages outside this program whose classes the checkpoint may name.

    Raises:
        ValueError: The file is not a complete checkpoint of this program, names a class that is
            not trusted, or does not hold the architecture (before 0.1.0), which is then read from
            the pretrained model that the run started from.
    """
    content = read_whole_checkpoint(checkpoint)
    record = content[RECORD_KEY]
    prefix = "network."  # of the network's weights in the state of its task
    weights = {
        name.removeprefix(prefix): value
        for name, value in content["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        config = record["config"]
        with trusting(*trust), TemporaryDirectory() as folder:
            tokenizer = _build_tokenizer(record, Path(folder))
            settings, sizes = _read_network(record, tokenizer, Path(folder), len(weights))
            try:
                # Without memory first: sizes that a file claims must be those of its weights.
                with torch.device("meta"):
                    sized = settings.build(**sizes)
                _load_weights(sized, weights, checkpoint)
            except (NotImplementedError, RuntimeError):
                pass  # A class outside of this program cannot be built without memory.
            network = settings.build(**sizes)
            normaliser = _build_normaliser(config)
        _load_weights(network, weights, checkpoint)
    except (AttributeError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"the record in {checkpoint} is not one of a run ({textwrap.shorten(repr(error), 200)})"
            ". Use a checkpoint as a run wrote it."
        ) from error
    return TrainedNetwork(
        config_name=record["config_name"],
        config=config,
        network=network.eval(),
        tokenizer=tokenizer,
        num_speakers=record["num_speakers"],
        normaliser=normaliser,
        step=int(content["global_step"]),
        metrics=dict(record["metrics"]),
    )


def _load_weights(network: TaskNetwork, weights: dict[str, Any], checkpoint: Path) -> None:
    try:
        with warnings.catch_warnings():  # Weights without memory take no values.
            warnings.filterwarnings("ignore", message=".*is a no-op.*")
            network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in {checkpoint} are not those of the network that it describes "
            f"({textwrap.shorten(str(error), 200)}). Use a checkpoint as a run wrote it."
        ) from error


def _build_tokenizer(record: dict[str, Any], folder: Path) -> Tokenizer | None:
    """Build the tokenizer from the stored symbols, since the file of the run may be gone."""
    node = record["config"].get("speech", {}).get("tokenizer")
    if node is None:
        return None
    symbols = record.get("vocabulary")
    if symbols is not None:
        path = folder / "vocabulary.json"
        path.write_text(json.dumps({symbol: index for index, symbol in enumerate(symbols)}))
        node = {**node, "vocabulary_path": str(path)}
    return instantiate(node, Tokenizer, key="speech.tokenizer", from_file=True)


def _read_network(
    record: dict[str, Any], tokenizer: Tokenizer | None, folder: Path, num_weights: int
) -> tuple[Any, dict[str, int]]:
    """Return the settings of the network, with random weights, and the sizes of its heads."""
    architecture = record.get("architecture", {})
    layers = [architecture.get("num_hidden_layers", 0)]
    if architecture.get("model_type") == "data2vec-audio":
        layers.append(architecture.get("num_conv_pos_embeddings", 0))
    if max(layers) > num_weights:
        raise ValueError(
            f"the checkpoint describes {count(max(layers), 'layer')}, but has "
            f"{count(num_weights, 'weight')}. Use a checkpoint as a run wrote it."
        )
    node = {**record["config"]["network"], "reset_weights": True}
    if "architecture" in record:
        (folder / "config.json").write_text(json.dumps(record["architecture"]))
        node["wav2vec_huggingface_id"] = str(folder)
    sizes = {}
    if tokenizer is not None:
        node |= {"speech_head_huggingface_id": None, "ctc_bias_init": "zero"}
        sizes["num_tokens"] = tokenizer.num_tokens
    if record["num_speakers"] is not None:
        sizes["num_speakers"] = record["num_speakers"]
    return instantiate(node, TrunkSettings, key="network", from_file=True), sizes


def _build_normaliser(config: dict[str, Any]) -> NormaliseWaveform:
    (first, node), *others = (
        (name, block["pipeline"]["normaliser"])
        for name, block in config.items()
        if isinstance(block, dict) and "pipeline" in block
    )
    for name, other in others:
        if other != node:
            raise ValueError(
                f"{first}.pipeline.normaliser ({node}) differs from that of {name} ({other}), but "
                "a waveform is normalized once. Use a run in which both are equal."
            )
    return instantiate(node, NormaliseWaveform, key=f"{first}.pipeline.normaliser", from_file=True)
