import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from w2v2_mt.core.batches import UNKNOWN_SPEAKER_INDEX, SpeakerBatch
from w2v2_mt.core.samples import speaker_of
from w2v2_mt.data.speaker import SpeakerData
from w2v2_mt.data.transforms import ChunkSelector, NormaliseWaveform
from w2v2_mt.data.trials import keys_of_trials

Make = Callable[..., SpeakerData]


def _keys(batches: list[SpeakerBatch]) -> list[str]:
    return [key for batch in batches for key in batch.keys]


def test_training_batches_hold_chunks_of_indexed_speakers(voxceleb: Make) -> None:
    for batch in islice(voxceleb().train_dataloader(), 8):
        assert (batch.set_name, len(batch)) == ("train", 6)
        # A file of the test shards lasts 0.5 to 1.5 s, a chunk 0.6 s.
        assert batch.waveforms.shape[1] <= 9_600
        assert batch.num_samples.min() >= 8_000
        # Speaker id10051 has index 0, and so on.
        speakers = [int(key[2:7]) - 10_051 for key in batch.keys]
        assert batch.speaker_indices.tolist() == speakers


def test_an_epoch_of_training_reads_each_utterance_once(voxceleb: Make) -> None:
    keys = _keys(list(islice(voxceleb(num_workers=2).train_dataloader(), 4)))
    assert len(set(keys)) == len(keys) == 4 * 3 * 2


@pytest.mark.parametrize("strategy", ["contiguous", "random_contiguous"])
def test_a_batch_of_contiguous_chunks_is_not_of_one_file(voxceleb: Make, strategy: Any) -> None:
    # Five to fifteen chunks of each file, more than a batch holds.
    selector = ChunkSelector(
        desired_chunk_length_sec=0.1, selection_strategy=strategy, match_speech_lengths=False
    )
    batches = list(islice(voxceleb(selector_train=selector).train_dataloader(), 20))
    num_files = [len(set(batch.keys)) for batch in batches]
    assert sum(num_files) / len(num_files) > 2


def test_chunks_differ_from_epoch_to_epoch_but_not_for_a_seed(voxceleb: Make) -> None:
    def two_epochs() -> list[SpeakerBatch]:
        return list(islice(voxceleb().train_dataloader(), 8))

    once, again = two_epochs(), two_epochs()
    assert all(torch.equal(a.waveforms, b.waveforms) for a, b in zip(once, again, strict=True))
    chunks: dict[str, list[torch.Tensor]] = {}
    for batch in once:
        for key, waveform, length in zip(
            batch.keys, batch.waveforms, batch.num_samples, strict=True
        ):
            chunks.setdefault(key, []).append(waveform[:length])
    first, second = next(both for both in chunks.values() if len(both[0]) == 9_600)
    assert not torch.equal(first, second)


def test_the_number_of_speakers_is_that_of_the_training_set(voxceleb: Make) -> None:
    assert voxceleb().num_speakers == 4


@pytest.mark.parametrize(
    ("meta", "num_speakers", "speakers"),
    [
        # All utterances of id2 were rejected, but id3 keeps the index 2.
        ({"num_speakers": 2, "speakers": ["id1", "id2", "id3"]}, 3, ["id1", "id2", "id3"]),
        ({"num_speakers": 2, "speakers": [84, 85]}, 2, ["84", "85"]),
        ({"num_speakers": 2, "speakers": 2}, 2, None),
        ({"num_speakers": 2}, 2, None),
    ],
)
def test_each_index_of_a_speaker_has_a_class(
    voxceleb: Make, tmp_path: Path, meta: dict, num_speakers: int, speakers: list[str] | None
) -> None:
    folder = tmp_path / "vox2_shards" / "train"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    data = voxceleb(shards_folder=str(tmp_path))
    assert (data.num_speakers, data.speakers) == (num_speakers, speakers)


