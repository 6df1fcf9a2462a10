import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import file_contents
from tests.helpers.manifests import FORMS, Entry, write_csv, write_table
from w2v2_mt.app.commands import main
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.trials import read_trials
from w2v2_mt.settings.command_line import CommandLine, check_command

SPEAKERS = {f"speaker{number}": "fm"[number % 2] for number in range(8)}
WORDS = ("eins", "zwei", "drei, vier", "Fünf!")
FORMATS = (("wav", 16_000), ("flac", 22_050), ("mp3", 44_100))


def write_noise(path: Path, *, duration_sec: float, rate_hz: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * rng.standard_normal(round(duration_sec * rate_hz)), rate_hz)


def write_files(folder: Path, *, speakers: Sequence[str] = (*SPEAKERS,)) -> list[Entry]:
    """Write four files of each speaker, in three formats, and return their labels."""
    entries: list[Entry] = []
    for seed, (speaker, number) in enumerate((each, n) for each in speakers for n in range(4)):
        suffix, rate_hz = FORMATS[seed % 3]
        path = f"{speaker}/{number}.{suffix}"
        write_noise(folder / path, duration_sec=0.2, rate_hz=rate_hz, seed=seed)
        labels = {"text": WORDS[seed % 4], "speaker": speaker, "sex": SPEAKERS[speaker]}
        entries.append({"path": path, **labels})
    return entries


def prepare(manifest: Path, data_folder: Path, *arguments: str, name: str = "mine") -> int:
    words = ["--data_folder", str(data_folder), "--num_workers", "0", *arguments]
    return main(["prepare", "manifest", str(manifest), "--name", name, *words])


def samples_of(folder: Path) -> dict[str, EncodedSample]:
    shards = find_shards(folder, producer="x")
    return {sample.key: sample for shard in shards for sample in read_shard(shard)}


def meta_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "meta.json").read_text(encoding="utf-8"))


def test_the_shards_hold_audio_labels_and_what_training_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        {**each, "session": f"day{number % 2}", "accent": "north"}
        for number, each in enumerate(write_files(tmp_path / "audio"))
    ]
    assert prepare(write_csv(tmp_path / "audio", entries), tmp_path / "data") == 0
    folder = tmp_path / "data" / "mine_shards"
    found = {name: samples_of(folder / name) for name in ("train", "val", "test")}
    by_key = {str(each["path"]).rpartition(".")[0]: each for each in entries}
    assert sorted(key for samples in found.values() for key in samples) == sorted(by_key)
    names = meta_of(folder / "train")["speakers"]
    for set_name, samples in found.items():
        for key, sample in samples.items():
            entry, speaker = by_key[key], by_key[key]["speaker"]
            assert sample.metadata == {
                "accent": "north",
                "key": key,
                "transcription": str(entry["text"]).upper().replace(",", "").replace("!", ""),
                "speaker_id": speaker,
                "session_id": entry["session"],
                "sex": entry["sex"],
                "speaker_id_idx": names.index(speaker) if set_name == "train" else None,
                "num_frames": 3_200,
                "sampling_rate": 16_000,
            }
            assert sample.speaker == speaker
    train = meta_of(folder / "train")
    assert (train["num_utterances"], train["num_speakers"]) == (len(found["train"]), len(names))
    texts = "".join(each.metadata["transcription"] for each in found["train"].values())
    assert train["letter_counts"] == {each: texts.count(each) for each in sorted({*texts})}
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    assert {*vocabulary} == {"<pad>", "<unk>", "|", *"EINSZWDRVFÜ"}
    for set_name in ("val", "test"):
        assert "speakers" not in meta_of(folder / set_name)
        trials = read_trials(folder / set_name / f"{set_name}_trials.txt", producer="x")
        for trial in trials:
            left, right = (found[set_name][each] for each in (trial.left_key, trial.right_key))
            assert trial.same_speaker == (left.speaker == right.speaker)
            assert left.metadata["sex"] == right.metadata["sex"]
            if trial.same_speaker:
                assert left.metadata["session_id"] != right.metadata["session_id"]
    assert (folder / "statistics.html").is_file()
    assert (folder / "rejected.tsv").read_text() == "file\treason\n"
    assert not list((tmp_path / "data").glob(".*"))
    rows = (folder / "train" / "utterances.tsv").read_text().splitlines()[1:]
    assert {row.split("\t")[1] for row in rows} == {*names}
    printed = capsys.readouterr().out
    assert "for speech and speaker recognition" in printed


