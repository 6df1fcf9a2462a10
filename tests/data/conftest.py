from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards
from w2v2_mt.data.loading import SpeakerLoading, SpeechLoading
from w2v2_mt.data.speaker import SpeakerCorpus, SpeakerData
from w2v2_mt.data.speech import SpeechCorpus, SpeechData
from w2v2_mt.data.transforms import ChunkSelector, NormaliseWaveform
from w2v2_mt.decoding.tokenizer import LetterTokenizer

SPEECH_LOADING: dict[str, Any] = {
    "train_max_num_samples": 120_000,
    "max_queue_size": 10,
    "eval_max_num_samples": 640_000,
    "val_batch_size": 4,
    "num_workers": 0,
    "pin_memory": False,
    "max_eval_utterances": None,
    "remote": None,
}
SPEAKER_LOADING: dict[str, Any] = {
    "train_batch_size": 6,
    "shuffle_queue_size": 8,
    "eval_max_num_samples": 640_000,
    "val_batch_size": 4,
    "num_workers": 0,
    "pin_memory": False,
    "max_eval_trials": None,
    "remote": None,
}


def _with_corpus(kind: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Replace the settings of a corpus by the corpus."""
    names = {field.name for field in fields(kind)} & settings.keys()
    corpus = kind(prepared_by="scripts/prepare.sh", **{name: settings[name] for name in names})
    return {name: settings[name] for name in settings.keys() - names} | {"corpus": corpus}


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with small shards of LibriSpeech, VoxCeleb1 and VoxCeleb2."""
    folder = tmp_path_factory.mktemp("data")
    write_librispeech_shards(folder)
    write_voxceleb_shards(folder)
    return folder


@pytest.fixture
def librispeech(data_folder: Path) -> Callable[..., SpeechData]:
    """Make a SpeechData of LibriSpeech; arguments change the settings of its parts."""

    def make(**changes: Any) -> SpeechData:
        loading = {name: changes.pop(name, value) for name, value in SPEECH_LOADING.items()}
        settings: dict[str, Any] = {
            "shards_folder": str(data_folder / "librispeech_shards"),
            "train_sets": ["train_clean_100", "train_other_500"],
            "val_sets": {"clean": "dev_clean", "other": "dev_other"},
            "test_sets": {"clean": "test_clean", "other": "test_other"},
            "loading": SpeechLoading(**loading),
            "normaliser": NormaliseWaveform(eps=1e-7),
            "tokenizer": LetterTokenizer(vocabulary_path=None),
            "seed": 3,
        }
        return SpeechData(**_with_corpus(SpeechCorpus, settings | changes))

    return make


@pytest.fixture
def voxceleb(data_folder: Path) -> Callable[..., SpeakerData]:
    """Make a SpeakerData of VoxCeleb2; arguments as above."""

    def make(**changes: Any) -> SpeakerData:
        loading = {name: changes.pop(name, value) for name, value in SPEAKER_LOADING.items()}
        tests = {
            "o": "vox2_shards/test",
            "e": "vox2_shards_all/test",
            "h": "vox2_shards_hard/test",
        }
        settings: dict[str, Any] = {
            "shards_folder": str(data_folder),
            "train_set": "vox2_shards/train",
            "val_set": "vox2_shards/val",
            "val_trials": "vox2_shards/val/val_trials.txt",
            "test_sets": tests,
            "test_trials": {name: f"{folder}/test_trials.txt" for name, folder in tests.items()},
            "loading": SpeakerLoading(**loading),
            "selector_train": ChunkSelector(
                desired_chunk_length_sec=0.6,
                selection_strategy="random",
                match_speech_lengths=False,
            ),
            "normaliser": NormaliseWaveform(eps=1e-7),
            "test_durations_sec": [],
            "score_normalisation": "none",
            "cohort_utterances_per_speaker": 5,
            "seed": 3,
        }
        return SpeakerData(**_with_corpus(SpeakerCorpus, settings | changes))

    return make
