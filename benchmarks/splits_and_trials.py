"""Measure time and memory of the split and the trials of a corpus of up to a million files.

The names are made up; each corpus has a process of its own, and 30,000 trials are drawn from all
pairs.
"""

import time
from pathlib import Path

from own_process import peak_memory_mib, run_in_own_process

from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.prepare.options import VoxCelebOptions
from w2v2_mt.prepare.splits import split_utterances
from w2v2_mt.prepare.trials import SpokenUtterance, make_trials
from w2v2_mt.prepare.voxceleb_utterances import UtteranceName


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
    options = VoxCelebOptions(data_folder=Path(), seed=1)
    split_utterances(names, sexes=sexes, options=options)
    split_sec = time.perf_counter() - start
    start = time.perf_counter()
    make_trials(
        [SpokenUtterance(name.speaker_id, name.video_id, name.key) for name in names],
        sexes=sexes,
        num_trials=30_000,
        seed=1,
        set_name="corpus",
        remedy="use more speakers",
    )
    trials_sec = time.perf_counter() - start
    return (
        f"{len(names)} files of {num_speakers} speakers: split {split_sec:.1f} s, 30,000 trials "
        f"over all of them {trials_sec:.1f} s, peak memory {peak_memory_mib():.0f} MiB"
    )


def main() -> None:
    for corpus in ((1200, 10, 5), (6000, 20, 9)):
        print(run_in_own_process(measure_names, *corpus), flush=True)


if __name__ == "__main__":
    main()
