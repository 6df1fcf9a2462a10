"""Measure how long the data of a resumed run takes to its first batch, after any number of steps.

python benchmarks/restore.py [--steps 10 1000 100000]

Shards are made of short noises. For each number of steps, the streams of a run draw this many
batches without their audio, and the positions that they report then are those of a checkpoint. A
new DataLoader is restored from it, and its first batch is compared with the next batch of the
undisturbed streams. The same is measured without the position, as earlier versions did, and without
the indices of the shards.
"""

import argparse
import io
import json
import tarfile
import time
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.shard_index import index_of
from w2v2_mt.data.batching import dynamic_batches
from w2v2_mt.data.encoded_audio import decode, sample_length
from w2v2_mt.data.loaders import TrainingLoader
from w2v2_mt.data.positions import RunPosition
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.streams import TrainingStream

MAX_STEPS_OF_REPLAY = 10_000
"""Drawing more batches again takes minutes."""


def write_shards(folder: Path, *, num_shards: int, num_utterances: int) -> None:
    """Write shards of noise with lengths from 0.05 to 0.2 s."""
    rng = np.random.default_rng(0)
    for shard in range(num_shards):
        with tarfile.open(folder / f"s_{shard:06d}.tar", "w") as tar:
            for number in range(num_utterances):
                length, key = int(rng.integers(800, 3200)), f"{shard}/{number % 50}/{number}"
                audio = io.BytesIO()
                soundfile.write(audio, rng.uniform(-1, 1, length), 16_000, format="WAV")
                text = "FIVE TIMES THESE WORDS " * 3
                metadata = {"key": key, "transcription": text, "num_frames": length}
                content_of_json = json.dumps(metadata).encode()
                for name, content in (
                    (f"{key}.wav", audio.getvalue()),
                    (f"{key}.json", content_of_json),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def make_stream(shards: list[Path], **changes: Any) -> TrainingStream:
    """Return a stream of speech batches with the queues of the experiments."""
    settings: dict[str, Any] = {
        "shuffle_buffer_size": 400,
        "batching": partial(
            dynamic_batches, max_num_samples=8_000, max_queue_size=400, length=sample_length
        ),
        "make_sample": _key_and_waveform,
        "collate": list,
        "seed": 1,
        "num_batches_done": 0,
        "rank": 0,
        "world_size": 1,
        "reports_positions": True,
    }
    return TrainingStream(shards=shards, **settings | changes)


def _key_and_waveform(sample: EncodedSample) -> tuple[str, bytes]:
    return sample.key, decode(sample).numpy().tobytes()


def draw_positions(shards: list[Path], steps: list[int]) -> dict[int, tuple[dict[str, Any], Any]]:
    """Return the state of a checkpoint after each number of steps, and the batch that follows."""
    # Only the batches that are compared are decoded.
    loader = TrainingLoader(
        make_stream(shards, make_sample=lambda sample: sample), num_workers=0, pin_memory=False
    )
    found = {}
    for number, batch in enumerate(islice(loader, max(steps) + 1)):
        if number in steps:
            following = [_key_and_waveform(sample) for sample in batch]
            found[number] = loader.position_state(number), following
    return found


def time_first_batch(shards: list[Path], num_workers: int, **start: Any) -> tuple[float, Any]:
    """Return the seconds from the making of a loader to its first batch, and the batch."""
    began = time.perf_counter()
    if "state" in start:
        start = {"position": RunPosition.from_state(start["state"], shards)}
    stream = make_stream(shards, **start)
    loader = TrainingLoader(stream, num_workers=num_workers, pin_memory=False)
    batch = next(iter(loader))
    return time.perf_counter() - began, batch


def measure(folder: Path, steps: list[int], *, num_rounds: int) -> None:
    """Print a table of the seconds to the first batch."""
    shards = find_shards(folder, producer="this benchmark")
    for shard in shards:
        for _ in read_shard(shard, with_audio=False):
            pass
    states = draw_positions(shards, steps)
    print("seconds to the first batch, the least of", num_rounds)
    print(
        f"{'steps':>8} {'position':>9} {'2 workers':>9} {'no index':>9} {'drawn again':>12}  equal"
    )
    for number in steps:
        state, expected = states[number]
        content = io.BytesIO()
        torch.save(state, content)
        rounds = [time_first_batch(shards, 0, state=state) for _ in range(num_rounds)]
        others = [time_first_batch(shards, 2, state=state) for _ in range(num_rounds)]
        for shard in shards:
            index_of(shard).rename(index_of(shard).with_suffix(".away"))
        bare, batch_without_index = time_first_batch(shards, 0, state=state)
        for shard in shards:
            index_of(shard).with_suffix(".away").rename(index_of(shard))
        batches = [batch for _, batch in (*rounds, *others)] + [batch_without_index]
        replay = "-"
        if number <= MAX_STEPS_OF_REPLAY:
            seconds, batch = time_first_batch(shards, 0, num_batches_done=number)
            batches.append(batch)
            replay = f"{seconds:.2f}"
        is_equal = all(batch == expected for batch in batches)
        print(
            f"{number:>8} {min(rounds)[0]:>9.2f} {min(others)[0]:>9.2f} {bare:>9.2f} {replay:>12}"
            f"  {is_equal}, {len(content.getvalue()) / 1024:.0f} KiB in the checkpoint",
            flush=True,
        )


def main() -> None:
    """Measure with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--num-rounds", type=int, default=3)
    parser.add_argument("--num-shards", type=int, default=40)
    parser.add_argument("--num-utterances", type=int, default=500)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        write_shards(
            Path(folder),
            num_shards=arguments.num_shards,
            num_utterances=arguments.num_utterances,
        )
        measure(Path(folder), arguments.steps, num_rounds=arguments.num_rounds)


if __name__ == "__main__":
    main()
