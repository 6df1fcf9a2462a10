"""Measure what a precision costs in accuracy, and what it saves in time and memory.

Compares float32, bf16 and int8 in torch, and float32 and int8 in onnxruntime, on one thread and by
turns. The network is that of `--checkpoint`, and the utterances those of the test sets in `--data`;
without them, random weights and noise. First each utterance is run alone by every system, then in
batches of utterances of other lengths by those of torch.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from default_settings import default_settings
from torch import Tensor

from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.data.encoded_audio import decode
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.transforms import NormaliseWaveform
from w2v2_mt.data.trials import read_trials
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.export.onnx import GraphPrecision, write_graph
from w2v2_mt.inference.precision import (
    ResolvedInferencePrecision,
    compute_in,
    set_precision,
)
from w2v2_mt.inference.trained_network import TrainedNetwork, load_trained
from w2v2_mt.metrics.verification import equal_error_rate, trial_scores
from w2v2_mt.metrics.word_error_rate import word_error_rate
from w2v2_mt.settings.instantiation import instantiate

CPU = torch.device("cpu")
NUM_TOKENS = 32
BATCH_SIZE = 8
PRODUCER = "./scripts/demo.sh"
SPEECH_SETS = ("librispeech_shards/test_clean", "librispeech_shards/test_other")
SPEAKER_SET = "vox1_shards/test"

Run = Callable[[Sequence[Tensor]], tuple[list[str], Tensor]]
"""From waveforms to transcripts and embeddings `[batch, dim]`."""


@dataclass(frozen=True)
class Utterance:
    key: str
    transcript: str | None
    waveform: Tensor


@dataclass
class System:
    """A way to run the network, and what it answered."""

    name: str
    run: Run
    num_bytes: int
    transcripts: dict[str, str] = field(default_factory=dict)
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    cpu_sec: list[float] = field(default_factory=list)


def load_network(checkpoint: Path | None, architecture: str) -> TrainedNetwork:
    """Return the network of a checkpoint, or one of both tasks with random weights."""
    if checkpoint is not None:
        return load_trained(checkpoint)
    torch.manual_seed(0)
    settings = default_settings(
        f"network.wav2vec_huggingface_id={architecture}", "network.reset_weights=true"
    )
    network = instantiate(settings["network"]).build(num_tokens=NUM_TOKENS, num_speakers=10)
    return TrainedNetwork(
        config_name="train_mt_speaker_speech",
        config={},
        network=network.eval(),
        tokenizer=LetterTokenizer(vocabulary_path=None),
        num_speakers=10,
        normaliser=NormaliseWaveform(eps=1e-7),
        step=0,
        metrics={},
    )


def read_set(folder: Path) -> Iterator[Utterance]:
    for shard in find_shards(folder, producer=PRODUCER):
        for sample in read_shard(shard):
            yield Utterance(sample.key, sample.metadata.get("transcription"), decode(sample))


def make_noise(num_utterances: int, duration_sec: float | None) -> list[Utterance]:
    """Return noise of 2 to 10 s, or of one duration."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(32_000, 160_000, (num_utterances,), generator=generator).tolist()
    if duration_sec is not None:
        lengths = [round(duration_sec * SAMPLE_RATE_HZ)] * num_utterances
    waveforms = [torch.randn(length, generator=generator) for length in lengths]
    return [Utterance(str(n), None, waveform) for n, waveform in enumerate(waveforms)]


def torch_system(trained: TrainedNetwork, precision: ResolvedInferencePrecision) -> System:
    network = deepcopy(trained.network)
    set_precision(network, precision)
    assert trained.tokenizer is not None
    decode_batch = trained.tokenizer.decode_batch

    def run(waveforms: Sequence[Tensor]) -> tuple[list[str], Tensor]:
        padded, num_samples = pad_sequences([trained.normaliser(each) for each in waveforms])
        with torch.inference_mode(), compute_in(precision, CPU):
            outputs = network.answer(padded, num_samples)
        speech = outputs["speech"]
        transcripts = decode_batch(speech.logits.argmax(dim=-1), speech.num_frames)
        return transcripts, outputs["speaker"].embeddings.float()

    state = network.state_dict().values()
    return System(f"torch {precision}", run, sum(x.numel() * x.element_size() for x in state))


def onnx_system(trained: TrainedNetwork, precision: GraphPrecision, folder: Path) -> System:
    file = folder / f"{precision}.onnx"
    copied = replace(trained, network=deepcopy(trained.network))
    difference = write_graph(copied, file, precision=precision, source=file)
    print(f"the graph in {precision} is within {difference:.1e} of torch in float32")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    assert trained.tokenizer is not None
    decode_batch = trained.tokenizer.decode_batch

    def run(waveforms: Sequence[Tensor]) -> tuple[list[str], Tensor]:
        padded, num_samples = pad_sequences(list(waveforms))
        inputs = {"waveforms": padded.numpy(), "num_samples": num_samples.numpy()}
        values = session.run(["logits", "num_frames", "embeddings"], inputs)
        logits, num_frames, embeddings = map(torch.from_numpy, values)
        return decode_batch(logits.argmax(dim=-1), num_frames), embeddings

    return System(f"onnx {precision}", run, file.stat().st_size)


