"""Small shards in the layout of the real ones, for tests: tones instead of speech.

Each letter is a tone of its own and each speaker a pitch of his own, so a small network can learn
both. The same arguments write the same files.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

SAMPLE_RATE_HZ = 16_000
LIBRISPEECH_SETS = (
    "train_clean_100",
    "train_clean_360",
    "train_other_500",
    "dev_clean",
    "dev_other",
    "test_clean",
    "test_other",
)
_LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
WORDS = ("TEA", "NOON", "HARD", "SILVER", "MOON", "A", "FOX'S", "QUIZ", "JUG", "BAKE")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What becomes a sample of a shard; `other_members` are further files, by suffix."""

    key: str
    waveform: np.ndarray
    metadata: dict[str, Any]
    other_members: dict[str, bytes] = field(default_factory=dict)


def encoded_audio(
    waveform: np.ndarray,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    subtype: str = "PCM_16",
    format: str = "WAV",
) -> bytes:
    """The bytes of an audio file."""
    file = BytesIO()
    soundfile.write(file, waveform, sample_rate_hz, subtype=subtype, format=format)
    return file.getvalue()


def write_members(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """A tar file of named members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, BytesIO(content))


def write_shard(path: Path, utterances: Iterable[Utterance]) -> None:
    """A shard of utterances."""
    members: list[tuple[str, bytes]] = []
    for utterance in utterances:
        for suffix, content in utterance.other_members.items():
            members.append((f"{utterance.key}.{suffix}", content))
        members.append((f"{utterance.key}.wav", encoded_audio(utterance.waveform)))
        members.append((f"{utterance.key}.json", json.dumps(utterance.metadata).encode()))
    write_members(path, members)


def write_set(folder: Path, utterances: Sequence[Utterance], *, name: str, num_shards: int) -> None:
    """A folder of `num_shards` shards `<name>_<number>.tar`, with its meta.json."""
    for number in range(num_shards):
        write_shard(folder / f"{name}_{number:06d}.tar", utterances[number::num_shards])
    meta: dict[str, Any] = {"num_samples": len(utterances), "num_shards": num_shards}
    names = {
        each.metadata["speaker_id_idx"]: each.metadata["speaker_id"]
        for each in utterances
        if "speaker_id_idx" in each.metadata
    }
    if names:
        meta["num_speakers"] = len(names)
        meta["speakers"] = [names[index] for index in sorted(names)]
    meta["num_frames"] = sum(utterance.metadata["num_frames"] for utterance in utterances)
    transcriptions = [utterance.metadata.get("transcription", "") for utterance in utterances]
    if any(transcriptions):
        meta["letter_counts"] = Counter("".join(transcriptions))
    (folder / "meta.json").write_text(json.dumps(meta))


def spoken(transcription: str, rng: np.random.Generator) -> np.ndarray:
    """A waveform with 80 ms for each letter, a tone of its own; silence for a space."""
    times = np.arange(SAMPLE_RATE_HZ * 80 // 1000) / SAMPLE_RATE_HZ
    frequencies_hz = [0 if c == " " else 200 + 120 * _LETTERS.index(c) for c in transcription]
    tones = np.concatenate([np.sin(2 * np.pi * hz * times) for hz in frequencies_hz])
    return 0.3 * tones + 0.01 * rng.standard_normal(len(tones))


def voice(speaker: int, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """A waveform with the pitch of a speaker."""
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * (150 + 70 * speaker) * times + rng.uniform(0, 2 * np.pi))
    return 0.3 * tone + 0.03 * rng.standard_normal(num_samples)


def librispeech_utterances(
    *,
    num_utterances: int,
    first_reader: int,
    seed: int,
    words: Sequence[str] = WORDS,
    max_num_words: int = 4,
) -> list[Utterance]:
    """Utterances of one word or more by two readers."""
    rng = np.random.default_rng(seed)
    utterances = []
    for number in range(num_utterances):
        reader, chapter = str(first_reader + number % 2), str(121_123 + number % 4)
        transcription = " ".join(rng.choice(words, size=rng.integers(1, max_num_words + 1)))
        waveform = spoken(transcription, rng)
        key = f"{reader}/{chapter}/{number:04d}"
        metadata = {
            "key": key,
            "reader_id": reader,
            "chapter_id": chapter,
            "utterance_id": f"{number:04d}",
            "num_frames": len(waveform),
            "sampling_rate": SAMPLE_RATE_HZ,
            "transcription": transcription,
        }
        utterances.append(Utterance(key=key, waveform=waveform, metadata=metadata))
    return utterances


def write_librispeech_shards(
    data_folder: Path,
    *,
    num_utterances: int = 12,
    num_shards: int = 2,
    sets: Sequence[str] = LIBRISPEECH_SETS,
    seed: int = 0,
    words: Sequence[str] = WORDS,
    max_num_words: int = 4,
) -> None:
    """`librispeech_shards` with that much in each set."""
    for number, name in enumerate(sets):
        utterances = librispeech_utterances(
            num_utterances=num_utterances,
            first_reader=84 + 10 * number,
            seed=seed + number,
            words=words,
            max_num_words=max_num_words,
        )
        folder = data_folder / "librispeech_shards" / name
        write_set(folder, utterances, name=f"{name}-shard", num_shards=num_shards)


def voxceleb_utterances(
    *,
    speakers: Sequence[int],
    videos: Sequence[str],
    num_per_video: int,
    has_index: bool,
    seed: int,
    min_samples: int = 8_000,
    max_samples: int = 24_000,
) -> list[Utterance]:
    """Utterances of speakers id10001 + n; `has_index` numbers them as a training set does."""
    rng = np.random.default_rng(seed)
    utterances = []
    for index, speaker in enumerate(speakers):
        for video in videos:
            for number in range(1, num_per_video + 1):
                speaker_id = f"id{10_001 + speaker}"
                key = f"{speaker_id}/{video}/{number:05d}"
                waveform = voice(speaker, int(rng.integers(min_samples, max_samples)), rng)
                metadata = {
                    "key": key,
                    "speaker_id": speaker_id,
                    "video_id": video,
                    "utterance_id": f"{number:05d}",
                    "speaker_id_idx": index if has_index else None,
                    "num_frames": len(waveform),
                    "sampling_rate": SAMPLE_RATE_HZ,
                }
                utterances.append(Utterance(key=key, waveform=waveform, metadata=metadata))
    Random(seed).shuffle(utterances)
    return utterances


def write_trials(path: Path, utterances: Sequence[Utterance], *, suffix: str = "") -> None:
    """Each pair of neighbours by key and each of the two ends: trials of both kinds."""
    keys = sorted(utterance.key for utterance in utterances)
    pairs = [*pairwise(keys), *zip(keys, reversed(keys), strict=True)]
    lines = [
        f"{int(left.split('/')[0] == right.split('/')[0])} {left}{suffix} {right}{suffix}"
        for left, right in pairs
        if left != right
    ]
    path.write_text("\n".join(lines) + "\n")


def _write_evaluation_set(
    folder: Path, utterances: Sequence[Utterance], *, trials: str, num_shards: int
) -> None:
    write_set(folder, utterances, name=f"{folder.name}_shard", num_shards=num_shards)
    write_trials(folder / trials, utterances)


def write_voxceleb_shards(
    data_folder: Path,
    *,
    num_speakers: int = 4,
    num_per_video: int = 2,
    num_shards: int = 2,
    seed: int = 0,
    min_samples: int = 8_000,
    max_samples: int = 24_000,
) -> None:
    """`vox1_shards`, `vox2_shards`, `vox2_shards_all/test` and `vox2_shards_hard/test`.

    `num_speakers` train, half as many are in each test; the test utterances of VoxCeleb2 are in
    all three of its test folders, as in the official lists.
    """
    test_speakers = range(100, 100 + max(2, num_speakers // 2))
    for name, first in (("vox1", 0), ("vox2", 50)):
        folder = data_folder / f"{name}_shards"
        speakers = range(first, first + num_speakers)

        def utterances(
            videos: Sequence[str], *, speakers: Sequence[int] = speakers, has_index: bool = True
        ) -> list[Utterance]:
            return voxceleb_utterances(
                speakers=speakers,
                videos=videos,
                num_per_video=num_per_video,
                has_index=has_index,
                seed=seed + len(videos),
                min_samples=min_samples,
                max_samples=max_samples,
            )

        train = utterances(["1zcIwhmdeo4", "_hF-x7sGPtA", "7gWzIy6yIIk"])
        write_set(folder / "train", train, name="train_shard", num_shards=num_shards)
        val = utterances(["X-kS0bq1YtQ"])
        _write_evaluation_set(folder / "val", val, trials="val_trials.txt", num_shards=num_shards)
        test = utterances(["5r0dWxy17C8", "zzz__Video0"], speakers=test_speakers, has_index=False)
        hard = test[: len(test) // 2 + 1]
        folders = {folder / "test": test}
        if name == "vox2":
            folders[data_folder / "vox2_shards_all" / "test"] = [
                *test,
                *utterances(["allOnlyVid0"], speakers=test_speakers, has_index=False),
            ]
            folders[data_folder / "vox2_shards_hard" / "test"] = hard
        for test_folder, content in folders.items():
            _write_evaluation_set(
                test_folder, content, trials="test_trials.txt", num_shards=num_shards
            )
