"""Look into a folder of shards: what it holds, one utterance in full, some as files to hear."""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

import soundfile

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.data.preparation.command_line import BYTES_PER_MB, run_command
from w2v2_mt.data.preparation.shard_sets import META_FILE
from w2v2_mt.data.shards import find_shards, read_shard

PRODUCER = "one of scripts/data/*/produce_*.sh"
TEXT_LABELS = ("transcription", "speaker_id")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as .../vox1_shards/train")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="NEW_FOLDER",
        help="write utterances there, each as audio and as a text: its words or its speaker",
    )
    parser.add_argument(
        "--num_utterances", type=int, default=10, help="so many to export (%(default)s)"
    )
    return run_command(_inspect, parser.parse_args(arguments))


def _inspect(options: argparse.Namespace) -> None:
    if options.num_utterances < 1:
        raise ValueError(f"--num_utterances is {options.num_utterances}; it must be at least 1.")
    shards = find_shards(options.folder, producer=PRODUCER)
    num_megabytes = sum(shard.stat().st_size for shard in shards) / BYTES_PER_MB
    print(f"{options.folder}: {len(shards)} shards, {num_megabytes:.1f} MB")
    meta = options.folder / META_FILE
    if meta.is_file():
        facts = json.loads(meta.read_text(encoding="utf-8"))
        for name, value in facts.items():
            print(f"  {name}: {f'{len(value)} names' if isinstance(value, list) else value}")
    samples = chain.from_iterable(map(read_shard, shards))
    first = next(samples, None)
    if first is None:
        raise ValueError(f"the shards of {options.folder} hold no utterance; write them again.")
    _print(first)
    if options.export is not None:
        _export(islice(chain([first], samples), options.num_utterances), options.export)


def _print(sample: EncodedSample) -> None:
    audio = soundfile.info(io.BytesIO(sample.audio_file()))
    print(f"{sample.key}, in {Path(sample.shard).name}:")
    print(f"  {audio.format} {audio.subtype}, {audio.samplerate} Hz, {audio.channels} channel")
    print(f"  {seconds_from_samples(audio.frames):.2f} s, {len(sample.audio_file())} bytes")
    for name, value in sample.facts.items():
        print(f"  {name}: {value}")


def _export(samples: islice, folder: Path) -> None:
    if folder.exists():
        raise ValueError(f"{folder} exists already; name a new folder for --export.")
    folder.mkdir(parents=True)
    num_exported = 0
    for sample in samples:
        stem = sample.key.replace("/", "-")
        suffix = soundfile.info(io.BytesIO(sample.audio_file())).format.lower()
        (folder / f"{stem}.{suffix}").write_bytes(sample.audio_file())
        text = next(str(sample.facts[name]) for name in TEXT_LABELS if name in sample.facts)
        (folder / f"{stem}.txt").write_text(text + "\n", encoding="utf-8")
        num_exported += 1
    print(f"{num_exported} utterances are in {folder}.")


if __name__ == "__main__":
    sys.exit(main())