def run_alone(systems: Sequence[System], utterances: Sequence[Utterance]) -> None:
    """Run each utterance with each system in turn, and store answers and CPU times."""
    for utterance in utterances:
        for system in systems:
            start = time.process_time()
            (transcript,), (embedding,) = system.run([utterance.waveform])
            system.cpu_sec.append(time.process_time() - start)
            system.transcripts[utterance.key] = transcript
            system.embeddings[utterance.key] = embedding


def scores_of_pairs(embeddings: Sequence[Tensor]) -> np.ndarray:
    """Return the cosines of all pairs of utterances."""
    directions = F.normalize(torch.stack(list(embeddings)).double(), dim=1)
    first, second = torch.triu_indices(len(directions), len(directions), offset=1)
    return (directions[first] * directions[second]).sum(dim=1).numpy()


def print_system(
    system: System, reference: System, utterances: Sequence[Utterance], data: Path | None
) -> None:
    duration_sec = sum(len(each.waveform) for each in utterances) / SAMPLE_RATE_HZ
    ratio = np.median(np.array(reference.cpu_sec) / np.array(system.cpu_sec))
    scores, expected = (scores_of_pairs(list(x.embeddings.values())) for x in (system, reference))
    change = np.abs(scores - expected)
    print(
        f"{system.name}: {sum(system.cpu_sec) / duration_sec:.4f} s of CPU time per s of audio, "
        f"{ratio:.2f} times as fast as {reference.name} (median), "
        f"{system.num_bytes / 2**20:.2f} MiB; scores change by {change.mean():.1e} on average and "
        f"{change.max():.1e} at most (standard deviation {expected.std():.2f})"
    )
    if data is not None:
        for name in SPEECH_SETS:
            keys, texts = zip(
                *((each.key, each.transcript or "") for each in read_set(data / name)), strict=True
            )
            rate = word_error_rate(texts, [system.transcripts[key] for key in keys])
            print(f"  WER of {name}: {100 * rate:.2f} %")
        (path,) = (data / SPEAKER_SET).glob("*trials.txt")
        trials = read_trials(path, producer=PRODUCER)
        labels = [trial.same_speaker for trial in trials]
        rate, _ = equal_error_rate(trial_scores(system.embeddings, trials), labels)
        print(f"  EER of {len(trials)} trials of {SPEAKER_SET}: {100 * rate:.2f} %")
    changed = [
        (text, system.transcripts[key])
        for key, text in reference.transcripts.items()
        if system.transcripts[key] != text
    ]
    print(f"  transcripts that change: {len(changed)} of {len(reference.transcripts)}")
    for text, other in changed if data is not None else []:
        print(f"    {text} -> {other}")


def print_batches(system: System, utterances: Sequence[Utterance]) -> None:
    """Print how much batches of several utterances change what a system answers."""
    transcripts, embeddings = [], []
    for start in range(0, len(utterances), BATCH_SIZE):
        batch = [each.waveform for each in utterances[start : start + BATCH_SIZE]]
        of_batch, of_voices = system.run(batch)
        transcripts += of_batch
        embeddings += list(of_voices)
    alone = scores_of_pairs([system.embeddings[each.key] for each in utterances])
    change = np.abs(scores_of_pairs(embeddings) - alone)
    pairs = zip(utterances, transcripts, strict=True)
    num_changed = sum(system.transcripts[each.key] != text for each, text in pairs)
    print(
        f"{system.name}: batches of {BATCH_SIZE} change scores by {change.mean():.1e} on average "
        f"and {change.max():.1e} at most, and {num_changed} of {len(utterances)} transcripts"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="of a run of both tasks")
    parser.add_argument("--network", default="tiny", help="an architecture (tiny)")
    parser.add_argument("--data", type=Path, help="the folder with the test sets of the demo")
    parser.add_argument("--num_utterances", type=int, default=64, help="of noise")
    parser.add_argument("--duration_sec", type=float, help="of noise (2 to 10 s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_network(arguments.checkpoint, arguments.network)
    if arguments.data is None:
        utterances = make_noise(arguments.num_utterances, arguments.duration_sec)
    else:
        names = [*SPEECH_SETS, SPEAKER_SET]
        utterances = [each for name in names for each in read_set(arguments.data / name)]
    in_torch: list[ResolvedInferencePrecision] = ["32-true", "bf16-mixed", "int8-mixed"]
    in_graphs: list[GraphPrecision] = ["32-true", "int8-mixed"]
    with TemporaryDirectory() as folder:
        of_torch = [torch_system(trained, precision) for precision in in_torch]
        of_onnx = [onnx_system(trained, precision, Path(folder)) for precision in in_graphs]
    systems = [*of_torch, *of_onnx]
    for system in systems:  # Once, as the first run is slower.
        system.run([utterances[0].waveform])
    run_alone(systems, utterances)
    for system in systems:
        print_system(system, of_torch[0], utterances, arguments.data)
    for system in of_torch:
        print_batches(system, utterances)


if __name__ == "__main__":
    main()