def test_a_missing_number_of_speakers_is_an_error(voxceleb: Make, tmp_path: Path) -> None:
    data = voxceleb(shards_folder=str(tmp_path))
    with pytest.raises(ValueError, match=r"train/meta\.json must exist\. Run scripts/prepare"):
        _ = data.num_speakers
    folder = tmp_path / "vox2_shards" / "train"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"num_samples": 3}))
    with pytest.raises(
        ValueError, match=r"meta\.json must have num_speakers\. Run scripts/prepare"
    ):
        _ = data.num_speakers


@pytest.mark.parametrize("num_workers", [0, 2])
def test_validation_reads_all_whole_utterances(voxceleb: Make, num_workers: int) -> None:
    (loader,) = voxceleb(num_workers=num_workers).val_dataloader()
    batches = list(loader)
    assert len(_keys(batches)) == len(set(_keys(batches))) == 8
    assert {batch.set_name for batch in batches} == {"val"}
    assert max(int(batch.num_samples.max()) for batch in batches) > 9_600
    assert all((batch.speaker_indices >= 0).all() for batch in batches)


def test_trial_lists_have_their_names(voxceleb: Make) -> None:
    data = voxceleb()
    assert list(data.val_trial_lists) == ["val"]
    assert sorted(data.test_trial_lists) == ["e", "h", "o", "val"]
    assert data.test_trial_lists["val"] == data.val_trial_lists["val"]
    lengths = {name: len(trials) for name, trials in data.test_trial_lists.items()}
    assert lengths["e"] > lengths["o"] > lengths["h"] > 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_test_reads_each_utterance_of_all_trial_lists_once(
    voxceleb: Make, num_workers: int
) -> None:
    data = voxceleb(num_workers=num_workers)
    (loader,) = data.test_dataloader()
    batches = list(loader)
    named = {key for trials in data.test_trial_lists.values() for key in keys_of_trials(trials)}
    assert sorted(_keys(batches)) == sorted(named)
    # 2 test speakers with 3 videos of 2 utterances; 4 speakers with 2 in validation.
    assert len(named) == 2 * 3 * 2 + 4 * 2
    assert {batch.set_name for batch in batches} == {"test"}
    tested = {
        key: index
        for batch in batches
        for key, index in zip(batch.keys, batch.speaker_indices.tolist(), strict=True)
    }
    assert {tested[key] for key in keys_of_trials(data.test_trial_lists["o"])} == {
        UNKNOWN_SPEAKER_INDEX
    }


def test_beginnings_are_those_of_longer_utterances(voxceleb: Make) -> None:
    whole, one_second, half = voxceleb(test_durations_sec=[1.0, 0.75]).test_dataloader()
    waveforms = {
        key: waveform[:length]
        for batch in whole
        for key, waveform, length in zip(
            batch.keys, batch.waveforms, batch.num_samples, strict=True
        )
    }
    normalise = NormaliseWaveform(eps=1e-7)
    for loader, set_name, num_samples in (
        (one_second, "test_1s", 16_000),
        (half, "test_0.75s", 12_000),
    ):
        batches = list(loader)
        assert {batch.set_name for batch in batches} == {set_name}
        longer = {key for key, waveform in waveforms.items() if len(waveform) > num_samples}
        assert sorted(_keys(batches)) == sorted(longer) != sorted(waveforms)
        for batch in batches:
            for key, beginning in zip(batch.keys, batch.waveforms, strict=True):
                # As if the file were not longer: what comes later has no part in its scaling.
                torch.testing.assert_close(
                    beginning, normalise(waveforms[key][:num_samples]), atol=1e-4, rtol=1e-4
                )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_cohort_is_some_utterances_of_each_training_speaker(
    voxceleb: Make, num_workers: int
) -> None:
    data = voxceleb(
        score_normalisation="as_norm", cohort_utterances_per_speaker=2, num_workers=num_workers
    )
    batches = list(data.test_dataloader()[-1])
    assert {batch.set_name for batch in batches} == {"cohort"}
    assert Counter(speaker_of(key) for key in _keys(batches)) == {
        f"id{10_051 + index}": 2 for index in range(4)
    }
    # Whole ones: a training chunk lasts 0.6 s.
    assert max(int(batch.num_samples.max()) for batch in batches) > 9_600


