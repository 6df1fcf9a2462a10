"""How fast do the training streams deliver audio, and how much of a speech batch is padding?

Two baselines. For speakers: decoding each file whole and cutting the 3 s chunk out of it, where
ours decodes the chunk alone. For speech: batches of a fixed size in random order, where ours cuts
batches of similar lengths. Without --data-folder, shards of noise are written first, with
durations spread as in LibriSpeech and VoxCeleb; they are read from the page cache.
"""

import argparse
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from default_settings import default_settings
from torch.utils.data import DataLoader

from w2v2_mt.app.instantiation import instantiate
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.units import SAMPLE_RATE_HZ, samples_from_seconds, seconds_from_samples
from w2v2_mt.data.batching import fixed_size_batches
from w2v2_mt.data.preparation.audio import encode_wav
from w2v2_mt.data.stages import ChunkSelector, Decode, DecodedSample
from w2v2_mt.data.streams import TrainingStream

NUM_WORKERS = (0, 1, 2)
NUM_PASSES = 3


class DecodeWholeFiles:
    """EncodedSample -> DecodedSample: what `Decode` does, with all of a file decoded first."""

    def __init__(self, *, selector: ChunkSelector) -> None:
        self.decode = Decode()
        self.selector = selector

    def __call__(self, samples: Iterable[EncodedSample], rng: Random) -> Iterator[DecodedSample]:
        for sample in self.decode(samples, rng):
            for chunk in self.selector.chunks(len(sample.waveform), rng):
                yield replace(sample, waveform=sample.waveform[chunk.start : chunk.stop])


def write_shards(folder: Path, durations_sec: Sequence[float], *, samples_per_shard: int) -> None:
    """Noise of these durations, with the facts of both corpora."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    num_speakers = 100
    for start in range(0, len(durations_sec), samples_per_shard):
        with tarfile.open(folder / f"shard_{start:06d}.tar", "w") as shard:
            for number, duration_sec in enumerate(durations_sec[start:][:samples_per_shard], start):
                noise = rng.integers(
                    -3000, 3000, samples_from_seconds(duration_sec), dtype=np.int16
                )
                speaker = number % num_speakers
                facts = {
                    "transcription": "NOISE",
                    "speaker_id": str(speaker),
                    "speaker_id_idx": speaker,
                    "num_frames": len(noise),
                    "sampling_rate": SAMPLE_RATE_HZ,
                }
                for suffix, content in (
                    ("wav", encode_wav(noise)),
                    ("json", json.dumps(facts).encode()),
                ):
                    member = tarfile.TarInfo(f"{speaker}/{number}/00001.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, BytesIO(content))
    (folder / "meta.json").write_text(json.dumps({"num_speakers": num_speakers}))


def write_data_folder(folder: Path, *, num_utterances: int) -> None:
    """Training sets alone: for speech 1.5 to 17 s, mostly 11 to 16; for speakers 4 s and more."""
    rng = Random(0)
    speech_sec = [1.5 + 15.5 * rng.betavariate(3, 1.2) for _ in range(num_utterances)]
    speaker_sec = [4 + rng.expovariate(1 / 4.2) for _ in range(num_utterances)]
    for name, durations_sec in {
        "librispeech_shards/train_clean_100": speech_sec,
        "vox2_shards/train": speaker_sec,
    }.items():
        write_shards(folder / name, durations_sec, samples_per_shard=100)


def training_loader(task: str, settings: dict[str, Any]) -> DataLoader[Any]:
    """The batches that a multi-task run with these settings trains on."""
    pipeline = settings[task]["pipeline"]
    parts = {name: instantiate(node) for name, node in pipeline.items()}
    if task == "speech":
        parts["tokenizer"] = instantiate(settings["speech"]["tokenizer"])
    else:
        parts |= {"test_durations_sec": [], "num_cohort_utterances": None}
    loading = instantiate(settings[task]["dataloader"])
    data = instantiate(settings["data"][task], loading=loading, seed=settings["seed"], **parts)
    return data.train_dataloader()


def read(loader: DataLoader[Any], *, num_batches: int) -> tuple[float, list[list[int]]]:
    """Seconds of audio per second behind the first batch, and the lengths of each batch."""
    batches = iter(loader)
    next(batches)
    start = time.perf_counter()
    lengths = [next(batches).num_samples.tolist() for _ in range(num_batches)]
    duration_sec = time.perf_counter() - start
    return seconds_from_samples(sum(map(sum, lengths))) / duration_sec, lengths


def padding_share(lengths: Iterable[Sequence[int]]) -> float:
    """How much of all batches is behind the end of an utterance."""
    batches = list(lengths)
    num_real = sum(map(sum, batches))
    return 1 - num_real / sum(len(batch) * max(batch) for batch in batches)


def measure_padding(lengths: list[list[int]]) -> None:
    """Print it for these batches and for random ones of as many utterances."""
    utterances = [num_samples for batch in lengths for num_samples in batch]
    Random(0).shuffle(utterances)
    batch_size = round(len(utterances) / len(lengths))
    ours = padding_share(lengths)
    random = padding_share(fixed_size_batches(utterances, batch_size=batch_size))
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
    print(f"  speech   {statistics.median(speeds):7.0f} s of audio per second", flush=True)
    return lengths


def measure_speaker(settings: dict[str, Any], *, num_batches: int) -> None:
    """Print the speed of the speaker stream and of its baseline, which take turns."""
    selector = instantiate(settings["speaker"]["pipeline"]["selector_train"])
    speeds, baseline_speeds = [], []
    for _ in range(NUM_PASSES):
        speeds.append(read(training_loader("speaker", settings), num_batches=num_batches)[0])
        loader = training_loader("speaker", settings)
        assert isinstance(loader.dataset, TrainingStream)
        # In place of the choice of a chunk and its decoding.
        loader.dataset.choosing = []
        loader.dataset.decoding[:1] = [DecodeWholeFiles(selector=selector)]
        baseline_speeds.append(read(loader, num_batches=num_batches)[0])
    ratios = [ours / whole for ours, whole in zip(speeds, baseline_speeds, strict=True)]
    print(
        f"  speaker  {statistics.median(speeds):7.0f} s of audio per second; "
        f"whole files decoded: {statistics.median(baseline_speeds):.0f}; "
        f"{statistics.median(ratios):.2f} times as fast",
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
    arguments = parser.parse_args()
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
