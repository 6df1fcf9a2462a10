"""Faults of manifests: of one line, which is rejected, and of the whole, which is refused."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from tests.helpers.manifests import lhotse_cut, write_json_lines
from tests.manifests.conftest import ReadCsv
from w2v2_mt.manifests.manifest import Manifest, read_manifest
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.corpus_options import CorpusOptions
from w2v2_mt.prepare.corpus_plan import plan_corpus
from w2v2_mt.prepare.corpus_splits import SplitRules, split_recordings


def rejection(manifest: Manifest) -> Rejection:
    """The only rejection, next to recordings that are kept."""
    assert manifest.recordings
    (found,) = manifest.rejections
    return found


def test_a_missing_file_is_rejected_with_its_line(read_csv: ReadCsv, tmp_path: Path) -> None:
    manifest = read_csv("path,text\na.wav,x\nnone.wav,y\nb.wav,z\n")
    assert [each.line for each in manifest.recordings] == ["mine.csv, line 2", "mine.csv, line 4"]
    assert rejection(manifest) == Rejection(
        "mine.csv, line 3",
        f"'none.wav' cannot be read in {tmp_path} (No such file or directory).",
    )


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("https://example.org/a.wav", "Addresses are not read: download the files first."),
        (r"sub\c.wav", r"Folders are separated by / and not by \."),
    ],
)
def test_usual_reasons_of_a_missing_file_are_named(
    read_csv: ReadCsv, path: str, advice: str
) -> None:
    assert rejection(read_csv(f"path,text\na.wav,x\n{path},y\n")).reason.endswith(advice)


@pytest.mark.parametrize("name", ["sub", ".", "sub/.."])
def test_a_folder_is_not_a_file(read_csv: ReadCsv, name: str) -> None:
    reason = rejection(read_csv(f"path,text\na.wav,x\n{name},y\n")).reason
    assert "is a folder, pipe or device" in reason or "is outside of" in reason


def test_a_manifest_without_one_usable_line_is_refused(read_csv: ReadCsv) -> None:
    with pytest.raises(
        ValueError,
        match=r"mine\.csv: none of its 2 lines can be used\. The first is mine\.csv, line 2: 'x'",
    ):
        read_csv("path,text\nx,x\ny,y\n")


@pytest.mark.parametrize("path", ["../out.wav", "/etc/passwd", "sub/../../out.wav"])
def test_a_path_outside_the_root_is_rejected(read_csv: ReadCsv, tmp_path: Path, path: str) -> None:
    (tmp_path.parent / "out.wav").touch()
    reason = rejection(read_csv(f"path,text\na.wav,x\n{path},y\n")).reason
    assert reason == (
        f"{path!r} is outside of {tmp_path}, from where files are read. Pass the folder that holds "
        "all audio as --root."
    )


@pytest.mark.parametrize("second", ["a.wav", "./a.wav", "sub/../a.wav", "a.flac"])
def test_the_same_key_twice_is_refused(read_csv: ReadCsv, tmp_path: Path, second: str) -> None:
    (tmp_path / "a.flac").touch()
    with pytest.raises(
        ValueError,
        match=r"mine\.csv, line 4: .* same key \('a'\) as the recording of mine\.csv, line 2\.",
    ):
        read_csv(f"path,text\na.wav,x\nb.wav,y\n{second},z\n")


def test_the_same_segment_twice_is_refused_and_another_one_is_not(read_csv: ReadCsv) -> None:
    assert len(read_csv("path,text,end\na.wav,x,1\na.wav,y,2\na.wav,z,\n").recordings) == 3
    with pytest.raises(ValueError, match=r"same key \('a-0-1000'\)"):
        read_csv("path,text,end\na.wav,x,1\na.wav,y,1.0004\n")


@pytest.mark.parametrize("text", ["", "   ", '""'])
def test_an_empty_text_is_rejected(read_csv: ReadCsv, text: str) -> None:
    assert rejection(read_csv(f"path,text\na.wav,x\nb.wav,{text}\n")) == Rejection(
        "mine.csv, line 3",
        "its text is empty and it has no speaker, so that no task can learn from it.",
    )


def test_a_text_with_characters_outside_of_a_given_vocabulary_is_rejected(
    read_csv: ReadCsv, tmp_path: Path
) -> None:
    (tmp_path / "d.wav").touch()
    manifest = read_csv("path,text\na.wav,one\nb.wav,grün\nsub/c.wav,two\nd.wav,three\n")
    english = Path(str(files("w2v2_mt.data") / "vocabulary.json"))
    plan = plan_corpus(
        "mine",
        manifest.recordings,
        rejections=manifest.rejections,
        options=CorpusOptions(data_folder=tmp_path, vocabulary=english),
    )
    assert plan.rejections == [
        Rejection(
            "mine.csv, line 3",
            f"the character 'Ü' of its text 'GRÜN' is not in the vocabulary {english}.",
        )
    ]
    assert sum(map(len, plan.sets.values())) == 3


def test_a_recording_without_text_but_with_a_speaker_is_kept(read_csv: ReadCsv) -> None:
    manifest = read_csv("path,text,speaker\na.wav,x,\nb.wav,,anna\n")
    assert [(each.text, each.speaker) for each in manifest.recordings] == [
        ("x", None),
        (None, "anna"),
    ]


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ("2,1.5", "its end (1.5 s) must be after its start (2 s)."),
        ("1,1.0001", "its end (1 s) must be after its start (1 s)."),
        (",0", "its end (0 s) must be after its start (0 s)."),
        ("-1,2", "its start ('-1') must be a number of seconds from 0, such as 12.345."),
        ("1:30,200", "its start ('1:30') must be a number of seconds from 0, such as 12.345."),
        ("nan,2", "its start ('nan') must be a number of seconds from 0, such as 12.345."),
        ("0,inf", "its end ('inf') must be a number of seconds from 0, such as 12.345."),
        ("0,1e999", "its end ('1e999') must be a number of seconds from 0, such as 12.345."),
        ("0,1_0", "its end ('1_0') must be a number of seconds from 0, such as 12.345."),
        ("0,٣", "its end ('٣') must be a number of seconds from 0, such as 12.345."),
    ],
)
def test_wrong_times_are_rejected(read_csv: ReadCsv, times: str, reason: str) -> None:
    manifest = read_csv(f"path,text,start,end\na.wav,x,,\nb.wav,y,{times}\n")
    assert rejection(manifest) == Rejection("mine.csv, line 3", reason)


def test_a_speaker_in_two_given_splits_is_refused(read_csv: ReadCsv) -> None:
    text = "path,speaker,split\na.wav,anna,train\nb.wav,bo,test\nsub/c.wav,anna,test\n"
    rules = SplitRules(
        split_by="speaker",
        val_fraction=0.1,
        test_fraction=0.1,
        recognises_speech=False,
        recognises_speakers=True,
        seed=1,
    )
    message = (
        r"speaker 'anna' is in 2 sets: mine.csv, line 2 .train. and mine.csv, line 4 .test.\. Sets"
    )
    with pytest.raises(ValueError, match=message):
        split_recordings(read_csv(text).recordings, rules)


def test_a_speaker_of_two_sexes_is_refused(read_csv: ReadCsv) -> None:
    with pytest.raises(
        ValueError, match="line 3: the speaker 'anna' has the sex 'm', but in .*'f'"
    ):
        read_csv("path,speaker,gender\na.wav,anna,female\nb.wav,anna,M\n")


def test_an_unknown_split_is_refused_with_its_line(read_csv: ReadCsv) -> None:
    with pytest.raises(ValueError, match=r"mine\.csv, line 3: the split 'tset' .*mean 'test'\?"):
        read_csv("path,text,split\na.wav,x,train\nb.wav,y,tset\n")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("spekaer", "speaker"),
        ("speakers", "speaker"),
        ("tetx", "text"),
        ("transcripton", "transcription"),
        ("sesion", "session"),
        ("Splitt", "split"),
        ("strat", "start"),
        ("gendre", "gender"),
    ],
)
def test_a_misspelt_column_is_refused_with_the_right_name(
    read_csv: ReadCsv, wrong: str, right: str
) -> None:
    question = f"has the column {wrong!r}, .* Did you mean {right!r}"
    with pytest.raises(ValueError, match=f"mine.csv {question}"):
        read_csv(f"path,{wrong}\na.wav,x\n")
    line = json.dumps({"path": "a.wav", wrong: "x"})
    with pytest.raises(ValueError, match=f"mine.jsonl, line 1 {question}"):
        read_csv(line, name="mine.jsonl")


@pytest.mark.parametrize(
    "name",
    "age accents locale label language emotion context pred_text next test notes duration_ms "
    "room device rating segment variant".split(),
)
def test_other_columns_are_not_taken_for_misspelt_ones(read_csv: ReadCsv, name: str) -> None:
    manifest = read_csv(f"path,transcript,{name}\na.wav,x,1\n")
    assert manifest.recordings[0].metadata == {name: "1"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.wav,hello\nb.wav,world\n", r"has no column 'path', but 'a\.wav', 'hello'\. Its first"),
        ("pth,text\na.wav,x\n", "has the column 'pth', .* Did you mean 'path'"),
        (
            "path,text,text\na.wav,x,y\n",
            "has the columns 'text' and 'text', which both are the tex",
        ),
        ("path,sentence,transcript\na,x,y\n", "has the columns 'sentence' and 'transcript'"),
        ("path,text,age,age\na,x,1,2\n", "has two columns 'age'"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("path,text\n", "names no recording"),
        ('[{"path": "a.wav"}]', r"is a JSON list\. Write one JSON object in each line"),
        ('path,"text\na.wav,x\n', "headings of .* cannot be read: its quotes are not those of a"),
    ],
)
def test_headings_that_cannot_be_understood_are_refused(
    read_csv: ReadCsv, content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(content)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "it is not JSON (Expecting property name"),
        ("[1]", "it is JSON, but not an object with names: {...}."),
        ('{"text": "x"}', "it has no path, but 'text'."),
        ('{"path": null, "text": "x"}', "it has no path, but 'path', 'text'."),
        ('{"path": "", "text": "x"}', "it has no path."),
        ('{"path": "b.wav", "text": ["x"]}', "its 'text' ([\"x\"]) must be a text or a number."),
        ('{"path": "b.wav", "speaker": true}', "its 'speaker' (true) must be a text or a number."),
        ('{"path": "b.wav", "text": "x", "start": NaN}', "its start ('NaN') must be a number of"),
        ("[" * 100_000, "it is not JSON (maximum recursion depth exceeded"),
        ('{"path": "b.wav", "text": "x", "a": ' + "9" * 5000 + "}", "it is not JSON (Exceeds the"),
    ],
)
def test_a_wrong_line_of_json_is_rejected(read_csv: ReadCsv, line: str, reason: str) -> None:
    good = '{"path": "a.wav", "text": "x"}\n'
    found = rejection(read_csv(f"{good}\n{line}\n", name="mine.jsonl"))
    assert found.file == "mine.jsonl, line 3"
    assert found.reason.startswith(reason)


def test_a_path_that_does_not_exist_or_holds_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv does not exist\. Name a manifest"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="holds no manifest: neither wav.scp"):
        read_manifest(tmp_path)
    (tmp_path / "mine.csv").write_text("path,text\na,b\n")
    with pytest.raises(ValueError, match="none is not a folder. Name the folder with the audio"):
        read_manifest(tmp_path / "mine.csv", root=tmp_path / "none")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("wav.scp", "u1 a.wav\nu2\n", "wav.scp, line 2: it has no path."),
        (
            "wav.scp",
            "u1 a.wav\nu2 sox b.wav -t wav - |\n",
            "wav.scp, line 2: 'sox b.wav -t wav - |'",
        ),
        ("text", "u1 x\nu2 y\nu3 z\n", "text: the utterance 'u3' has a text, and no audio."),
        ("text", "u1 x\nu2\n", "wav.scp, line 2: its text is empty and it has no speaker"),
        ("segments", "u1 u1 0 1\nu2 u2 0\n", "segments, line 2: it must be `<utterance> <record"),
        ("segments", "u1 u1 0 1\nu2 u9 0 1\n", "segments, line 2: wav.scp has no line for the rec"),
    ],
)
def test_a_wrong_line_of_kaldi_is_rejected(
    read_csv: ReadCsv, tmp_path: Path, file: str, content: str, reason: str
) -> None:
    files = {"wav.scp": "u1 a.wav\nu2 b.wav\n", "text": "u1 x\nu2 y\n", file: content}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = rejection(read_manifest(tmp_path))
    assert f"{found.file}: {found.reason}".startswith(reason)


def test_a_name_with_two_lines_in_one_file_of_kaldi_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "wav.scp").write_text("u1 a.wav\n")
    (tmp_path / "text").write_text("u1 x\nu1 y\n")
    with pytest.raises(ValueError, match="text, line 2: 'u1' has an earlier line. Remove one"):
        read_manifest(tmp_path)


def test_a_folder_of_kaldi_has_the_name_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "trian").mkdir()
    (tmp_path / "trian" / "wav.scp").write_text("u1 a.wav\n")
    with pytest.raises(ValueError, match="trian: the split 'trian' .* Did you mean 'train'"):
        read_manifest(tmp_path)


def test_two_tables_in_one_audio_folder_are_refused(tmp_path: Path) -> None:
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / name).write_text("file_name\n")
    with pytest.raises(ValueError, match="holds metadata.csv and metadata.jsonl. Remove one"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recording": None}, "it is not a cut of lhotse (TypeError"),
        ({"duration": "long", "supervisions": None}, "it is not a cut of lhotse (ValueError"),
        ({"channel": 1}, "it takes the channels [1] of [0]; all channels of a file are mixed."),
        ({"channel": [0, 1]}, "it takes the channels [0, 1] of [0];"),
        (
            {
                "channel": [0, 1],
                "recording.sources": [{"type": "file", "channels": [0, 1], "source": "b.wav"}],
            },
            "it takes the channels [0] of [0, 1]; all channels of a file are mixed.",
        ),
        ({"supervisions": [{"text": "x"}]}, "it is not a cut of lhotse (KeyError: 'start')."),
        ({"supervisions": []}, "it has no text and it has no speaker"),
        ({"recording.transforms": [{"name": "Speed"}]}, "its recording is changed by transforms"),
        ({"recording.sources": []}, "the sources of its recording () must be one file; commands"),
        (
            {"recording.sources": [{"type": "command", "channels": [0], "source": "touch x"}]},
            "the sources of its recording (command) must be one file; commands, addresses",
        ),
        (
            {"recording.sources": [{"type": "url", "channels": [0], "source": "http://a/b.wav"}]},
            "the sources of its recording (url) must be one file; commands, addresses",
        ),
    ],
)
def test_a_cut_that_cannot_be_read_as_it_is_is_rejected(
    read_csv: ReadCsv, tmp_path: Path, change: Mapping[str, object], reason: str
) -> None:
    cuts = [
        lhotse_cut(tmp_path, {"path": f"{name}.wav", "text": "x", "speaker": "anna"})
        for name in "ab"
    ]
    for name, value in change.items():
        (cuts[1]["recording"] if "." in name else cuts[1])[name.rpartition(".")[2]] = value
    found = rejection(read_manifest(write_json_lines(tmp_path / "cuts.jsonl", cuts)))
    assert found.file == "cuts.jsonl, line 2"
    assert found.reason.startswith(reason)


def test_other_manifests_of_lhotse_are_rejected_with_advice(tmp_path: Path) -> None:
    mixed = {"id": "m", "tracks": [], "type": "MixedCut"}
    supervision = {"id": "s", "recording_id": "r", "start": 0, "duration": 1, "text": "x"}
    for values, kind in ((mixed, r" \(MixedCut\)"), (supervision, "")):
        (tmp_path / "mine.jsonl").write_text(json.dumps(values) + "\n")
        with pytest.raises(
            ValueError, match=f"line 1: it is not a cut with one recording{kind}. Write"
        ):
            read_manifest(tmp_path / "mine.jsonl")
