"""The sets of a planned corpus as shards, with their trials, vocabulary and data configs."""

from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from w2v2_mt.core.units import count
from w2v2_mt.decoding.vocabulary import write_vocabulary
from w2v2_mt.manifests.recordings import Recording, SplitName
from w2v2_mt.manifests.rejections import REJECTED_FILE, write_rejections
from w2v2_mt.prepare.audio_sources import AudioSource
from w2v2_mt.prepare.corpus_plan import CorpusPlan
from w2v2_mt.prepare.corpus_splits import SETS
from w2v2_mt.prepare.shard_sets import SetWriter, ShardSet, place, write_metadata
from w2v2_mt.prepare.shard_writer import Utterance
from w2v2_mt.prepare.statistics import write_statistics
from w2v2_mt.prepare.trials import write_trials

VOCABULARY_FILE = "vocabulary.json"


def write_corpus(
    plan: CorpusPlan,
    folder: Path,
    *,
    title: str,
    writer: SetWriter,
    audio_of: Callable[[Recording], AudioSource],
) -> list[ShardSet]:
    """Write the sets `train`, `val` and `test` of a corpus to a folder, and return them.

    What cannot be used is in `rejected.tsv` there, and in the account of the writer.
    """
    writer.account.add(plan.rejections)
    written = [_write_set(plan, name, folder / name, writer, audio_of) for name in SETS]
    if plan.vocabulary is not None:
        write_vocabulary(folder / VOCABULARY_FILE, plan.vocabulary)
    write_rejections(folder / REJECTED_FILE, writer.account.rejections)
    sets: dict[str, Path] = {name: folder / name for name in SETS}
    write_statistics(folder / "statistics.html", title=title, sets=sets)
    return written


def _write_set(
    plan: CorpusPlan,
    name: SplitName,
    folder: Path,
    writer: SetWriter,
    audio_of: Callable[[Recording], AudioSource],
) -> ShardSet:
    speakers = plan.train_speakers
    indices = {speaker: index for index, speaker in enumerate(speakers if name == "train" else [])}

    def describe(recording: Recording) -> Utterance:
        return Utterance(
            key=recording.key,
            source=recording.line,
            audio=audio_of(recording),
            labels=_labels(recording, indices),
        )

    recordings = plan.sets[name]
    ordered = sorted(recordings, key=lambda each: place(each.key, seed=writer.options.seed))
    shards = writer.write(
        name,
        map(describe, ordered),
        num_utterances=len(ordered),
        folder=folder,
        shard_name=f"{name}_shard_%06d.tar",
        left_out=plan.rejections if name == "train" else (),
    )
    kept = {*shards.keys}
    usable = [each for each in recordings if each.key in kept]
    metadata: dict[str, object] = {**plan.options.corpus_metadata()}
    if "speech" in plan.tasks:
        letters = Counter(chain.from_iterable(each.text or "" for each in usable))
        metadata["letter_counts"] = dict(sorted(letters.items()))
    if name == "train" and speakers:
        metadata["speakers"] = speakers
    write_metadata(folder, shards, options=writer.options, further_metadata=metadata)
    if name != "train" and "speaker" in plan.tasks:
        trials = plan.draw_trials(name, usable)
        write_trials(folder / f"{name}_trials.txt", trials)
        print(f"{name}: {count(len(trials), 'trial')}.")
    return shards


def _labels(recording: Recording, speaker_indices: dict[str, int]) -> dict[str, Any]:
    """Return the labels that an utterance has, for its json."""
    labels = {
        "transcription": recording.text,
        "speaker_id": recording.speaker,
        "session_id": recording.session,
        "sex": recording.sex,
    }
    known: dict[str, Any] = {name: value for name, value in labels.items() if value is not None}
    if recording.speaker is not None:
        known["speaker_id_idx"] = speaker_indices.get(recording.speaker)
    return {**dict(sorted(recording.metadata.items())), **known}