def shards_of(folder: Path) -> dict[str, bytes]:
    """All files but the record of the preparation, which holds the times of the audio files."""
    contents = file_contents(folder)
    contents.pop("preparation.json")
    return contents


def test_every_form_of_a_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    entries = write_files(audio)
    for form, write in FORMS.items():
        for path in audio.iterdir():  # a folder may hold only one manifest
            if path.is_file():
                path.unlink()
        assert prepare(write(audio, entries), tmp_path / form) == 0
        assert shards_of(tmp_path / form / "mine_shards") == shards_of(
            tmp_path / "csv" / "mine_shards"
        )


def test_segments_of_long_files_give_the_same_bytes_in_every_form(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    entries: list[Entry] = []
    for number, (speaker, sex) in enumerate(SPEAKERS.items()):
        suffix, rate_hz = FORMATS[number % 3]
        path = f"{speaker}.{suffix}"
        write_noise(audio / path, duration_sec=10.0, rate_hz=rate_hz, seed=number)
        for start_sec in (0.25, 3.5, 7.125):
            labels = {"text": "eins", "speaker": speaker, "sex": sex}
            entries.append({"path": path, "start": start_sec, "end": start_sec + 0.5, **labels})
    for form, write in FORMS.items():
        for file in audio.iterdir():
            if file.suffix[1:] not in {suffix for suffix, _ in FORMATS}:
                file.unlink()
        assert prepare(write(audio, entries), tmp_path / form) == 0
        assert shards_of(tmp_path / form / "mine_shards") == shards_of(
            tmp_path / "csv" / "mine_shards"
        )
    samples = {
        key: sample
        for name in ("train", "val", "test")
        for key, sample in samples_of(tmp_path / "csv" / "mine_shards" / name).items()
    }
    assert len(samples) == len(entries)
    assert {each.metadata["num_frames"] for each in samples.values()} == {8_000}
    assert "speaker0-250-750" in samples


def commands_of(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("DATA_FOLDER=")]


def test_the_printed_commands_can_be_pasted_and_compose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_folder = tmp_path / "my data"
    manifest = write_csv(tmp_path, write_files(tmp_path))
    assert prepare(manifest, data_folder, "--bpe", "14") == 0
    commands = commands_of(capsys.readouterr().out)
    words = [shlex.split(command) for command in commands]
    assert [each[2] for each in words] == [
        "run_speech.py",
        "run_speaker.py",
        "run_mt_speech_speaker.py",
    ]
    monkeypatch.setenv("DATA_FOLDER", str(data_folder))
    names = ("train_speech", "train_speaker", "train_mt_speaker_speech")
    for config_name, (variable, _, _, *arguments) in zip(names, words, strict=True):
        assert variable == f"DATA_FOLDER={data_folder}"
        command = CommandLine.parse(arguments)
        check_command(config_name, command)
        with hydra.initialize_config_dir(str(command.config_folders[0]), version_base="1.3"):
            config = hydra.compose(config_name, command.overrides)
        folder = data_folder / "mine_shards"
        if config_name != "train_speaker":
            corpus = config.data.get("speech") or config.data
            assert corpus.shards_folder == str(folder)
            assert config.speech.tokenizer.vocabulary_path == str(folder / "vocabulary.json")
            assert config.callbacks.early_stopping.monitors[0] == "val_wer_mine"
        if config_name.startswith("train_mt"):
            assert config.data.mode == "joint"
    configs = tmp_path / "my configs"
    assert prepare(manifest, data_folder, "--bpe", "14", "--config_folder", str(configs)) == 0
    first, *_ = commands_of(capsys.readouterr().out)
    assert f"--config-dir '{configs}' " in first
    assert file_contents(configs) == file_contents(data_folder / "mine_shards" / "config")


def test_an_only_task_has_an_only_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [{"path": each["path"], "text": each["text"]} for each in write_files(tmp_path)]
    assert prepare(write_csv(tmp_path, entries), tmp_path / "data") == 0
    (command,) = commands_of(capsys.readouterr().out)
    assert "data=mine_speech" in command
    folder = tmp_path / "data" / "mine_shards"
    assert not list(folder.glob("*/*_trials.txt"))
    assert meta_of(folder / "train")["num_speakers"] == 0
    (sample, *_) = samples_of(folder / "val").values()
    assert {*sample.metadata} == {"key", "transcription", "num_frames", "sampling_rate"}


def test_an_unchanged_corpus_is_not_made_again_and_a_changed_one_needs_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = write_files(tmp_path)
    manifest = write_csv(tmp_path, entries)
    assert prepare(manifest, tmp_path / "data") == 0
    first = commands_of(capsys.readouterr().out)
    assert prepare(manifest, tmp_path / "data") == 0
    output = capsys.readouterr().out
    assert "exists already, made with these options" in output
    assert commands_of(output) == first
    write_noise(tmp_path / str(entries[0]["path"]), duration_sec=0.3, rate_hz=16_000, seed=99)
    assert prepare(manifest, tmp_path / "data") == 1
    assert (
        "made from another manifest, from other audio or with other options; move it away, or pass "
        "--overwrite to replace it"
    ) in capsys.readouterr().err
    assert prepare(manifest, tmp_path / "data", "--overwrite") == 0


def test_the_size_of_a_vocabulary_is_that_of_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_csv(tmp_path, write_files(tmp_path))
    assert prepare(manifest, tmp_path / "data", "--bpe", "2") == 1
    assert "--bpe (2) must be at least" in capsys.readouterr().err


def test_bad_lines_and_files_are_rejected_with_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = write_files(tmp_path)
    (tmp_path / str(entries[0]["path"])).write_bytes(b"not audio")
    entries[1] = {**entries[1], "path": "gone.wav"}
    entries[2] = {**entries[2], "text": "?!"}
    manifest = write_csv(tmp_path, entries)
    assert prepare(manifest, tmp_path / "data") == 1
    assert (
        "2 of 32 files are rejected so far, more than --max_rejected allows (0.001 of them)"
        in capsys.readouterr().err
    )
    assert prepare(manifest, tmp_path / "data", "--max_rejected", "0.1") == 0
    folder = tmp_path / "data" / "mine_shards"
    lines = (folder / "rejected.tsv").read_text().splitlines()[1:]
    assert [line.partition("\t")[0] for line in lines] == [f"mine.csv, line {n}" for n in (2, 3, 4)]
    assert "0.wav cannot be decoded as audio" in lines[0]
    assert "'gone.wav' cannot be read" in lines[1]
    assert "its text ('?!') is empty after normalisation" in lines[2]
    num_utterances = [meta_of(folder / name)["num_utterances"] for name in ("train", "val", "test")]
    assert sum(num_utterances) == 29


def test_strict_rejects_audio_of_other_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_csv(tmp_path, write_files(tmp_path))
    assert prepare(manifest, tmp_path / "data", "--strict") == 1
    assert "which --strict demands" in capsys.readouterr().err


def test_a_limit_makes_a_small_corpus_of_both_tasks(tmp_path: Path) -> None:
    manifest = write_csv(tmp_path, write_files(tmp_path))
    assert prepare(manifest, tmp_path / "data", "--limit", "5") == 0
    folder = tmp_path / "data" / "mine_shards"
    assert {meta_of(folder / name)["num_utterances"] for name in ("train", "val", "test")} == {5}


@pytest.mark.parametrize("name", ["12", "on", "null", "1e5"])
def test_a_name_that_yaml_takes_for_a_value_is_a_name(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(write_csv(tmp_path, write_files(tmp_path)), tmp_path / "data", name=name) == 0
    monkeypatch.setenv("DATA_FOLDER", str(tmp_path / "data"))
    for command, config_name in zip(
        commands_of(capsys.readouterr().out),
        ("train_speech", "train_speaker", "train_mt_speaker_speech"),
        strict=True,
    ):
        check_command(config_name, CommandLine.parse(shlex.split(command)[3:]))


@pytest.mark.parametrize("name", ["a/b", "", "librispeech", "my corpus", "val"])
def test_a_name_is_a_part_of_names(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(tmp_path / "x.csv", tmp_path / "data", name=name) == 1
    assert "it must be letters, digits" in capsys.readouterr().err


def test_a_mixture_of_labels_serves_both_tasks(tmp_path: Path) -> None:
    entries = [dict(each) for each in write_files(tmp_path)]
    for number, each in enumerate(entries):
        each["session"] = f"call{number // 2}"
        del each["text" if number % 3 == 0 else "sex"]
        if number % 7 == 0 and "text" in each:
            del each["speaker"]
    write_table(tmp_path / "mine.csv", entries)
    assert prepare(tmp_path / "mine.csv", tmp_path / "data") == 0
    folder = tmp_path / "data" / "mine_shards"
    for name in ("train", "val", "test"):
        samples = samples_of(folder / name).values()
        assert any("transcription" in each.metadata for each in samples)
        assert len({each.named_speaker for each in samples} - {None}) > 1
