"""How fast are archives turned into shards, and how much memory do a million files take?

Baselines: LibriSpeech unpacked, converted by one ffmpeg for each file, as many at once as there are
cores, and then written to shards; m4a files converted by one ffmpeg each, as many at once. Ours and
the baseline take turns on the same archives, which lie in DATA_FOLDER as the README says.
"""

import argparse
import io
import os
import resource
import statistics
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import soundfile

from w2v2_mt.data.preparation import librispeech
from w2v2_mt.data.preparation.ffmpeg import decode_with_ffmpeg
from w2v2_mt.data.preparation.meta import Sex
from w2v2_mt.data.preparation.splits import split_utterances
from w2v2_mt.data.preparation.trials import make_trials
from w2v2_mt.data.preparation.utterance_names import UtteranceName
from w2v2_mt.data.preparation.workers import answers
from w2v2_mt.data.shards import find_shards, read_shard

FFMPEG = ("ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-threads", "1", "-i")
NUM_CORES = len(os.sched_getaffinity(0))
FILES_PER_TASK = 64
UTTERANCES_PER_SHARD = 1000


def wav_of_each_file(files: list[Path]) -> None:
    """One ffmpeg for each file, as many at once as there are cores."""

    def convert(file: Path) -> None:
        wav = ("-ar", "16000", "-ac", "1", str(file.with_suffix(".wav")))
        subprocess.run([*FFMPEG, str(file), *wav], check=True)

    with ThreadPoolExecutor(NUM_CORES) as pool:
        list(pool.map(convert, files))


def plain_shards(archive: Path, folder: Path) -> None:
    """Unpack, convert, write: the audio of an archive as shards."""
    with tarfile.open(archive) as members:
        members.extractall(folder / "unpacked", filter="data")
    files = sorted((folder / "unpacked").rglob("*.flac"))
    wav_of_each_file(files)
    for start in range(0, len(files), UTTERANCES_PER_SHARD):
        with tarfile.open(folder / f"{start:06d}.tar", "w") as shard:
            for file in files[start : start + UTTERANCES_PER_SHARD]:
                key = file.stem.replace("-", "/")
                shard.add(file.with_suffix(".wav"), f"{key}.wav")


def our_shards(archive: Path, folder: Path) -> None:
    (folder / "librispeech").mkdir(parents=True)
    (folder / "librispeech" / archive.name).symlink_to(archive.resolve())
    subset = archive.name.removesuffix(".tar.gz")
    assert librispeech.main(["--data_folder", str(folder), "--subsets", subset]) == 0


def plain_samples(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as shard:
            for member in shard:
                content = shard.extractfile(member)
                assert content is not None
                found[member.name.removesuffix(".wav")] = _pcm(content.read())
    return found


def our_samples(folder: Path) -> dict[str, bytes]:
    (shards,) = (folder / "librispeech_shards").glob("*/")
    return {
        sample.key: _pcm(sample.audio)
        for shard in find_shards(shards, producer="ours")
        for sample in read_shard(shard)
    }


def _pcm(content: bytes) -> bytes:
    return soundfile.read(io.BytesIO(content), dtype="int16")[0].tobytes()


def decode_task(files: list[Path]) -> int:
    contents = [file.read_bytes() for file in files]
    sources = [str(file) for file in files]
    return len(decode_with_ffmpeg(contents, sources=sources, scratch=files[0].parent))


def decode_together(files: list[Path]) -> None:
    tasks = [
        files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)
    ]
    assert sum(answers(decode_task, tasks, num_workers=NUM_CORES)) == len(files)


def duration_sec_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare_shards(archive: Path, *, num_rounds: int) -> None:
    ratios, ours_sec = [], []
    for _ in range(num_rounds):
        with tempfile.TemporaryDirectory() as name:
            plain, ours = Path(name, "plain"), Path(name, "ours")
            plain.mkdir()
            plain_sec = duration_sec_of(partial(plain_shards, archive, plain))
            ours_sec.append(duration_sec_of(partial(our_shards, archive, ours)))
            ratios.append(plain_sec / ours_sec[-1])
            assert plain_samples(plain) == our_samples(ours)
    print(
        f"{archive.name}: {statistics.median(ours_sec):.2f} s, the same samples "
        f"{statistics.median(ratios):.1f} times as fast as with one ffmpeg for each file "
        f"(each round: {', '.join(f'{ratio:.1f}' for ratio in ratios)})"
    )


def compare_decoding(archive: Path, *, num_files: int, num_rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        files = []
        with zipfile.ZipFile(archive) as members:
            for index, member in enumerate(members.namelist()):
                if member.endswith(".m4a") and len(files) < num_files:
                    files.append(Path(name, f"{index}.m4a"))
                    files[-1].write_bytes(members.read(member))
        ratios, ours_sec = [], []
        for _ in range(num_rounds):
            plain_sec = duration_sec_of(lambda: wav_of_each_file(files))
            ours_sec.append(duration_sec_of(lambda: decode_together(files)))
            ratios.append(plain_sec / ours_sec[-1])
    print(
        f"{len(files)} m4a files: {len(files) / statistics.median(ours_sec):.0f} in a second, "
        f"{statistics.median(ratios):.1f} times as fast as one ffmpeg for each file on all cores "
        f"(each round: {', '.join(f'{ratio:.1f}' for ratio in ratios)})"
    )


def measure_names(num_speakers: int, num_videos: int, num_per_video: int) -> str:
    """Split and trials of a made-up corpus, in a process of its own."""
    speakers = [f"id{number:05d}" for number in range(num_speakers)]
    sexes: dict[str, Sex] = {name: "f" if index % 2 else "m" for index, name in enumerate(speakers)}
    names = [
        UtteranceName(speaker, f"video{video:06d}", f"{number:05d}")
        for speaker in speakers
        for video in range(num_videos)
        for number in range(num_per_video)
    ]
    start = time.perf_counter()
    split_utterances(names, sexes=sexes, val_fraction=0.01, val_split_mode="equal", seed=1)
    split_sec = time.perf_counter() - start
    start = time.perf_counter()
    make_trials(names, sexes=sexes, num_trials=30_000, seed=1)
    trials_sec = time.perf_counter() - start
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return (
        f"{len(names)} files of {num_speakers} speakers: split {split_sec:.1f} s, 30,000 trials "
        f"over all of them {trials_sec:.1f} s, peak memory {memory_mib:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_folder", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("--subset", default="train-clean-100")
    parser.add_argument("--num_files", type=int, default=500, help="m4a files (%(default)s)")
    parser.add_argument("--num_rounds", type=int, default=3)
    options = parser.parse_args()
    for corpus in ((1200, 10, 5), (6000, 20, 9)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            print(pool.submit(measure_names, *corpus).result(), flush=True)
    archive = options.data_folder / "librispeech" / f"{options.subset}.tar.gz"
    compare_shards(archive, num_rounds=options.num_rounds)
    archive = options.data_folder / "voxceleb_archives" / "vox2_dev_aac.zip"
    compare_decoding(archive, num_files=options.num_files, num_rounds=options.num_rounds)


if __name__ == "__main__":
    main()
