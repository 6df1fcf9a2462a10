"""Inspect a folder of shards: its contents, one utterance in full, some as files to hear."""

import io
import json
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

import soundfile

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count, seconds_from_samples
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.prepare.progress import BYTES_PER_MB
from w2v2_mt.prepare.shard_sets import META_FILE


def inspect_shards(folder: Path, *, export: Path | None, num_utterances: int) -> None:
    """Print what a folder of shards holds, and export at most `num_utterances` to a new folder."""
    if num_utterances < 1:
        raise ValueError(f"--num_utterances ({num_utterances}) must be at least 1.")
    shards = find_shards(folder, producer="one of scripts/data/*/produce_*.sh")
    num_megabytes = sum(shard.stat().st_size for shard in shards) / BYTES_PER_MB
    print_visible(f"{folder}: {count(len(shards), 'shard')}, {num_megabytes:.1f} MB")
    if (meta := folder / META_FILE).is_file():
        for name, value in json.loads(meta.read_text(encoding="utf-8")).items():
            print_visible(
                f"  {name}: {count(len(value), 'name') if isinstance(value, list) else value}"
            )
    samples = chain.from_iterable(map(read_shard, shards))
    first = next(samples, None)
    if first is None:
        raise ValueError(f"the shards of {folder} hold no utterance; write them again.")
    audio = soundfile.info(io.BytesIO(first.audio_file()))
    print_visible(f"{first.key}, in {Path(first.shard).name}:")
    channels = count(audio.channels, "channel")
    print_visible(f"  {audio.format} {audio.subtype}, {audio.samplerate} Hz, {channels}")
    print_visible(f"  {seconds_from_samples(audio.frames):.2f} s, {len(first.audio_file())} bytes")
    for name, value in first.metadata.items():
        print_visible(f"  {name}: {value}")
    if export is not None:
        _export(islice(chain([first], samples), num_utterances), export)


def _export(samples: Iterable[EncodedSample], folder: Path) -> None:
    if folder.exists():
        raise ValueError(f"{folder} exists already; name a new folder for --export.")
    folder.mkdir(parents=True)
    num_exported = 0
    for sample in samples:
        stem = sample.key.replace("/", "-")
        suffix = soundfile.info(io.BytesIO(sample.audio_file())).format.lower()
        (folder / f"{stem}.{suffix}").write_bytes(sample.audio_file())
        text = sample.metadata.get("transcription", sample.metadata.get("speaker_id"))
        (folder / f"{stem}.txt").write_text(f"{text}\n", encoding="utf-8")
        num_exported += 1
    are = "is" if num_exported == 1 else "are"
    print_visible(f"{count(num_exported, 'utterance')} {are} in {folder}.")
