"""Measure the speed of turning archives into shards and the disk it uses.

Baselines: LibriSpeech unpacked, converted by one ffmpeg per file, as many at once as there are
cores, and then written to shards; m4a files converted by ffmpeg at its best: as many processes as
cores, with 64 files each. Ours is the command that users run. All take turns on the same files of
DATA_FOLDER, which holds the archives under their official names. "CPU" compares the processor time
of all processes, which other work on the machine changes less.
"""

import argparse
import io
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import soundfile

from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.prepare.audio import decode, encode

FFMPEG = ("ffmpeg", "-nostdin", "-loglevel", "error", "-y")
WAV = ("-ar", "16000", "-ac", "1", "-threads", "1")
NUM_CORES = len(os.sched_getaffinity(0))
FILES_PER_PROCESS = 64
UTTERANCES_PER_SHARD = 1000
TRAIN_SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500")
CONVERT = Path(__file__).parents[1] / "scripts" / "voxceleb2_convert_to_wav.py"
SAMPLING_SEC = 0.02
MAX_ROUNDED_SHARE = 0.001
VOXCELEB2_SEC = 7.8
"""Duration of a mean utterance, arXiv 1806.05622, table 1."""
MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """The wall time of a piece of work and the CPU time of all its processes."""

    wall_sec: float
    cpu_sec: float


def cost_of(work: Callable[[], object]) -> Cost:
    wall_sec, cpu_sec = time.perf_counter(), sum(os.times()[:4])
    work()
    return Cost(time.perf_counter() - wall_sec, sum(os.times()[:4]) - cpu_sec)


def speed(costs: list[Cost], num_files: int) -> str:
    """The medians of all rounds."""
    wall_sec = statistics.median(cost.wall_sec for cost in costs)
    cpu_sec = statistics.median(cost.cpu_sec for cost in costs)
    return f"{num_files / wall_sec:.0f} in a second, {1000 * cpu_sec / num_files:.1f} ms CPU each"


def ratio(baselines: list[Cost], ours: list[Cost]) -> str:
    """Return the speedup of ours: the median of all rounds, and each."""
    pairs = list(zip(baselines, ours, strict=True))
    walls = [baseline.wall_sec / our.wall_sec for baseline, our in pairs]
    cpus = [baseline.cpu_sec / our.cpu_sec for baseline, our in pairs]
    each = ", ".join(f"{value:.2f}" for value in walls)
    return f"{statistics.median(walls):.2f} ({each}); CPU {statistics.median(cpus):.2f}"


def convert_with_ffmpeg(files: list[Path], *, files_per_process: int) -> None:
    """Write a wav file next to each file, by as many processes at once as there are cores."""

    def convert(batch: list[Path]) -> None:
        command = [*FFMPEG]
        for file in batch:
            command += ["-threads", "1", "-i", str(file)]
        for index, file in enumerate(batch):
            command += ["-map", f"{index}:a:0", *WAV, str(file.with_suffix(".wav"))]
        subprocess.run(command, check=True)

    starts = range(0, len(files), files_per_process)
    with ThreadPoolExecutor(NUM_CORES) as pool:
        list(pool.map(convert, [files[start : start + files_per_process] for start in starts]))


def plain_shards(archive: Path, folder: Path) -> None:
    """Unpack, convert, write: the audio of an archive as shards."""
    with tarfile.open(archive) as members:
        members.extractall(folder / "unpacked", filter="data")
    files = sorted((folder / "unpacked").rglob("*.flac"))
    convert_with_ffmpeg(files, files_per_process=1)
    for start in range(0, len(files), UTTERANCES_PER_SHARD):
        with tarfile.open(folder / f"{start:06d}.tar", "w") as shard:
            for file in files[start : start + UTTERANCES_PER_SHARD]:
                key = file.stem.replace("-", "/")
                shard.add(file.with_suffix(".wav"), f"{key}.wav")