def test_a_cohort_without_training_shards_is_an_error(voxceleb: Make) -> None:
    data = voxceleb(
        train_set="gone", score_normalisation="as_norm", cohort_utterances_per_speaker=2
    )
    with pytest.raises(
        ValueError,
        match=r"gone must hold shards \(\*\.tar\)\. Run scripts/prepare\.sh or set DATA_FOLDER\. "
        r"They are the cohort of the normalized scores; "
        r"evaluation\.score_normalisation=none needs no cohort\.$",
    ):
        data.test_dataloader()


def test_voxceleb1_has_one_test_list(voxceleb: Make, data_folder: Path) -> None:
    data = voxceleb(
        val_set="vox1_shards/val",
        val_trials="vox1_shards/val/val_trials.txt",
        test_sets={"o": "vox1_shards/test"},
        test_trials={"o": str(data_folder / "vox1_shards" / "test" / "test_trials.txt")},
    )
    assert sorted(data.test_trial_lists) == ["o", "val"]
    assert len(_keys(list(data.test_dataloader()[0]))) == 2 * 2 * 2 + 4 * 2


def test_a_limit_shortens_the_trials_and_what_is_read_for_them(voxceleb: Make) -> None:
    data = voxceleb(max_eval_trials=1)
    for trials in data.test_trial_lists.values():
        assert sorted(trial.same_speaker for trial in trials) == [False, True]
    named = keys_of_trials(data.val_trial_lists["val"])
    assert 2 <= len(named) <= 4
    assert sorted(_keys(list(data.val_dataloader()[0]))) == sorted(named)


def test_a_trial_without_an_utterance_is_an_error(
    voxceleb: Make, data_folder: Path, tmp_path: Path
) -> None:
    lists = tmp_path / "trials.txt"
    lists.write_text(
        "1 id10101/gone/00001 id10101/5r0dWxy17C8/00001\n"
        "0 id10101/gone/00001 id10101/5r0dWxy17C8/00001\n"
    )
    data = voxceleb(test_sets={"o": "vox2_shards/test"}, test_trials={"o": str(lists)})
    with pytest.raises(ValueError, match=r"but 1 are missing, first id10101/gone/00001\."):
        list(data.test_dataloader()[0])


@pytest.mark.parametrize(
    ("changes", "phase", "message"),
    [
        ({"train_set": "nowhere"}, "train", "nowhere must hold shards"),
        ({"val_set": "nowhere"}, "val", "nowhere must hold shards"),
        ({"val_trials": "nowhere.txt"}, "val", r"The trial list .*nowhere\.txt must exist"),
        ({"test_sets": {"o": "nowhere"}}, "test", "nowhere must hold shards"),
        (
            {"test_trials": {"o": "nowhere.txt"}},
            "test",
            r"The trial list .*nowhere\.txt must exist",
        ),
    ],
)
def test_missing_files_are_an_error_before_anything_is_read(
    voxceleb: Make, changes: dict[str, Any], phase: str, message: str
) -> None:
    tests = {
        "test_sets": {"o": "vox2_shards/test"},
        "test_trials": {"o": "vox2_shards/test/test_trials.txt"},
    }
    data = voxceleb(**tests | changes)
    script = r"Run scripts/prepare\.sh or set DATA_FOLDER\."
    with pytest.raises(ValueError, match=f"{message}.* {script}"):
        getattr(data, f"{phase}_dataloader")()


def test_a_training_speaker_without_an_index_is_an_error(voxceleb: Make) -> None:
    data = voxceleb(train_set="vox2_shards/test")
    with pytest.raises(
        ValueError, match="The training utterance id101.* must have a speaker_id_idx"
    ):
        next(iter(data.train_dataloader()))


@pytest.mark.parametrize(
    "names", [{"o": "vox2_shards/test", "e": "vox2_shards/test"}, {}, {"val": "vox2_shards/test"}]
)
def test_test_sets_and_their_trials_must_have_the_same_names(
    voxceleb: Make, names: dict[str, str]
) -> None:
    trials = {"val" if "val" in names else "o": "vox2_shards/test/test_trials.txt"}
    with pytest.raises(ValueError, match="must have the same names, other than val"):
        voxceleb(test_sets=names, test_trials=trials)
