"""Measure the speed of the training streams and the padding of speech batches.

Two baselines. For speakers: decoding each file whole and cutting the 3 s chunk out of it, where
ours decodes the chunk alone. For speech: batches of a fixed size in random order, where ours cuts
batches of similar lengths. Without --data-folder, shards of noise are written first, with
durations spread as in LibriSpeech and VoxCeleb; they are read from the page cache.
"""

import argparse
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import count, islice
from multiprocessing import active_children
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from default_settings import default_settings
from jaxtyping import Int16
from torch.utils.data import DataLoader

from w2v2_mt.core.samples import EncodedSample, SpeakerSample
from w2v2_mt.core.units import SAMPLE_RATE_HZ, samples_from_seconds, seconds_from_samples
from w2v2_mt.data.batching import equal_size_batches
from w2v2_mt.data.encoded_audio import decode
from w2v2_mt.data.speaker import SpeakerData
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.data.streams import TrainingStream
from w2v2_mt.data.transforms import ChunkSelector, NormaliseWaveform
from w2v2_mt.prepare.audio import encode
from w2v2_mt.prepare.options import AudioFormat
from w2v2_mt.settings.instantiation import instantiate

NUM_WORKERS = (0, 1, 2)
NUM_PASSES = 3
NUM_SPEAKERS = 100

Utterance = tuple[Int16[np.ndarray, " samples"], dict[str, str]]
"""Audio at 16 kHz and its labels."""


class Speed(NamedTuple):
    """Seconds of audio per second, and per second of CPU time of all processes."""

    per_sec: float
    per_cpu_sec: float


def median(speeds: Iterable[Speed]) -> Speed:
    """Return the medians of both."""
    return Speed(*map(statistics.median, zip(*speeds, strict=True)))


def cut_whole_file(
    sample: EncodedSample, *, selector: ChunkSelector, normaliser: NormaliseWaveform, rng: Random
) -> SpeakerSample:
    """Make the sample of a chunk like `make_speaker_sample`, with all of its file decoded first."""
    whole = decode(sample)
    (chunk,) = selector.chunks(len(whole), rng)
    return SpeakerSample(
        key=sample.key,
        waveform=normaliser(whole[chunk.start : chunk.stop]),
        speaker_id=sample.entry("speaker_id"),
        speaker_index=sample.entry("speaker_id_idx"),
    )


def draw_noise(durations_sec: Sequence[float]) -> Iterator[Utterance]:
    """Yield noise of these durations, with the metadata of both corpora."""
    rng = np.random.default_rng(0)
    for number, duration_sec in enumerate(durations_sec):
        noise = rng.integers(-3000, 3000, samples_from_seconds(duration_sec), dtype=np.int16)
        yield noise, {"transcription": "NOISE", "speaker_id": str(number % NUM_SPEAKERS)}


