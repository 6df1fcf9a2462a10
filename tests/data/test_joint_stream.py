"""The stream of joint batches: sets, labels, chunks and speakers."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.shard_files import Utterance, spoken, write_set
from w2v2_mt.core.batches import JointBatch
from w2v2_mt.data import encoded_audio
from w2v2_mt.data.joint import JointData, Mixture
from w2v2_mt.data.speaker import SpeakerData
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.data.transforms import ChunkSelector, NormaliseWaveform
from w2v2_mt.prepare.statistics import UTTERANCES_FILE

JOINT = Mixture(mode="joint")
NUM_UTTERANCES = 24


def _metadata(number: int) -> dict[str, Any]:
    """Labels of an utterance: both, no speaker, no transcription, or none."""
    labels: dict[str, Any] = {"transcription": "TEA", "speaker_id": f"s{number % 3}"}
    for name in ((), ("speaker_id",), ("transcription",), tuple(labels))[number % 4]:
        del labels[name]
    return labels


def write_own_set(folder: Path, *, speakers: list[str] | None) -> None:
    """A set of utterances of 0.3 to 1.2 s with any labels, without indices of speakers."""
    rng = np.random.default_rng(1)
    utterances = []
    for number in range(NUM_UTTERANCES):
        waveform = spoken("TEA NOON MOON"[: 4 + number % 10].strip(), rng)
        metadata = {**_metadata(number), "num_frames": len(waveform)}
        key = f"{folder.parent.name}-{number}"
        utterances.append(Utterance(key=key, waveform=waveform, metadata=metadata))
    write_set(folder, utterances, name="s", num_shards=2)
    meta = json.loads((folder / "meta.json").read_text()) | {"num_speakers": 3}
    if speakers is not None:
        meta["speakers"] = speakers
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_own_set(folder / "a" / "train", speakers=["s0", "s1", "s2"])
    return folder


@pytest.fixture
def own(
    librispeech: Callable[..., SpeechData], voxceleb: Callable[..., SpeakerData], own_folder: Path
) -> Callable[..., JointData]:
    """Make joint data of one set of utterances with any labels; arguments as of the parts."""

    def make(
        mixture: Mixture = JOINT,
        speech: dict[str, Any] | None = None,
        speaker: dict[str, Any] | None = None,
    ) -> JointData:
        ours = {"shards_folder": str(own_folder)}
        return JointData(
            mixture,
            speech=librispeech(**ours | {"train_sets": ["a/train"]} | (speech or {})),
            speaker=voxceleb(**ours | {"train_set": "a/train"} | (speaker or {})),
        )

    return make


def _batches(data: JointData, number: int) -> list[JointBatch]:
    return list(islice(data.train_dataloader(), number))


def _labelled(batches: list[JointBatch]) -> Counter[tuple[str, tuple[str, ...]]]:
    """Count the keys with the tasks that have a label for them."""
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for batch in batches:
        for row, key in enumerate(batch.keys):
            tasks = tuple(
                task
                for task, rows in batch.label_rows().items()
                if rows is None or row in rows.tolist()
            )
            found[key, tasks] += 1
    return found


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_epoch_of_a_set_of_both_tasks_holds_each_labelled_utterance_once(
    own: Callable[..., JointData], num_workers: int
) -> None:
    stream: Any = own().train_dataloader().dataset
    keys = [
        sample.key
        for worker in range(num_workers)
        for sample in stream.epoch_samples(epoch=1, worker=worker, num_workers=num_workers)
    ]
    assert sorted(keys) == sorted(f"a-{n}" for n in range(NUM_UTTERANCES) if n % 4 < 3)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_utterance_is_used_for_the_tasks_of_which_it_has_a_label(
    own: Callable[..., JointData], num_workers: int
) -> None:
    found = _labelled(_batches(own(speech={"num_workers": num_workers}), 20))
    assert set(found) == {
        (f"a-{number}", (("speech", "speaker"), ("speech",), ("speaker",))[number % 4])
        for number in range(NUM_UTTERANCES)
        if number % 4 < 3
    }


def test_the_labels_of_a_joint_batch_are_those_of_its_utterances(
    own: Callable[..., JointData],
) -> None:
    for batch in _batches(own(), 8):
        if "speaker" in batch.parts:
            numbers = [int(key.split("-")[1]) for key in batch.part("speaker").keys]
            indices = batch.part("speaker").speaker_indices.tolist()  # type: ignore[attr-defined]
            assert indices == [number % 3 for number in numbers]
        if "speech" in batch.parts:
            part = batch.part("speech")
            assert part.transcriptions == ["TEA"] * len(part)  # type: ignore[attr-defined]
            rows = batch.label_rows()["speech"]
            rows = torch.arange(len(batch)) if rows is None else rows
            assert part.keys == [batch.keys[row] for row in rows]
            assert torch.equal(part.num_samples, batch.num_samples[rows])


def test_a_task_takes_labels_from_the_sets_that_it_names_only(
    own: Callable[..., JointData], tmp_path: Path, own_folder: Path
) -> None:
    write_own_set(tmp_path / "b" / "train", speakers=["s0", "s1", "s2"])
    data = own(speech={"shards_folder": str(tmp_path), "train_sets": ["b/train"]})
    found = _labelled(_batches(data, 40))
    assert {key[0] for key, tasks in found if "speech" in tasks} == {"b"}
    assert {key[0] for key, tasks in found if "speaker" in tasks} == {"a"}


def test_an_utterance_is_decoded_once_for_all_tasks(
    own: Callable[..., JointData], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[str] = Counter()
    decode = encoded_audio.decode

    def counted(sample: Any) -> Any:
        decoded[sample.key] += sample.decoded is None
        return decode(sample)

    monkeypatch.setattr("w2v2_mt.data.joint.decode", counted)
    monkeypatch.setattr("w2v2_mt.data.transforms.decode", counted)
    (batch,) = _batches(own(), 1)
    assert decoded == Counter(batch.keys)


def test_only_utterances_for_the_speaker_task_alone_are_cut(own: Callable[..., JointData]) -> None:
    selector = ChunkSelector(
        desired_chunk_length_sec=0.2, selection_strategy="random", match_speech_lengths=False
    )
    batches = _batches(own(speaker={"selector_train": selector}), 20)
    for batch in batches:
        lengths = dict(zip(batch.keys, batch.num_samples.tolist(), strict=True))
        for key, length in lengths.items():
            assert (length == 3_200) == (int(key.split("-")[1]) % 4 == 2)


def test_chunks_have_the_lengths_of_speech_in_joint_training_too(
    own: Callable[..., JointData],
) -> None:
    selector = ChunkSelector(
        desired_chunk_length_sec=0.25, selection_strategy="random", match_speech_lengths=True
    )
    data = own(speaker={"selector_train": selector})
    lengths = set(data.data_of_task["speech"].draw_lengths())
    drawn = {
        int(length)
        for batch in _batches(data, 40)
        for key, length in zip(batch.keys, batch.num_samples, strict=True)
        if int(key.split("-")[1]) % 4 == 2
    }
    assert len(drawn) > 3
    assert drawn <= lengths


def test_contiguous_chunks_of_a_file_are_spread_over_batches(own: Callable[..., JointData]) -> None:
    selector = ChunkSelector(
        desired_chunk_length_sec=0.05, selection_strategy="contiguous", match_speech_lengths=False
    )
    data = own(speaker={"selector_train": selector}, speech={"train_max_num_samples": 20_000})
    batches = [batch for batch in _batches(data, 60) if batch.waveforms.shape[1] == 800]
    assert len(batches) > 5
    assert sum(len(set(batch.keys)) for batch in batches) / len(batches) > 2


def test_alternating_tasks_skip_the_utterances_without_their_label(
    own: Callable[..., JointData],
) -> None:
    loaders = own(Mixture()).train_dataloader()
    for task, label in (("speech", "transcription"), ("speaker", "speaker_id")):
        batches = list(islice(loaders[task], 8))
        numbers = {int(key.split("-")[1]) for batch in batches for key in batch.keys}
        assert numbers == {n for n in range(NUM_UTTERANCES) if label in _metadata(n)}


def test_evaluation_skips_the_utterances_without_its_label(own: Callable[..., JointData]) -> None:
    data = own(speech={"val_sets": {"own": "a/train"}}).data_of_task["speech"]
    numbers = {
        int(key.split("-")[1])
        for loader in data.val_dataloader()
        for batch in loader
        for key in batch.keys
    }
    assert numbers == {n for n in range(NUM_UTTERANCES) if n % 4 < 2}


def test_an_evaluation_set_without_any_label_is_refused(
    librispeech: Callable[..., SpeechData], data_folder: Path
) -> None:
    data = librispeech(
        shards_folder=str(data_folder), train_sets=[], val_sets={"vox": "vox1_shards/val"}
    )
    with pytest.raises(ValueError, match="The json of utterance .* must have 'transcription'"):
        list(data.val_dataloader()[0])


def test_a_joint_run_has_one_normaliser(own: Callable[..., JointData]) -> None:
    data = own(speaker={"normaliser": NormaliseWaveform(eps=1e-3)})
    with pytest.raises(ValueError, match=r"^data\.mode \(joint\) must have one normaliser"):
        data.train_dataloader()


def test_a_joint_run_needs_a_task_with_whole_utterances(voxceleb: Callable[..., Any]) -> None:
    data = JointData(JOINT, speaker=voxceleb())
    with pytest.raises(ValueError, match="batches of whole utterances, such as speech. Set data"):
        data.train_dataloader()


@pytest.mark.parametrize("mode", ["joint", "alternate"])
def test_weights_are_shares_of_utterances(
    own: Callable[..., JointData], tmp_path: Path, own_folder: Path, mode: Any
) -> None:
    write_own_set(tmp_path / "b" / "train", speakers=["s0", "s1", "s2"])
    sets = [str(own_folder / "a" / "train"), str(tmp_path / "b" / "train")]
    mixture = Mixture(mode=mode, weights={"a/train": 3.0, "b/train": 1.0})
    data = own(mixture, speech={"train_sets": sets}, speaker={"train_set": sets})
    loader = data.train_dataloader()
    loader = loader["speech"] if mode == "alternate" else loader
    counts = Counter(key[0] for batch in islice(loader, 60) for key in batch.keys)
    assert counts["a"] / counts.total() == pytest.approx(0.75, abs=0.05)


FOLDERS = [Path("/d/libri_shards/train"), Path("/d/vox_shards/train")]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"train": 1.0}, r"^data\.weights\.train must be .* is the end of 2 of /d/libri_shards"),
        ({"ox_shards/train": 2.0}, r"^data\.weights\.ox_shards/train must .* the end of 0 of"),
        (
            {"libri_shards/train": 1.0},
            r"\(libri_shards/train\) must have one weight for /d/vox_shards/train, but has 0\.",
        ),
        (
            {"libri_shards/train": 1.0, "vox_shards/train": 1.0, "/d/vox_shards/train": 2.0},
            "must have one weight for /d/vox_shards/train, but has 2",
        ),
    ],
)
def test_each_training_set_has_one_weight(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(weights=weights).find_weights(FOLDERS)


def test_weights_name_the_ends_of_paths() -> None:
    mixture = Mixture(weights={"libri_shards/train": 2.0, "/d/vox_shards/train": 1.0})
    assert mixture.find_weights(FOLDERS) == dict(zip(FOLDERS, [2.0, 1.0], strict=True))


def test_speakers_of_several_sets_are_numbered_in_the_order_of_their_names(
    voxceleb: Callable[..., SpeakerData], tmp_path: Path, data_folder: Path
) -> None:
    """The index in the shards of VoxCeleb counts its own speakers only."""
    write_own_set(tmp_path / "b" / "train", speakers=["s2", "s0", "s1"])
    folders = [str(data_folder / "vox1_shards" / "train"), str(tmp_path / "b" / "train")]
    data = voxceleb(train_set=folders)
    voxceleb1 = [f"id{10_001 + number}" for number in range(4)]
    assert data.speakers == [*voxceleb1, "s0", "s1", "s2"]
    assert data.num_speakers == 7
    for batch in islice(data.train_dataloader(), 12):
        for speaker, index in zip(batch.speakers, batch.speaker_indices.tolist(), strict=True):
            assert data.speakers[index] == speaker


def test_one_set_whose_shards_have_no_index_takes_the_order_of_its_meta(
    own: Callable[..., JointData], tmp_path: Path
) -> None:
    write_own_set(tmp_path / "a" / "train", speakers=["s2", "s0", "s1"])
    data = own(speaker={"shards_folder": str(tmp_path)}).data_of_task["speaker"]
    assert data.speakers == ["s2", "s0", "s1"]
    for batch in islice(data.train_dataloader(), 4):
        for speaker, index in zip(batch.speakers, batch.speaker_indices.tolist(), strict=True):
            assert data.speakers[index] == speaker


def test_a_set_of_an_earlier_version_names_its_speakers_in_the_list_of_utterances(
    own: Callable[..., JointData], tmp_path: Path
) -> None:
    write_own_set(tmp_path / "a" / "train", speakers=None)
    rows = [f"a-{n}\ts{n % 3}\t16000" for n in range(NUM_UTTERANCES)]
    lines = ["key\tspeaker\tnum_samples", *rows]
    (tmp_path / "a" / "train" / UTTERANCES_FILE).write_text("\n".join(lines) + "\n")
    data = own(speaker={"shards_folder": str(tmp_path)}).data_of_task["speaker"]
    assert data.speakers == ["s0", "s1", "s2"]


def test_several_sets_of_which_one_names_no_speakers_are_refused(
    voxceleb: Callable[..., SpeakerData], tmp_path: Path, data_folder: Path
) -> None:
    write_own_set(tmp_path / "b" / "train", speakers=None)
    folders = [str(data_folder / "vox1_shards" / "train"), str(tmp_path / "b" / "train")]
    data = voxceleb(train_set=folders)
    with pytest.raises(ValueError, match=r"b/train/meta\.json must have speakers, to join them"):
        _ = data.num_speakers


def test_a_speaker_who_is_not_in_the_meta_of_a_set_is_refused_in_training(
    own: Callable[..., JointData], tmp_path: Path
) -> None:
    write_own_set(tmp_path / "a" / "train", speakers=["s0", "s1"])
    data = own(speaker={"shards_folder": str(tmp_path)}).data_of_task["speaker"]
    message = r"^The training utterance a-\d+ in shard .* must be of a speaker in the .* not of s2"
    with pytest.raises(ValueError, match=message):
        list(islice(data.train_dataloader(), 4))
