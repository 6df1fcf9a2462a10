"""The ONNX file of a trained network: CTC logits with their lengths, and speaker embeddings."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import onnx
import onnxruntime
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.atomic_output import atomic_output, check_is_new
from w2v2_mt.core.padding import pad_sequences, padding_mask
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.inference.precision import Int8, set_precision
from w2v2_mt.inference.trained_network import TrainedNetwork, load_trained
from w2v2_mt.models.networks import TaskNetwork

GraphPrecision = Literal["32-true", Int8]
"""The precision of a graph: float32, with the linear layers of the transformer in int8 or not."""

_MAX_BYTES = 2**31
"""Size limit of protobuf, and so of an ONNX file without external data."""
_TOLERANCES = {"32-true": 1e-4, "int8-mixed": 0.1}
"""Largest difference to torch in float32, relative to the largest value if that is above 1."""
_TRACED_NUM_SAMPLES = (16_000, 12_000)
"""Two lengths, so that the operations on padding are in the graph."""
_COMPARED_NUM_SAMPLES = (5_001, 16_000, 160_001)
_DYNAMIC_AXES = {
    "waveforms": {0: "batch", 1: "samples"},
    "num_samples": {0: "batch"},
    "logits": {0: "batch", 1: "frames"},
    "num_frames": {0: "batch"},
    "embeddings": {0: "batch"},
}


def export(
    checkpoint: Path, file: Path, *, precision: GraphPrecision, trust: Sequence[str] = ()
) -> float:
    """Write the network of a checkpoint as ONNX, in a new file.

    Returns:
        The largest difference to torch in float32, relative where values are above 1.

    Raises:
        ValueError: The file exists or cannot be written, or the network cannot be a graph.
    """
    check_is_new(file, "file")
    trained = load_trained(checkpoint, trust=trust)
    return write_graph(trained, file, precision=precision, source=checkpoint)


def write_graph(
    trained: TrainedNetwork, file: Path, *, precision: GraphPrecision, source: Path
) -> float:
    """Write a loaded network, which int8 changes in place, like `export`.

    Args:
        trained: The network.
        file: The new file.
        precision: The precision of the graph.
        source: The name of the network in messages.

    Returns:
        The difference that `export` returns.

    Raises:
        ValueError: The network cannot be a graph, or its graph differs from it.
    """
    network = trained.network
    if network.permutation is not None or network.trunk.permutation is not None:
        raise ValueError(
            f"{source} cannot be exported: it shuffles frames at random, which a graph cannot. "
            "Export a network that was trained with network.random_permutation_mode=null."
        )
    waveforms = _compared_waveforms()
    expected = [_answer_alone(trained, waveform) for waveform in waveforms]
    set_precision(network, precision)
    num_bytes = sum(x.numel() * x.element_size() for x in network.state_dict().values())
    if num_bytes >= _MAX_BYTES:
        raise ValueError(
            f"{source} cannot be exported: its weights have {num_bytes / 2**30:.1f} GiB, and "
            f"an ONNX file holds less than {_MAX_BYTES / 2**30:.0f} GiB. Export a smaller network."
        )
    tolerance = _TOLERANCES[precision]
    with atomic_output(file) as written:
        names = _write(trained, written)
        difference = _largest_difference(waveforms, expected, written, names)
        if not difference <= tolerance:
            raise ValueError(
                f"{source} cannot be exported: its graph is up to {difference:.1e} from torch, "
                f"but {tolerance:.0e} is allowed. Use the checkpoint itself."
            )
    return difference


class _TracedNetwork(nn.Module):
    """A network with the normalization of its training, whose outputs are a tuple of tensors.

    Each waveform is normalized over its samples without padding: (x - mean) / sqrt(variance + eps).
    """

    def __init__(self, trained: TrainedNetwork):
        super().__init__()
        self.network = trained.network
        self.eps = trained.normaliser.eps

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> tuple[Tensor, ...]:
        is_real = padding_mask(num_samples, waveforms.shape[1])
        count = num_samples.clamp(min=1)[:, None]
        # In double precision: other tools sum sample by sample, which in single precision changes
        # the logits of a minute of audio by 0.007.
        samples = torch.where(is_real, waveforms.double(), 0)
        centred = torch.where(is_real, samples - samples.sum(dim=1, keepdim=True) / count, 0)
        variance = centred.square().sum(dim=1, keepdim=True) / count
        normalized = (centred / torch.sqrt(variance + self.eps)).float()
        return tuple(_graph_outputs(self.network, normalized, num_samples).values())


def _graph_outputs(
    network: TaskNetwork, waveforms: Tensor, num_samples: Tensor
) -> dict[str, Tensor]:
    """Return the outputs of a graph by name, each of the first task with such an output."""
    answers = network.answer(waveforms, num_samples)
    outputs: dict[str, Tensor] = {}
    for task, head in network.heads.items():
        for name in head.graph_outputs:
            outputs.setdefault(name, getattr(answers[task], name))
    return outputs


def _write(trained: TrainedNetwork, file: Path) -> list[str]:
    """Trace and write the network, and return the names of its outputs."""
    inputs = {
        "waveforms": torch.randn(len(_TRACED_NUM_SAMPLES), max(_TRACED_NUM_SAMPLES)),
        "num_samples": torch.tensor(_TRACED_NUM_SAMPLES),
    }
    heads = trained.network.heads.values()
    names = list(dict.fromkeys(name for head in heads for name in head.graph_outputs))
    with torch.no_grad(), warnings.catch_warnings():
        # Warnings of conditions that the trace fixes; they are the same for all lengths above one
        # frame.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _TracedNetwork(trained).eval(),
            tuple(inputs.values()),
            str(file),
            dynamo=False,  # The other exporter needs one package more.
            opset_version=17,
            input_names=list(inputs),
            output_names=names,
            dynamic_axes={name: _DYNAMIC_AXES[name] for name in (*inputs, *names)},
        )
    model = onnx.load(file)
    onnx.helper.set_model_props(model, _metadata(trained))
    onnx.save(model, file)
    return names


def _metadata(trained: TrainedNetwork) -> dict[str, str]:
    """Return what a user of the file needs in addition to it, with values in JSON."""
    metadata: dict[str, object] = {
        "tasks": trained.tasks,
        "sampling_rate": SAMPLE_RATE_HZ,
        "normaliser_eps": trained.normaliser.eps,
    }
    if trained.tokenizer is not None:
        metadata |= {
            "letters": trained.tokenizer.symbols,
            "blank_index": trained.tokenizer.blank_index,
            "special_symbols": trained.tokenizer.special_symbols,
            "word_boundary": trained.tokenizer.boundary,
        }
    threshold = trained.metrics.get("val_eer_threshold")
    if threshold is not None:
        metadata["same_speaker_from"] = threshold
    return {name: json.dumps(value, ensure_ascii=False) for name, value in metadata.items()}


def _compared_waveforms() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=generator) + 0.02 for n in _COMPARED_NUM_SAMPLES]


def _largest_difference(
    waveforms: Sequence[Tensor],
    expected: Sequence[dict[str, Tensor]],
    file: Path,
    names: Sequence[str],
) -> float:
    """Compare utterances alone and in one batch with those that torch answered alone."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    all_rows = list(range(len(waveforms)))
    differences = []
    for rows in [*([row] for row in all_rows), all_rows]:
        padded, num_samples = pad_sequences([waveforms[row] for row in rows])
        inputs = {"waveforms": padded.numpy(), "num_samples": num_samples.numpy()}
        values = map(torch.from_numpy, session.run(names, inputs))
        outputs = dict(zip(names, values, strict=True))
        for position, row in enumerate(rows):
            for name, ours in expected[row].items():
                theirs = outputs[name][position]
                theirs = theirs[: len(ours)] if name == "logits" else theirs
                scale = ours.abs().max().clamp(min=1)
                differences.append(float((theirs - ours).abs().max() / scale))
    return float(torch.tensor(differences).max())  # Python's max may lose a NaN.


def _answer_alone(trained: TrainedNetwork, waveform: Tensor) -> dict[str, Tensor]:
    normalized = trained.normaliser(waveform)
    with torch.no_grad():
        num_samples = torch.tensor([len(normalized)])
        outputs = _graph_outputs(trained.network, normalized[None], num_samples)
    return {name: values[0] for name, values in outputs.items()}
