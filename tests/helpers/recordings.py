"""Recordings of computed voices in several formats and rates, as somebody has them in a folder."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from w2v2_mt.synthetic.phonemes import WORDS
from w2v2_mt.synthetic.synthesis import synthesise
from w2v2_mt.synthetic.voices import draw_recording, draw_voices

COLUMNS = ("path", "text", "speaker", "session", "sex")
SUFFIXES_AND_RATES_HZ = (("wav", 16_000), ("flac", 44_100), ("mp3", 44_100))

Row = dict[str, str]


def write_recordings(
    folder: Path, *, num_speakers: int = 6, num_each: int = 5, seed: int = 0
) -> list[Row]:
    """Write `<speaker>/<session>_<number>.<suffix>` and return a row for each, with its labels.

    A speaker has two sessions, and says two words in each file.
    """
    random = np.random.default_rng(seed)
    rows = []
    for number, voice in enumerate(draw_voices(num_speakers, random)):
        speaker = f"speaker{number}"
        channels = [draw_recording(random, signal_to_noise_db=(30.0, 40.0)) for _ in range(2)]
        for index in range(num_each):
            words = random.choice(sorted(WORDS), size=2, replace=False).tolist()
            waveform = synthesise(words, voice=voice, recording=channels[index % 2], random=random)
            suffix, rate_hz = SUFFIXES_AND_RATES_HZ[(number + index) % 3]
            path = folder / speaker / f"{index % 2}_{index}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, soxr.resample(waveform, 16_000, rate_hz), rate_hz)
            rows.append(
                {
                    "path": str(path.relative_to(folder)),
                    "text": f"{' '.join(words).capitalize()}.",
                    "speaker": speaker,
                    "session": str(index % 2),
                    "sex": voice.sex,
                }
            )
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a table with the columns of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
