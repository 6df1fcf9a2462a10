"""The preparation of real speech, counted against the manifest that lies beside it."""

import io
import json
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2_mt.app.commands import main
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.trials import keys_of_trials, read_trials
from w2v2_mt.prepare.librispeech_trials import read_reader_sexes
from w2v2_mt.prepare.options import SUBSETS


@pytest.fixture(scope="module")
def manifest(shared_folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((shared_folder / "data" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def data_folder(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    for name in ("librispeech", "voxceleb_archives", "voxceleb_meta"):
        (folder / name).symlink_to(shared_folder / "data" / name)
    assert main(["prepare", "librispeech", "--data_folder", str(folder)]) == 0
    assert main(["prepare", "voxceleb1", "--data_folder", str(folder)]) == 0
    yield folder
    shutil.rmtree(folder)  # pytest would keep 200 MB of each of the last three runs


def pcm(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="int16")[0]


def audio_of(folder: Path) -> dict[str, bytes]:
    return {
        sample.key: sample.audio_file()
        for shard in find_shards(folder, producer="x")
        for sample in read_shard(shard)
    }


def test_librispeech_is_complete(data_folder: Path, manifest: dict[str, dict[str, float]]) -> None:
    num_utterances = {}
    for subset in SUBSETS:
        folder = data_folder / "librispeech_shards" / subset.replace("-", "_")
        meta = json.loads((folder / "meta.json").read_text())
        expected = manifest[f"librispeech/{subset}.tar.gz"]
        num_utterances[subset] = len(audio_of(folder))
        assert num_utterances[subset] == meta["num_utterances"] == expected["utterances"]
        assert meta["num_speakers"] == expected["speakers"]
        assert meta["hours"] == pytest.approx(expected["hours"], abs=1e-3)
        assert meta["num_shards"] >= 2
    counts = [
        sum(number for subset, number in num_utterances.items() if subset.startswith(part))
        for part in ("train", "dev", "test")
    ]
    assert counts == [513, 76, 70]


def test_librispeech_audio_is_bit_exact(data_folder: Path) -> None:
    audio = audio_of(data_folder / "librispeech_shards" / "dev_other")
    with tarfile.open(data_folder / "librispeech" / "dev-other.tar.gz") as archive:
        flacs = [member for member in archive.getmembers() if member.name.endswith(".flac")]
        assert len(flacs) == len(audio) == 36
        for member in flacs:
            key = Path(member.name).stem.replace("-", "/")
            np.testing.assert_array_equal(pcm(audio[key]), pcm(archive.extractfile(member).read()))


def test_librispeech_has_trials_of_one_sex_across_chapters(data_folder: Path) -> None:
    # Of 8 readers and 40 utterances, or 6 and at least 30; each reader of a set has two chapters.
    for subset, num_readers in (("dev_clean", 8), ("dev_other", 6), ("test_other", 6)):
        folder = data_folder / "librispeech_shards" / subset
        trials = read_trials(folder / f"{subset}_trials.txt", producer="x")
        assert keys_of_trials(trials) <= set(audio_of(folder))
        sexes = read_reader_sexes(
            data_folder / "librispeech" / f"{subset.replace('_', '-')}.tar.gz"
        )
        targets = 0
        for trial in trials:
            left, right = (key.split("/")[0] for key in (trial.left_key, trial.right_key))
            assert (left == right) == trial.same_speaker
            assert sexes[left] == sexes[right]
            targets += trial.same_speaker
        assert targets == len(trials) / 2 >= 5 * num_readers


def test_librispeech_training_sets_name_their_speakers(
    data_folder: Path, manifest: dict[str, dict[str, float]]
) -> None:
    for subset in ("train-clean-100", "train-clean-360", "train-other-500"):
        folder = data_folder / "librispeech_shards" / subset.replace("-", "_")
        speakers = json.loads((folder / "meta.json").read_text())["speakers"]
        assert len(speakers) == manifest[f"librispeech/{subset}.tar.gz"]["speakers"]
        assert speakers == sorted({key.split("/")[0] for key in audio_of(folder)})


def test_voxceleb_is_complete_and_bit_exact(
    data_folder: Path, manifest: dict[str, dict[str, float]]
) -> None:
    audio = {
        name: audio_of(data_folder / "vox1_shards" / name) for name in ("train", "val", "test")
    }
    assert sum(map(len, audio.values())) == 270
    assert len(audio["test"]) == manifest["voxceleb_archives/vox1_test_wav.zip"]["utterances"]
    everything = audio["train"] | audio["val"] | audio["test"]
    for name in ("vox1_dev_wav.zip", "vox1_test_wav.zip"):
        with zipfile.ZipFile(data_folder / "voxceleb_archives" / name) as archive:
            for member in archive.namelist():
                key = member.removeprefix("wav/").removesuffix(".wav")
                np.testing.assert_array_equal(pcm(everything.pop(key)), pcm(archive.read(member)))
    assert not everything


def test_voxceleb_validates_across_videos(data_folder: Path) -> None:
    folder = data_folder / "vox1_shards" / "val"
    trials = read_trials(folder / "val_trials.txt", producer="x")
    assert keys_of_trials(trials) <= set(audio_of(folder))
    positives = [trial for trial in trials if trial.same_speaker]
    assert len(positives) == len(trials) // 2 >= 20
    videos = {tuple(key.split("/")[:2]) for key in audio_of(folder)}
    num_videos = Counter(speaker for speaker, _ in videos)
    for trial in positives:
        (speaker, left, _), (_, right, _) = (
            key.split("/") for key in (trial.left_key, trial.right_key)
        )
        # A speaker whose only other videos are in training has pairs within one video.
        assert left != right or num_videos[speaker] == 1
    assert max(num_videos.values()) > 1


def test_voxceleb2_is_complete_with_its_three_tests(
    data_folder: Path, manifest: dict[str, dict[str, float]], ffmpeg: str
) -> None:
    assert main(["prepare", "voxceleb2", "--data_folder", str(data_folder)]) == 0
    archive = manifest["voxceleb_archives/vox2_dev_aac.zip"]
    metas = [
        json.loads((data_folder / "vox2_shards" / name / "meta.json").read_text())
        for name in ("train", "val")
    ]
    assert sum(meta["num_utterances"] for meta in metas) == archive["utterances"] == 1920
    # AAC comes in frames of 64 ms, so each utterance ends in up to so much of silence.
    hours = sum(meta["hours"] for meta in metas)
    assert archive["hours"] <= hours <= archive["hours"] + 1920 * 0.064 / 3600
    assert metas[0]["num_speakers"] == archive["speakers"]
    assert sum(meta["num_rejected"] + meta["num_converted"] for meta in metas) == 0
    lists = {"vox2_shards": 1, "vox2_shards_all": 2, "vox2_shards_hard": 2}
    for name, num_archives in lists.items():
        folder = data_folder / name / "test"
        trials = read_trials(folder / "test_trials.txt", producer="x")
        assert keys_of_trials(trials) == set(audio_of(folder))
        assert len(audio_of(folder)) == 126 + 144 * (num_archives - 1)


def test_a_limit_prepares_a_part_of_each(data_folder: Path, ffmpeg: str, tmp_path: Path) -> None:
    for name in ("librispeech", "voxceleb_archives", "voxceleb_meta"):
        (tmp_path / name).symlink_to(data_folder / name)
    arguments = ["--data_folder", str(tmp_path), "--limit", "100", "--num_workers", "0"]
    for corpus in ("librispeech", "voxceleb1", "voxceleb2"):
        assert main(["prepare", corpus, *arguments]) == 0
    sizes = {
        str(path.parent.relative_to(tmp_path)): json.loads(path.read_text())["num_utterances"]
        for path in tmp_path.glob("*_shards*/**/meta.json")
    }
    assert len(sizes) == 7 + 3 + 5
    assert max(sizes.values()) == 100
    assert sizes["vox2_shards/train"] + sizes["vox2_shards/val"] == 100
