"""Each form of a manifest gives the same recordings for the same content."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.manifests import (
    DURATION_SEC,
    FORMS,
    SEGMENTS,
    WHOLE_FILES,
    lhotse_cut,
    touch_files,
    write_audio_folders,
    write_json_lines,
    write_table,
)
from w2v2_mt.manifests.manifest import read_manifest
from w2v2_mt.manifests.recordings import Recording

EXPECTED_WHOLE = [
    ("train/anna/1", "guten Morgen, Welt", "anna", "f", "train"),
    ("train/anna/2", 'sie sagte "ja"', "anna", "f", "train"),
    ("train/my%20talk", "早上 好", "bo", "m", "train"),
    ("val/c", "eins zwei", "cem", "m", "val"),
    ("test/d", "drei", "dora", "f", "test"),
]
EXPECTED_SEGMENTS = [
    ("call-500-1250", "call.wav", 0.5, 1.25, "hello", "anna"),
    ("call-1250-3100", "call.wav", 1.25, 3.1, "who is it", "bo"),
    ("sub/b-100-300", "sub/b.wav", 0.1, 0.3, "bye", "anna"),
]


def without_lines(recordings: list[Recording]) -> list[Recording]:
    """Recordings in one order, without the place that describes them."""
    return sorted((replace(each, line="") for each in recordings), key=lambda each: each.key)


@pytest.mark.parametrize("form", FORMS)
def test_whole_files_are_read_from_each_form(tmp_path: Path, form: str) -> None:
    touch_files(tmp_path, WHOLE_FILES)
    manifest = read_manifest(FORMS[form](tmp_path, WHOLE_FILES))
    assert manifest.rejections == []
    assert manifest.root == tmp_path
    found = [
        (each.key, each.text, each.speaker, each.sex, each.split) for each in manifest.recordings
    ]
    assert sorted(found) == sorted(EXPECTED_WHOLE)
    assert {each.path for each in manifest.recordings} == {each["path"] for each in WHOLE_FILES}
    assert all(each.metadata == {} for each in manifest.recordings)
    assert all(each.start_sec is None and each.end_sec is None for each in manifest.recordings)


@pytest.mark.parametrize("form", FORMS)
def test_segments_are_read_from_each_form(tmp_path: Path, form: str) -> None:
    touch_files(tmp_path, SEGMENTS)
    manifest = read_manifest(FORMS[form](tmp_path, SEGMENTS))
    assert manifest.rejections == []
    found = [
        (each.key, each.path, each.start_sec, each.end_sec, each.text, each.speaker)
        for each in manifest.recordings
    ]
    assert found == EXPECTED_SEGMENTS
    assert all(each.split is None for each in manifest.recordings)


def test_the_recordings_of_all_forms_are_equal(tmp_path: Path) -> None:
    for entries in (WHOLE_FILES, SEGMENTS):
        found = []
        for form, write in FORMS.items():
            folder = tmp_path / f"{len(entries)} {form}"
            touch_files(folder, entries)
            found.append(without_lines([*read_manifest(write(folder, entries)).recordings]))
        assert all(each == found[0] for each in found)


def test_a_table_in_the_folder_of_each_split_is_an_audio_folder(tmp_path: Path) -> None:
    touch_files(tmp_path, WHOLE_FILES)
    found = read_manifest(write_audio_folders(tmp_path, WHOLE_FILES))
    assert found.form == "audiofolder"
    lines = {each.line for each in found.recordings}
    assert {"test/metadata.jsonl, line 1", "train/metadata.jsonl, line 3"} <= lines
    for each in tmp_path.glob("*/metadata.jsonl"):
        each.unlink()
    expected = read_manifest(FORMS["csv"](tmp_path, WHOLE_FILES))
    assert without_lines([*found.recordings]) == without_lines([*expected.recordings])


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("csv", "table"),
        ("tsv", "table"),
        ("jsonl", "JSON lines"),
        ("nemo", "NeMo"),
        ("audiofolder", "audiofolder"),
        ("kaldi", "Kaldi"),
        ("lhotse", "lhotse"),
    ],
)
def test_the_form_is_recognised_by_its_content(tmp_path: Path, form: str, name: str) -> None:
    touch_files(tmp_path, SEGMENTS)
    path = FORMS[form](tmp_path, SEGMENTS)
    assert read_manifest(path).form == name
    if path.is_file():
        renamed = path.rename(tmp_path / "manifest.txt")
        assert read_manifest(renamed).form == name


def test_wav_scp_and_the_table_of_a_folder_may_be_named_themselves(tmp_path: Path) -> None:
    touch_files(tmp_path, SEGMENTS)
    FORMS["kaldi"](tmp_path, SEGMENTS)
    kaldi = read_manifest(tmp_path / "wav.scp")
    assert kaldi == read_manifest(tmp_path)
    (tmp_path / "wav.scp").unlink()
    FORMS["audiofolder"](tmp_path, SEGMENTS)
    assert read_manifest(tmp_path / "metadata.csv") == read_manifest(tmp_path)


def test_a_table_may_be_gzipped_and_separated_by_semicolons(tmp_path: Path) -> None:
    touch_files(tmp_path, SEGMENTS)
    content = b"path;text\ncall.wav;eins, zwei\nsub/b.wav;drei\n"
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(gzip.compress(content))
    assert [each.text for each in read_manifest(path).recordings] == ["eins, zwei", "drei"]


@pytest.mark.parametrize("name", ["path", "audio_filepath", "file_name", "Audio", " PATH "])
def test_columns_of_other_toolkits_are_known(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").touch()
    path = tmp_path / "mine.csv"
    path.write_text(f"{name},Sentence,client_id,session_id\na.wav,hello,s1,x\n")
    manifest = read_manifest(path)
    (recording,) = manifest.recordings
    assert (recording.text, recording.speaker, recording.session) == ("hello", "s1", "x")
    assert manifest.columns["Sentence"] == "text"


def test_further_columns_are_metadata_and_computed_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").touch()
    rows = [
        {"path": "a.wav", "text": "x", "age": 31, "place": "Köln", "num_frames": 7, "key": "k"},
        {"path": "b.wav", "text": "y", "place": "", "duration": 2.5, "transcription": "z"},
    ]
    for manifest in (
        read_manifest(write_table(tmp_path / "mine.csv", rows)),
        read_manifest(write_json_lines(tmp_path / "mine.jsonl", rows)),
    ):
        metadata = [dict(each.metadata) for each in manifest.recordings]
        assert metadata == [{"age": "31", "place": "Köln"}, {}]
        assert manifest.columns["age"] is None
        assert [each.end_sec for each in manifest.recordings] == [None, None]


def test_null_and_an_empty_field_are_unknown_values(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    rows = [
        {"path": "a.wav", "text": "x", "speaker": None, "session": None, "start": None},
        {"path": "b.wav", "text": None, "speaker": "s", "session": "1", "start": 1},
    ]
    tables = (
        write_table(tmp_path / "mine.csv", rows),
        write_json_lines(tmp_path / "mine.jsonl", rows),
    )
    for path in tables:
        first, second = read_manifest(path).recordings
        assert (first.text, first.speaker, first.session, first.key) == ("x", None, None, "a")
        assert (second.text, second.speaker, second.start_sec) == (None, "s", 1)
        assert second.key == "b-1000-end"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, (None, None)),
        ({"start": 0}, (None, None)),
        ({"end": 2}, (0, 2)),
        ({"start": 1.5}, (1.5, None)),
        ({"start": 0.1, "duration": 0.2}, (0.1, 0.3)),
        ({"offset": 0, "duration": 3}, (0, 3)),
        ({"duration": 3}, (None, None)),
        ({"start": 1, "end": 2, "duration": 1}, (1, 2)),
        ({"start": "1.00049", "end": "1.5006"}, (1.0, 1.501)),
        ({"start": 1e-05, "end": ".5"}, (0, 0.5)),
    ],
)
def test_times_of_a_segment(
    tmp_path: Path, times: dict[str, object], expected: tuple[float | None, float | None]
) -> None:
    (tmp_path / "a.wav").touch()
    path = write_json_lines(tmp_path / "m.jsonl", [{"path": "a.wav", "text": "x", **times}])
    (recording,) = read_manifest(path).recordings
    assert (recording.start_sec, recording.end_sec) == expected


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("dev", "val"),
        ("valid", "val"),
        ("VALIDATION", "val"),
        ("testing", "test"),
        ("eval", "test"),
        ("", None),
    ],
)
def test_usual_names_of_splits(tmp_path: Path, name: str, split: str | None) -> None:
    (tmp_path / "a.wav").touch()
    path = write_table(tmp_path / "m.csv", [{"path": "a.wav", "text": "x", "split": name}])
    (recording,) = read_manifest(path).recordings
    assert recording.split == split


def test_the_root_may_be_another_folder_and_paths_absolute(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    touch_files(audio, SEGMENTS)
    lists = tmp_path / "lists"
    lists.mkdir()
    (tmp_path / "linked").symlink_to(audio)
    for prefix in ("", f"{audio}/", f"{tmp_path}/linked/", f"{audio}/sub/../"):
        entries = [{**each, "path": f"{prefix}{each['path']}"} for each in SEGMENTS]
        path = write_table(lists / "mine.csv", entries)
        for root in (audio, tmp_path / "linked"):
            if "linked" in prefix and root == audio:
                continue
            found = read_manifest(path, root=root).recordings
            assert [each.key for each in found] == [each[0] for each in EXPECTED_SEGMENTS]


def test_several_supervisions_of_a_cut_are_utterances_of_their_own(tmp_path: Path) -> None:
    cut = lhotse_cut(tmp_path, {"path": "a.wav", "text": "one", "speaker": "x", "start": 1})
    (tmp_path / "a.wav").touch()
    first = cut["supervisions"][0]
    cut["supervisions"] = [
        {**first, "start": 0.5, "duration": 1, "language": "German", "custom": {"session": "m"}},
        {**first, "start": 2.0, "duration": 0.25, "text": "two", "speaker": "y"},
    ]
    cut["custom"] = {"room": "kitchen", "end": 99, "path": "z.wav"}
    path = write_json_lines(tmp_path / "cuts.jsonl", [cut])
    one, two = read_manifest(path).recordings
    assert (one.start_sec, one.end_sec, one.text, one.session) == (1.5, 2.5, "one", "m")
    assert one.metadata == {"room": "kitchen", "language": "German"}
    assert (two.key, two.speaker) == ("a-3000-3250", "y")


def test_a_cut_that_is_a_part_of_its_file_is_a_segment(tmp_path: Path) -> None:
    cut = lhotse_cut(tmp_path, {"path": "a.wav", "text": "one", "speaker": "x"})
    (tmp_path / "a.wav").touch()
    cut["custom"] = {"start": 3}
    path = write_json_lines(tmp_path / "cuts.jsonl", [cut])
    assert [each.key for each in read_manifest(path).recordings] == ["a"]
    cut["recording"]["duration"] = DURATION_SEC + 0.001
    path = write_json_lines(tmp_path / "cuts.jsonl", [cut])
    assert [each.key for each in read_manifest(path).recordings] == ["a-0-10000"]


def test_kaldi_ends_a_segment_with_its_file_at_minus_one(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "wav.scp").write_text("rec a.wav\n")
    (tmp_path / "segments").write_text("utt rec 1.5 -1\n")
    (tmp_path / "text").write_text("utt\thello  world\n")
    (recording,) = read_manifest(tmp_path).recordings
    assert (recording.start_sec, recording.end_sec) == (1.5, None)
    assert recording.text == "hello  world"
    assert recording.line == "segments, line 1"


def test_kaldi_sessions_come_from_a_map_of_utterances(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "wav.scp").write_text("utt a.wav\n")
    (tmp_path / "utt2spk").write_text("utt anna\n")
    (tmp_path / "utt2session").write_text("utt monday\n")
    manifest = read_manifest(tmp_path)
    assert manifest.recordings[0].session == "monday"
    assert manifest.columns == {
        "wav.scp": "path",
        "utt2spk": "speaker",
        "utt2session": "session",
    }


def test_a_million_recordings_share_what_they_have_in_common(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    rows = [
        {"path": "a.wav", "speaker": "anna", "session": "1", "start": n, "end": n + 1}
        for n in range(2)
    ]
    first, second = read_manifest(write_table(tmp_path / "m.csv", rows)).recordings
    assert first.speaker is second.speaker
    assert first.session is second.session
    assert first.metadata is second.metadata


def test_recordings_without_labels_are_kept_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"path": "a.wav"}) + "\n")
    (recording,) = read_manifest(path, keep_unlabelled=True).recordings
    assert (recording.text, recording.speaker) == (None, None)
    with pytest.raises(ValueError, match="it has no text and it has no speaker"):
        read_manifest(path)
