"""A corpus that a fresh machine can make: many voices, archived like LibriSpeech and VoxCeleb1."""

import gzip
import io
import multiprocessing
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from w2v2_mt.core.stop_signals import hold_stop_signals, leave_stop_signals_to_parent
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.synthetic.corpus_plan import CorpusSizes, PlannedUtterance, plan_corpus
from w2v2_mt.synthetic.synthesis import synthesise

Member = tuple[str, bytes]
"""The name of a file in an archive, and its content."""

_COMPRESSION_LEVEL = 1  # audio hardly shrinks, whatever the effort
_README = "Synthetic speech in the layout of LibriSpeech. The voices are computed, not recorded.\n"


def _render(utterance: PlannedUtterance, *, audio_format: str) -> bytes:
    """Return an audio file."""
    waveform = synthesise(
        utterance.words,
        voice=utterance.voice,
        recording=utterance.recording,
        random=np.random.default_rng(utterance.seed),
    )
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLE_RATE_HZ, format=audio_format, subtype="PCM_16")
    return file.getvalue()


def _librispeech_members(
    subset: str, utterances: Sequence[PlannedUtterance], audio_files: Iterable[bytes]
) -> Iterator[Member]:
    """Yield the members of a LibriSpeech archive; a chapter's transcript follows its audio."""
    spoken = list(zip(utterances, audio_files, strict=True))
    table = ";ID  |SEX| SUBSET           |MINUTES| NAME\n"
    for reader_id, pairs in groupby(spoken, key=lambda pair: pair[0].speaker_id):
        own = list(pairs)
        minutes = sum(soundfile.info(io.BytesIO(audio)).duration for _, audio in own) / 60.0
        sex = own[0][0].voice.sex.upper()
        table += f"{reader_id:<4} | {sex} | {subset:<16} | {minutes:<5.2f} | Voice {reader_id}\n"
    yield "LibriSpeech/README.TXT", _README.encode()
    yield "LibriSpeech/SPEAKERS.TXT", table.encode()
    for _, chapter in groupby(spoken, key=lambda pair: pair[0].recording_id):
        transcript = ""
        for utterance, audio in chapter:
            chapter_name = f"{utterance.speaker_id}-{utterance.recording_id}"
            folder = f"LibriSpeech/{subset}/{chapter_name.replace('-', '/')}"
            name = f"{chapter_name}-{utterance.number:04d}"
            yield f"{folder}/{name}.flac", audio
            transcript += f"{name} {' '.join(utterance.words)}\n"
        yield f"{folder}/{chapter_name}.trans.txt", transcript.encode()


def _vox1_meta(sets: Mapping[str, Sequence[PlannedUtterance]]) -> str:
    """Return the table of all speakers, with tabs as in the official csv file."""
    rows = {
        (one.speaker_id, f"Voice_{one.speaker_id}", one.voice.sex, "Nowhere", set_name)
        for set_name, utterances in sets.items()
        for one in utterances
    }
    header = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
    return "".join("\t".join(row) + "\n" for row in [header, *sorted(rows)])


def write_tar_gz(path: Path, members: Iterable[Member]) -> None:
    """Write the members in their order, with no time, owner or own name inside."""
    with (
        open(path, "wb") as file,
        gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path, members: Iterable[Member]) -> None:
    """Write the members in their order, with no time, owner or own name inside."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)  # dated 1980
            member.create_system = 3  # Unix, wherever this runs
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, _COMPRESSION_LEVEL)


def write_synthetic_corpus(
    folder: Path, *, seed: int, sizes: CorpusSizes, num_workers: int
) -> list[Path]:
    """Write archives, meta file and trials as in a `$DATA_FOLDER`; return their paths.

    The same seed and sizes give the same bytes, whatever the number of workers. Nothing appears in
    `folder` before everything is done.

    Raises:
        ValueError: A file exists already, or the sizes do not allow the trials.
    """
    if num_workers < 1:
        raise ValueError(f"the number of workers is {num_workers}, but must be at least 1.")
    plan = plan_corpus(seed, sizes)
    vox1 = {"dev": plan.vox1_dev, "test": plan.vox1_test}
    librispeech = {f"librispeech/{subset}.tar.gz": subset for subset in plan.readers}
    voxceleb = {f"voxceleb_archives/vox1_{set_name}_wav.zip": set_name for set_name in vox1}
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
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix=".synthetic-", dir=folder)
        unfinished = Path(stack.enter_context(temporary))
        map_each: Callable[..., Any] = map
        if num_workers > 1:  # Not forked: the calling process may have threads.
            with hold_stop_signals():  # See `Workers`.
                resource_tracker.ensure_running()
            with hold_stop_signals():
                context = multiprocessing.get_context("spawn")
                pool = context.Pool(num_workers, leave_stop_signals_to_parent)
            stack.enter_context(pool)
            map_each = partial(pool.imap, chunksize=8)
        for name in names:
            (unfinished / name).parent.mkdir(exist_ok=True)
        for name, subset in librispeech.items():
            utterances = plan.readers[subset]
            audio_files = map_each(partial(_render, audio_format="FLAC"), utterances)
            write_tar_gz(unfinished / name, _librispeech_members(subset, utterances, audio_files))
        for name, set_name in voxceleb.items():
            audio_files = map_each(partial(_render, audio_format="WAV"), vox1[set_name])
            keys = (f"wav/{utterance.key}.wav" for utterance in vox1[set_name])
            write_zip(unfinished / name, zip(keys, audio_files, strict=True))
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8", newline="\n")
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (unfinished / name).rename(folder / name)
    return [folder / name for name in names]
