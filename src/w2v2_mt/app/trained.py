"""A trained network as a checkpoint holds it: no data, hub or pretrained weights are needed."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.app.checkpoints import RECORD_KEY, read_whole_checkpoint
from w2v2_mt.app.instantiation import instantiate
from w2v2_mt.data.stages import NormaliseWaveform
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.models.networks import (
    MultiTaskNetwork,
    MultiTaskOutput,
    SpeakerNetwork,
    SpeakerOutput,
    SpeechNetwork,
    SpeechOutput,
)

Network = SpeechNetwork | SpeakerNetwork | MultiTaskNetwork

_WEIGHTS = "network."
"""How the names of a network's weights begin in the state of its task."""


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network in eval mode on the CPU, with what is needed to use it.

    Args:
        config_name: of the command that trained it, such as `train_speech`.
        config: all settings of that run.
        tokenizer: None for a network without letters.
        num_speakers: the classes of a network with speakers, else None.
        normaliser: what was done to each waveform, the same for both tasks.
        step: optimiser steps after which it was saved.
        metrics: what was last measured before that; those of dev sets begin with `val_`.
    """

    config_name: str
    config: dict[str, Any]
    network: Network
    tokenizer: LetterTokenizer | None
    num_speakers: int | None
    normaliser: NormaliseWaveform
    step: int
    metrics: dict[str, float]

    @property
    def answers_speech(self) -> bool:
        return not isinstance(self.network, SpeakerNetwork)

    @property
    def answers_speaker(self) -> bool:
        return not isinstance(self.network, SpeechNetwork)


def answers(
    network: Network, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
) -> tuple[SpeechOutput | None, SpeakerOutput | None]:
    """What a network says of normalised waveforms; None for a task that it does not know."""
    output = network(waveforms, num_samples)
    if isinstance(output, MultiTaskOutput):
        return output.speech, output.speaker
    return (output, None) if isinstance(output, SpeechOutput) else (None, output)


def load_trained(checkpoint: Path) -> TrainedNetwork:
    """The network of a checkpoint.

    Raises:
        ValueError: it is no complete checkpoint of this project; one that was written before
            checkpoints held the architecture needs the config of the model that it started from.
    """
    content = read_whole_checkpoint(checkpoint)
    record = content[RECORD_KEY]
    config_name, config = record["config_name"], record["config"]
    with TemporaryDirectory() as folder:
        tokenizer = _tokenizer(record, Path(folder))
        network = _untrained(record, tokenizer, Path(folder))
    weights = {
        name.removeprefix(_WEIGHTS): value
        for name, value in content["state_dict"].items()
        if name.startswith(_WEIGHTS)
    }
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in {checkpoint} are not those of the network that it describes "
            f"({textwrap.shorten(str(error), 200)}); use a checkpoint as a run wrote it."
        ) from error
    return TrainedNetwork(
        config_name=config_name,
        config=config,
        network=network.eval(),
        tokenizer=tokenizer,
        num_speakers=record["num_speakers"],
        normaliser=_normaliser(config_name, config),
        step=int(content["global_step"]),
        metrics=dict(record["metrics"]),
    )


def _tokenizer(record: dict[str, Any], folder: Path) -> LetterTokenizer | None:
    """Of the letters in the record, since the file that they came from may be gone."""
    if record["config_name"] == "train_speaker":
        return None
    node = dict(record["config"]["speech"]["tokenizer"])
    symbols = record.get("vocabulary")
    if symbols is not None:
        path = folder / "vocabulary.json"
        path.write_text(json.dumps({symbol: index for index, symbol in enumerate(symbols)}))
        node["vocabulary_path"] = str(path)
    tokenizer: LetterTokenizer = instantiate(node)
    return tokenizer


def _untrained(record: dict[str, Any], tokenizer: LetterTokenizer | None, folder: Path) -> Network:
    """Random weights in place of every file that training started from, as all are overwritten."""
    node = dict(record["config"]["network"])
    node["reset_weights"] = True
    if "architecture" in record:
        (folder / "config.json").write_text(json.dumps(record["architecture"]))
        node["wav2vec_huggingface_id"] = str(folder)
    classes: dict[str, Any] = {}
    if tokenizer is not None:
        node |= {"speech_head_huggingface_id": None, "ctc_bias_init": "zero"}
        classes |= {"num_letters": tokenizer.num_letters, "letter_statistics": None}
    if record["num_speakers"] is not None:
        classes["num_speakers"] = record["num_speakers"]
    network: Network = instantiate(node, **classes)
    return network


def _normaliser(config_name: str, config: dict[str, Any]) -> NormaliseWaveform:
    tasks = {"train_speech": ["speech"], "train_speaker": ["speaker"]}.get(
        config_name, ["speech", "speaker"]
    )
    nodes = [config[task]["pipeline"]["normaliser"] for task in tasks]
    if nodes.count(nodes[0]) != len(nodes):
        raise ValueError(
            f"speech.pipeline.normaliser={nodes[0]} differs from that of speaker ({nodes[-1]}), "
            "but one waveform has one normalisation here; use a run in which both are alike."
        )
    normaliser: NormaliseWaveform = instantiate(nodes[0])
    return normaliser
