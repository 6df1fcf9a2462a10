from pathlib import Path

import pytest
import soundfile

from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards
from w2v2_mt.app.commands import main


def test_a_folder_reports_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_librispeech_shards(tmp_path, num_utterances=6, max_num_words=2)
    assert main(["prepare", "inspect", str(tmp_path / "librispeech_shards" / "dev_clean")]) == 0
    printed = capsys.readouterr().out
    assert "shards," in printed
    assert "WAV PCM_16, 16000 Hz, 1 channel" in printed
    assert "transcription: " in printed


@pytest.mark.parametrize("num_utterances", [1, 3])
def test_exported_utterances_are_audio_and_text(tmp_path: Path, num_utterances: int) -> None:
    write_voxceleb_shards(tmp_path, max_samples=12_000)
    folder = tmp_path / "exported"
    arguments = ["--export", str(folder), "--num_utterances", str(num_utterances)]
    assert main(["prepare", "inspect", str(tmp_path / "vox1_shards" / "train"), *arguments]) == 0
    audio = sorted(folder.glob("*.wav"))
    assert len(audio) == num_utterances
    for path in audio:
        assert soundfile.info(path).samplerate == 16_000
        assert path.with_suffix(".txt").read_text().strip() == path.name.split("-")[0]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_voxceleb_shards(tmp_path, max_samples=12_000)
    shards = str(tmp_path / "vox1_shards" / "train")
    assert main(["prepare", "inspect", shards, "--export", str(tmp_path)]) == 1
    assert "exists already; name a new folder" in capsys.readouterr().err


def test_a_folder_without_shards_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "inspect", str(tmp_path)]) == 1
    assert "must hold shards (*.tar)" in capsys.readouterr().err


def test_fewer_than_one_utterance_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "inspect", str(tmp_path), "--num_utterances", "-1"]) == 1
    assert "--num_utterances (-1) must be at least 1" in capsys.readouterr().err