def write_shards(
    folder: Path,
    utterances: Iterable[Utterance],
    *,
    samples_per_shard: int,
    audio_format: AudioFormat = "wav",
) -> None:
    """Write utterances of numbered speakers to shards, and the number of speakers."""
    folder.mkdir(parents=True)
    numbered = enumerate(utterances)
    for start in count(0, samples_per_shard):
        of_shard = list(islice(numbered, samples_per_shard))
        if not of_shard:
            break
        with tarfile.open(folder / f"shard_{start:06d}.tar", "w") as shard:
            for number, (samples, labels) in of_shard:
                speaker = labels["speaker_id"]
                metadata = {
                    **labels,
                    "speaker_id_idx": int(speaker),
                    "num_frames": len(samples),
                    "sampling_rate": SAMPLE_RATE_HZ,
                }
                for suffix, content in (
                    (audio_format, encode(samples, audio_format)),
                    ("json", json.dumps(metadata).encode()),
                ):
                    member = tarfile.TarInfo(f"{speaker}/{number}/00001.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, BytesIO(content))
    (folder / "meta.json").write_text(json.dumps({"num_speakers": NUM_SPEAKERS}))


def draw_speech_durations(num_utterances: int) -> list[float]:
    """Return durations as in LibriSpeech: 1.5 to 17 s, mostly 11 to 16."""
    rng = Random(0)
    return [1.5 + 15.5 * rng.betavariate(3, 1.2) for _ in range(num_utterances)]


def write_data_folder(folder: Path, *, num_utterances: int) -> None:
    """Training sets alone: for speech as LibriSpeech; for speakers 4 s and more."""
    rng = Random(0)
    speaker_sec = [4 + rng.expovariate(1 / 4.2) for _ in range(num_utterances)]
    for name, durations_sec in {
        "librispeech_shards/train_clean_100": draw_speech_durations(num_utterances),
        "vox2_shards/train": speaker_sec,
    }.items():
        write_shards(folder / name, draw_noise(durations_sec), samples_per_shard=100)


def training_loader(task: str, settings: dict[str, Any]) -> DataLoader[Any]:
    """The batches that a multi-task run with these settings trains on."""
    pipeline = settings[task]["pipeline"]
    parts = {name: instantiate(node) for name, node in pipeline.items()}
    if task == "speech":
        parts["tokenizer"] = instantiate(settings["speech"]["tokenizer"])
    else:
        parts |= {"test_durations_sec": [], "score_normalisation": "none"}
        parts |= {"cohort_utterances_per_speaker": 1}
    parts["corpus"] = instantiate(settings["data"][task])
    parts["loading"] = instantiate(settings[task]["dataloader"])
    kind = SpeechData if task == "speech" else SpeakerData
    return kind(seed=settings["seed"], **parts).train_dataloader()


def cpu_sec() -> float:
    """Return the CPU time of this process and of its DataLoader workers."""
    num_ticks = 0
    for worker in active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        num_ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + num_ticks / os.sysconf("SC_CLK_TCK")


def read(loader: DataLoader[Any], *, num_batches: int) -> tuple[Speed, list[list[int]]]:
    """Return the speed after the first batch, and the lengths of each batch."""
    batches = iter(loader)
    next(batches)
    start, start_of_cpu = time.perf_counter(), cpu_sec()
    lengths = [next(batches).num_samples.tolist() for _ in range(num_batches)]
    duration_sec = seconds_from_samples(sum(map(sum, lengths)))
    per_sec = duration_sec / (time.perf_counter() - start)
    return Speed(per_sec, duration_sec / (cpu_sec() - start_of_cpu)), lengths


def padding_share(lengths: Iterable[Sequence[int]]) -> float:
    """Return the share of padding in all batches."""
    batches = list(lengths)
    num_real = sum(map(sum, batches))
    return 1 - num_real / sum(len(batch) * max(batch) for batch in batches)


def measure_padding(lengths: list[list[int]]) -> None:
    """Print it for these batches and for random ones of as many utterances."""
    utterances = [num_samples for batch in lengths for num_samples in batch]
    Random(0).shuffle(utterances)
    batch_size = round(len(utterances) / len(lengths))
    ours = padding_share(lengths)
    random = padding_share(equal_size_batches(utterances, Random(0), batch_size=batch_size))
    print(
        f"padding of speech batches: {ours:.1%}; in random order, {batch_size} in a batch: "
        f"{random:.1%}; {random / ours:.1f} times less"
    )


def measure_speech(settings: dict[str, Any], *, num_batches: int) -> list[list[int]]:
    """Print the speed of the speech stream; returns the lengths in its batches."""
    speeds = []
    for _ in range(NUM_PASSES):
        speed, lengths = read(training_loader("speech", settings), num_batches=num_batches)
        speeds.append(speed)
    speed = median(speeds)
    print(
        f"  speech   {speed.per_sec:7.0f} s of audio per second, {speed.per_cpu_sec:.0f} per "
        "second of CPU time",
        flush=True,
    )
    return lengths


def measure_speaker(settings: dict[str, Any], *, num_batches: int) -> None:
    """Print the speed of the speaker stream and of its baseline, which take turns."""
    pipeline = {name: instantiate(node) for name, node in settings["speaker"]["pipeline"].items()}
    decode_whole = partial(
        cut_whole_file,
        selector=pipeline["selector_train"],
        normaliser=pipeline["normaliser"],
        rng=Random(0),
    )
    speeds, baseline_speeds = [], []
    for _ in range(NUM_PASSES):
        speeds.append(read(training_loader("speaker", settings), num_batches=num_batches)[0])
        loader = training_loader("speaker", settings)
        assert isinstance(loader.dataset, TrainingStream)
        # In place of the choice of a chunk and its decoding.
        loader.dataset.choosing = []
        loader.dataset.make_sample = decode_whole
        baseline_speeds.append(read(loader, num_batches=num_batches)[0])
    speed, baseline = median(speeds), median(baseline_speeds)
    print(
        f"  speaker  {speed.per_sec:7.0f} s of audio per second, {speed.per_cpu_sec:.0f} per "
        f"second of CPU time; whole files decoded: {baseline.per_sec:.0f}, "
        f"{baseline.per_cpu_sec:.0f}; "
        f"{speed.per_cpu_sec / baseline.per_cpu_sec:.2f} times as fast in CPU time",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-folder", help="prepared shards, in place of noise")
    parser.add_argument("--num-utterances", type=int, default=800, help="of noise, in each corpus")
    parser.add_argument("--num-batches", type=int, default=100, help="in each of three passes")
    parser.add_argument("overrides", nargs="*", help="settings, such as data=mt_vox1_libri")
    arguments = parser.parse_intermixed_args()
    overrides = list(arguments.overrides)
    with tempfile.TemporaryDirectory() as temporary_folder:
        if arguments.data_folder is None:
            write_data_folder(Path(temporary_folder), num_utterances=arguments.num_utterances)
            overrides += ["data.speech.train_sets=[train_clean_100]"]
        data_folder = Path(arguments.data_folder or temporary_folder).resolve()
        overrides += [f"data_folder={data_folder}"]
        for num_workers in NUM_WORKERS:
            print(f"{num_workers} workers, median of {NUM_PASSES} passes:")
            settings = default_settings(f"num_workers={num_workers}", *overrides)
            lengths = measure_speech(settings, num_batches=arguments.num_batches)
            measure_speaker(settings, num_batches=arguments.num_batches)
        measure_padding(lengths)


if __name__ == "__main__":
    main()
