"""A corpus that a fresh machine can make: many voices, archived like LibriSpeech and VoxCeleb1."""

import io
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.data.synthetic.corpus_plan import PlannedUtterance, plan_corpus
from w2v2_mt.data.synthetic.corpus_sizes import CorpusSizes
from w2v2_mt.data.synthetic.repeatable_archives import Member, write_tar_gz, write_zip
from w2v2_mt.data.synthetic.synthesis import synthesise

AudioFormat = Literal["FLAC", "WAV"]
Renderer = Callable[[Sequence[PlannedUtterance], AudioFormat], Iterator[bytes]]
"""Turns utterances, in their order, into audio files."""

_UTTERANCES_PER_TASK = 8
_README = "Synthetic speech in the layout of LibriSpeech. The voices are computed, not recorded.\n"
_META_HEADER = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")


@contextmanager
def _renderer(num_workers: int) -> Iterator[Renderer]:
    """Render here, or in processes of its own when there is more than one worker."""
    if num_workers == 1:
        yield lambda utterances, audio_format: map(_rendered, _tasks(utterances, audio_format))
        return
    # Not forked: the calling process may have threads.
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        yield lambda utterances, audio_format: pool.imap(
            _rendered, _tasks(utterances, audio_format), chunksize=_UTTERANCES_PER_TASK
        )


def _tasks(
    utterances: Sequence[PlannedUtterance], audio_format: AudioFormat
) -> list[tuple[PlannedUtterance, AudioFormat]]:
    return [(utterance, audio_format) for utterance in utterances]


def _rendered(task: tuple[PlannedUtterance, AudioFormat]) -> bytes:
    utterance, audio_format = task
    waveform = synthesise(
        utterance.words,
        voice=utterance.voice,
        recording=utterance.recording,
        random=np.random.default_rng(np.random.SeedSequence(utterance.seed)),
    )
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLE_RATE_HZ, format=audio_format, subtype="PCM_16")
    return file.getvalue()


def _librispeech_members(
    subset: str, utterances: Sequence[PlannedUtterance], render: Renderer
) -> Iterator[Member]:
    """The members of a LibriSpeech archive; a chapter's transcript stands behind its audio."""
    audio_files = list(render(utterances, "FLAC"))
    yield "LibriSpeech/README.TXT", _README.encode()
    yield "LibriSpeech/SPEAKERS.TXT", _speakers_txt(subset, utterances, audio_files).encode()
    spoken = zip(utterances, audio_files, strict=True)
    for _, chapter in groupby(spoken, key=lambda pair: pair[0].recording_id):
        lines = []
        for utterance, audio in chapter:
            chapter_name = f"{utterance.speaker_id}-{utterance.recording_id}"
            folder = f"LibriSpeech/{subset}/{chapter_name.replace('-', '/')}"
            name = f"{chapter_name}-{utterance.number:04d}"
            yield f"{folder}/{name}.flac", audio
            lines.append(f"{name} {' '.join(utterance.words)}\n")
        yield f"{folder}/{chapter_name}.trans.txt", "".join(lines).encode()


def _speakers_txt(
    subset: str, utterances: Sequence[PlannedUtterance], audio_files: Sequence[bytes]
) -> str:
    rows = [";ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    spoken = zip(utterances, audio_files, strict=True)
    for reader_id, pairs in groupby(spoken, key=lambda pair: pair[0].speaker_id):
        own = list(pairs)
        minutes = sum(soundfile.info(io.BytesIO(audio)).duration for _, audio in own) / 60.0
        sex = own[0][0].voice.sex.upper()
        rows.append(
            f"{reader_id:<4} | {sex} | {subset:<16} | {minutes:<5.2f} | Voice {reader_id}\n"
        )
    return "".join(rows)


def _voxceleb_members(utterances: Sequence[PlannedUtterance], render: Renderer) -> Iterator[Member]:
    for utterance, audio in zip(utterances, render(utterances, "WAV"), strict=True):
        yield f"wav/{utterance.key}.wav", audio


def _vox1_meta(sets: Mapping[str, Sequence[PlannedUtterance]]) -> str:
    """The table of all speakers, tab separated as the official one is in spite of its name."""
    rows = sorted(
        {
            (one.speaker_id, f"Voice_{one.speaker_id}", one.voice.sex, "Nowhere", set_name)
            for set_name, utterances in sets.items()
            for one in utterances
        }
    )
    return "".join("\t".join(row) + "\n" for row in [_META_HEADER, *rows])


def write_synthetic_corpus(
    folder: Path, *, seed: int, sizes: CorpusSizes, num_workers: int
) -> list[Path]:
    """Write archives, meta file and trials as in a `$DATA_FOLDER`; returns their paths.

    The same seed and sizes give the same bytes, whatever the number of workers. Nothing appears in
    `folder` before everything is done. Raises ValueError rather than overwrite a file, and for
    sizes that do not allow the trials.
    """
    if num_workers < 1:
        raise ValueError(f"the number of workers is {num_workers}, but must be at least 1.")
    plan = plan_corpus(seed, sizes)
    vox1 = {"dev": plan.vox1_dev, "test": plan.vox1_test}
    librispeech = {
        f"librispeech/{subset}.tar.gz": (subset, utterances)
        for subset, utterances in plan.readers.items()
    }
    voxceleb = {
        f"voxceleb_archives/vox1_{set_name}_wav.zip": utterances
        for set_name, utterances in vox1.items()
    }
    texts = {
        "voxceleb_meta/vox1_meta.csv": _vox1_meta(vox1),
        "voxceleb_meta/veri_test2.txt": "".join(
            f"{int(trial.same_speaker)} {trial.left_key}.wav {trial.right_key}.wav\n"
            for trial in plan.trials
        ),
    }
    names = [*librispeech, *voxceleb, *texts]
    for name in names:
        if (folder / name).exists():
            raise ValueError(
                f"{folder / name} exists and may be real speech; remove it or give another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".synthetic-", dir=folder) as unfinished_name,
        _renderer(num_workers) as render,
    ):
        unfinished = Path(unfinished_name)
        for name in names:
            (unfinished / name).parent.mkdir(exist_ok=True)
        for name, (subset, utterances) in librispeech.items():
            write_tar_gz(unfinished / name, _librispeech_members(subset, utterances, render))
        for name, utterances in voxceleb.items():
            write_zip(unfinished / name, _voxceleb_members(utterances, render))
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8", newline="\n")
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (unfinished / name).rename(folder / name)
    return [folder / name for name in names]
