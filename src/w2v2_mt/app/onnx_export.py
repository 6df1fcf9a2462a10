"""The ONNX file of a trained network: letters with their numbers of frames, and the embedding."""

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2v2_mt.app.new_results import check_is_new, run_writing, written_whole

if TYPE_CHECKING:  # Torch would make --help wait.
    from torch import Tensor

    from w2v2_mt.app.trained import TrainedNetwork

_OPSET = 17
_MAX_BYTES = 2**31
"""What protobuf can hold, and with it an ONNX file without others beside it."""
_TOLERANCE = 1e-4
"""How far a value may be from torch's, in units of the largest where that is more than 1."""
_TRACED_NUM_SAMPLES = (16_000, 12_000)
"""Two lengths, since what is done for padding has to be in the graph."""
_COMPARED_NUM_SAMPLES = (5_001, 16_000, 160_001)
_DYNAMIC_AXES = {
    "waveforms": {0: "batch", 1: "samples"},
    "num_samples": {0: "batch"},
    "logits": {0: "batch", 1: "frames"},
    "num_frames": {0: "batch"},
    "embeddings": {0: "batch"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Write the network of a checkpoint as ONNX. Inputs: waveforms [batch, samples] "
        "as read at 16 kHz, num_samples [batch]. Outputs, as far as the network has them: logits "
        "[batch, frames, letters] with num_frames [batch], embeddings [batch, values]."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="such as .../best.ckpt")
    parser.add_argument("file", type=Path, metavar="FILE", help="a new file, such as model.onnx")
    options = parser.parse_args(arguments)

    def write() -> str:
        difference = export(options.checkpoint, options.file)
        return f"The network is in {options.file}; it is within {difference:.1e} of torch."

    return run_writing(write)


def export(checkpoint: Path, file: Path) -> float:
    """Returns the largest difference to torch, relative where values are larger than 1.

    Raises:
        ValueError: the file exists or cannot be written, the network has no graph, or the graph
            answers otherwise.
    """
    check_is_new(file, "file")

    from w2v2_mt.app.trained import load_trained
    from w2v2_mt.models.graph import check_traceable

    trained = load_trained(checkpoint)
    try:
        check_traceable(trained.network)
        _check_size(trained)
    except ValueError as error:
        raise ValueError(f"{checkpoint} cannot be exported: {error}") from error
    with written_whole(file) as written:
        _write(trained, written)
        difference = _largest_difference(trained, written)
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"{checkpoint} cannot be exported: its graph is up to {difference:.1e} from torch, "
                f"but {_TOLERANCE:.0e} is allowed; use the checkpoint itself."
            )
    return difference


def _check_size(trained: "TrainedNetwork") -> None:
    num_bytes = sum(x.numel() * x.element_size() for x in trained.network.state_dict().values())
    if num_bytes >= _MAX_BYTES:
        raise ValueError(
            f"its weights have {num_bytes / 2**30:.1f} GiB, and an ONNX file holds less than "
            f"{_MAX_BYTES / 2**30:.0f} GiB; export a smaller network."
        )


def _output_names(trained: "TrainedNetwork") -> list[str]:
    return [
        *(["logits", "num_frames"] if trained.answers_speech else []),
        *(["embeddings"] if trained.answers_speaker else []),
    ]


def _write(trained: "TrainedNetwork", file: Path) -> None:
    import onnx
    import torch

    from w2v2_mt.models.graph import WaveformsToAnswers

    inputs = {
        "waveforms": torch.randn(len(_TRACED_NUM_SAMPLES), max(_TRACED_NUM_SAMPLES)),
        "num_samples": torch.tensor(_TRACED_NUM_SAMPLES),
    }
    names = [*inputs, *_output_names(trained)]
    with torch.no_grad(), warnings.catch_warnings():
        # Of conditions that the trace fixes: all are the same for whatever is longer than a frame.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            WaveformsToAnswers(trained.network, eps=trained.normaliser.eps).eval(),
            tuple(inputs.values()),
            str(file),
            dynamo=False,  # The other exporter needs one package more.
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=_output_names(trained),
            dynamic_axes={name: _DYNAMIC_AXES[name] for name in names},
        )
    model = onnx.load(file)
    onnx.helper.set_model_props(model, _metadata(trained))
    onnx.save(model, file)


def _metadata(trained: "TrainedNetwork") -> dict[str, str]:
    """What a reader of the file needs besides it; values are JSON."""
    from w2v2_mt.core.units import SAMPLE_RATE_HZ

    facts: dict[str, object] = {
        "tasks": [
            *(["speech"] if trained.answers_speech else []),
            *(["speaker"] if trained.answers_speaker else []),
        ],
        "sampling_rate": SAMPLE_RATE_HZ,
        "normaliser_eps": trained.normaliser.eps,
    }
    if trained.tokenizer is not None:
        from w2v2_mt.data.tokenizer import WORD_BOUNDARY

        facts |= {
            "letters": trained.tokenizer.symbols,
            "blank_index": trained.tokenizer.blank_index,
            "word_boundary": WORD_BOUNDARY,
        }
    threshold = trained.metrics.get("val_eer_threshold")
    if trained.answers_speaker and threshold is not None:
        facts["same_speaker_from"] = threshold
    return {name: json.dumps(fact, ensure_ascii=False) for name, fact in facts.items()}


def _largest_difference(trained: "TrainedNetwork", file: Path) -> float:
    """Between the file for utterances alone and in one batch, and torch for each alone."""
    import onnxruntime
    import torch

    from w2v2_mt.core.padding import pad_sequences

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    waveforms = [0.1 * torch.randn(n, generator=generator) + 0.02 for n in _COMPARED_NUM_SAMPLES]
    expected = [_answers_alone(trained, waveform) for waveform in waveforms]
    differences = []
    for rows in [*([index] for index in range(len(waveforms))), list(range(len(waveforms)))]:
        padded, num_samples = pad_sequences([waveforms[row] for row in rows])
        names = _output_names(trained)
        values = session.run(
            names, {"waveforms": padded.numpy(), "num_samples": num_samples.numpy()}
        )
        given = {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
        for position, row in enumerate(rows):
            for name, ours in expected[row].items():
                theirs = given[name][position]
                theirs = theirs[: len(ours)] if name == "logits" else theirs
                scale = ours.abs().max().clamp(min=1)
                differences.append(float((theirs - ours).abs().max() / scale))
    return float(torch.tensor(differences).max())  # NaN where any is: max of Python may lose it.


def _answers_alone(trained: "TrainedNetwork", waveform: "Tensor") -> dict[str, "Tensor"]:
    import torch

    from w2v2_mt.app.trained import answers

    scaled = trained.normaliser.normalised(waveform)
    with torch.no_grad():
        speech, speaker = answers(trained.network, scaled[None], torch.tensor([len(scaled)]))
    outputs: dict[str, Tensor] = {}
    if speech is not None:
        outputs |= {"logits": speech.logits[0], "num_frames": speech.num_frames[0]}
    if speaker is not None:
        outputs |= {"embeddings": speaker.embeddings[0]}
    return outputs