def run_ours(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def our_shards(archive: Path, folder: Path) -> None:
    (folder / "librispeech").mkdir(parents=True)
    (folder / "librispeech" / archive.name).symlink_to(archive.resolve())
    run_ours("-m", "w2v2_mt", "prepare", "librispeech", "--data_folder", folder)


def plain_samples(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as shard:
            for member in shard:
                content = shard.extractfile(member)
                assert content is not None
                found[member.name.removesuffix(".wav")] = pcm(content.read())
    return found


def our_samples(folder: Path) -> dict[str, bytes]:
    (shards,) = (folder / "librispeech_shards").glob("*/")
    return {
        sample.key: pcm(sample.audio_file())
        for shard in find_shards(shards, producer="ours")
        for sample in read_shard(shard)
    }


def check_samples(ours: bytes, theirs: bytes) -> None:
    """Check that two files hold the same samples, up to how versions of FFmpeg round.

    Their AAC decoders differ by some thousandths of a 16 bit step before rounding.
    """
    ours_16_bit, theirs_16_bit = (
        soundfile.read(io.BytesIO(content), dtype="int16")[0].astype(int)
        for content in (ours, theirs)
    )
    assert ours_16_bit.shape == theirs_16_bit.shape
    differences = abs(ours_16_bit - theirs_16_bit)
    assert differences.max() <= 1
    assert differences.mean() < MAX_ROUNDED_SHARE


def pcm(content: bytes) -> bytes:
    return soundfile.read(io.BytesIO(content), dtype="int16")[0].tobytes()


def compare_shards(archive: Path, *, num_rounds: int) -> None:
    plain, ours = [], []
    for _ in range(num_rounds):
        with tempfile.TemporaryDirectory() as name:
            plain_folder, our_folder = Path(name, "plain"), Path(name, "ours")
            plain_folder.mkdir()
            plain.append(cost_of(partial(plain_shards, archive, plain_folder)))
            ours.append(cost_of(partial(our_shards, archive, our_folder)))
            samples = our_samples(our_folder)
            assert plain_samples(plain_folder) == samples
    print(
        f"{len(samples)} utterances to shards: {speed(ours, len(samples))}, the same samples; "
        f"times as fast as with one ffmpeg for each file: {ratio(plain, ours)}",
        flush=True,
    )


def measure_disk(archive: Path) -> None:
    """The disk that our shards take on the way and in the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes: list[int] = []
        is_over = threading.Event()

        def sample() -> None:
            while not is_over.wait(SAMPLING_SEC):
                sizes.append(disk_usage(folder))

        with ThreadPoolExecutor(1) as pool:
            pool.submit(sample)
            our_shards(archive, folder)
            is_over.set()
        in_the_end = disk_usage(folder)
        shard = max(path.stat().st_size for path in folder.rglob("*.tar"))
    print(
        f"{archive.stat().st_size / MIB:.0f} MiB of archive: at most {max(sizes) / MIB:.0f} MiB on "
        f"disk on the way, {in_the_end / MIB:.0f} MiB in the end, in shards of {shard / MIB:.0f} "
        f"MiB (looked at {len(sizes)} times)",
        flush=True,
    )


def disk_usage(folder: Path) -> int:
    """In bytes; a file may vanish while it is looked at."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(path, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def write_repeated(archive: Path, *, source: Path, num_repeats: int) -> None:
    """Write an archive with N copies of the training archives, each with other readers."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for number, subset in itertools.product(range(num_repeats), TRAIN_SUBSETS):
            with tarfile.open(source / f"{subset}.tar.gz") as members:
                for member in members:
                    if not member.name.endswith((".flac", ".trans.txt")):
                        continue
                    reader, chapter, name = member.name.split("/")[2:]
                    old, new = f"{reader}-{chapter}", f"{reader}{number:03d}-{chapter}"
                    content = members.extractfile(member)
                    assert content is not None
                    audio_or_text = content.read().replace(f"{old}-".encode(), f"{new}-".encode())
                    folder = f"LibriSpeech/{TRAIN_SUBSETS[0]}/{new.replace('-', '/')}"
                    copy = tarfile.TarInfo(f"{folder}/{name.replace(old, new)}")
                    copy.size = len(audio_or_text)
                    tar.addfile(copy, io.BytesIO(audio_or_text))


def unpack_m4a(folder: Path, *, archive: Path, num_files: int) -> None:
    """The first m4a files of an archive of VoxCeleb2."""
    with zipfile.ZipFile(archive) as members:
        names = [each for each in members.namelist() if each.endswith(".m4a")][:num_files]
        members.extractall(folder, names)


def write_long_m4a(folder: Path, *, source: Path, num_repeats: int) -> None:
    """The utterances of the training archives as AAC, cut to the mean length of VoxCeleb2."""
    with tempfile.TemporaryDirectory() as name:
        for subset in TRAIN_SUBSETS:
            with tarfile.open(source / f"{subset}.tar.gz") as members:
                members.extractall(name, filter="data")
        for number, flac in enumerate(sorted(Path(name).rglob("*.flac"))):
            first = folder / f"dev/aac/{flac.parts[-3]}/{flac.parts[-2]}/{number:05d}.m4a"
            first.parent.mkdir(parents=True, exist_ok=True)
            made = ("-t", str(VOXCELEB2_SEC), "-c:a", "aac", "-b:a", "64k", str(first))
            subprocess.run([*FFMPEG, "-i", str(flac), *made], check=True)
            for repeat in range(1, num_repeats):
                copy = first.parents[1] / f"{first.parent.name}-{repeat}" / first.name
                copy.parent.mkdir(exist_ok=True)
                shutil.copy(first, copy)


def compare_conversion(title: str, write_m4a: Callable[[Path], None], *, num_rounds: int) -> None:
    best, ours = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_m4a(folder)
        files = sorted(folder.rglob("*.m4a"))
        for _ in range(num_rounds):
            best.append(
                cost_of(partial(convert_with_ffmpeg, files, files_per_process=FILES_PER_PROCESS))
            )
            ours.append(cost_of(partial(run_ours, CONVERT, folder)))
            made = folder / "wav"
            for file in files:
                wav = made / file.with_suffix(".wav").relative_to(folder / "dev" / "aac")
                check_samples(wav.read_bytes(), file.with_suffix(".wav").read_bytes())
            shutil.rmtree(made)
    print(
        f"{len(files)} m4a files {title} to wav files: {speed(ours, len(files))}; one ffmpeg for "
        f"{FILES_PER_PROCESS}: {speed(best, len(files))}, the same samples; times as fast: "
        f"{ratio(best, ours)}",
        flush=True,
    )


def compare_decoding(archive: Path, *, num_files: int, num_rounds: int) -> None:
    """Compare decoding alone, without the start of our command, which a million files share."""
    ours, best = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack_m4a(folder, archive=archive, num_files=num_files)
        files = sorted(folder.rglob("*.m4a"))

        def write_wav_files() -> None:
            for file in files:
                samples, _ = decode(file.read_bytes(), source=file.name)
                file.with_suffix(".ours").write_bytes(encode(samples, "wav"))

        for _ in range(num_rounds):
            best.append(
                cost_of(partial(convert_with_ffmpeg, files, files_per_process=FILES_PER_PROCESS))
            )
            ours.append(cost_of(write_wav_files))
        for file in files:
            check_samples(
                file.with_suffix(".ours").read_bytes(), file.with_suffix(".wav").read_bytes()
            )
    print(
        f"{len(files)} m4a files decoded in a running process: {speed(ours, len(files))}; one "
        f"ffmpeg for {FILES_PER_PROCESS}: {speed(best, len(files))}, the same samples; times as "
        f"fast: {ratio(best, ours)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_folder", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("--subset", default=TRAIN_SUBSETS[0], help="the small input (%(default)s)")
    parser.add_argument(
        "--num_repeats",
        type=int,
        default=5,
        help="the large input is this many copies of all training archives (%(default)s)",
    )
    parser.add_argument("--num_files", type=int, default=1920, help="m4a files (%(default)s)")
    parser.add_argument("--num_rounds", type=int, default=3)
    parser.add_argument("--only_m4a", action="store_true", help="measure the conversion alone")
    options = parser.parse_args()
    archives = options.data_folder / "librispeech"
    if not options.only_m4a:
        compare_shards(archives / f"{options.subset}.tar.gz", num_rounds=options.num_rounds)
        with tempfile.TemporaryDirectory() as name:
            large = Path(name, f"{TRAIN_SUBSETS[0]}.tar.gz")
            write_repeated(large, source=archives, num_repeats=options.num_repeats)
            compare_shards(large, num_rounds=options.num_rounds)
            measure_disk(large)
    aac = options.data_folder / "voxceleb_archives" / "vox2_dev_aac.zip"
    compare_decoding(aac, num_files=options.num_files, num_rounds=options.num_rounds)
    compare_conversion(
        "of the archive",
        partial(unpack_m4a, archive=aac, num_files=options.num_files),
        num_rounds=options.num_rounds,
    )
    compare_conversion(
        f"of up to {VOXCELEB2_SEC} s",
        partial(write_long_m4a, source=archives, num_repeats=options.num_repeats),
        num_rounds=options.num_rounds,
    )


if __name__ == "__main__":
    main()
