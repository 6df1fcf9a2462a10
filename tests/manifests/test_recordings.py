from pathlib import Path

import pytest

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.trials import read_trials
from w2v2_mt.manifests.recordings import Recording, milliseconds, recording_key
from w2v2_mt.prepare.trials import write_trials


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("anna/1.wav", "anna/1"),
        ("anna/1.FLAC", "anna/1"),
        ("anna/2026.11.30", "anna/2026.11.30"),
        ("anna/take.1.mp3", "anna/take.1"),
        ("Jörg/早上.ogg", "Jörg/早上"),
    ],
)
def test_a_key_is_the_path_without_the_suffix_of_an_audio_file(path: str, key: str) -> None:
    assert recording_key(path) == key


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("my talk.wav", "my%20talk"),
        ("100%.wav", "100%25"),
        ("a\tb\nc.wav", "a%09b%0Ac"),
        ("a\x1b[2J.wav", "a%1B[2J"),
        ("a\u2028b\u202e.wav", "a%E2%80%A8b%E2%80%AE"),
        ("a\udcff.wav", "a%ED%B3%BF"),
    ],
)
def test_a_key_is_one_printable_field_of_a_list(path: str, key: str) -> None:
    assert recording_key(path) == key
    assert key.isprintable()
    assert key.split() == [key]


def test_a_list_of_trials_names_the_key_of_a_file_with_two_suffixes(tmp_path: Path) -> None:
    key = recording_key("a.wav.flac")
    trials = [Trial(True, key, "b"), Trial(False, key, recording_key("c.wav"))]
    write_trials(tmp_path / "trials.txt", trials)
    assert read_trials(tmp_path / "trials.txt", producer="x") == trials


def test_paths_that_differ_have_keys_that_differ() -> None:
    paths = (
        "a.wav.wav",
        "a%2Ewav.wav",
        "a.wav",
        "a b",
        "a%20b",
        "a_b",
        "a  b",
        "a\u00a0b",
        "a\u200bb",
    )
    assert len({recording_key(path) for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("start_sec", "end_sec", "key"),
    [
        (1.5, 4.25, "a-1500-4250"),
        (None, 2, "a-0-2000"),
        (0.0, 2.0, "a-0-2000"),
        (3, None, "a-3000-end"),
        (3661.0004, 3662.0006, "a-3661000-3662001"),
    ],
)
def test_the_key_of_a_segment_has_its_times_in_milliseconds(
    start_sec: float | None, end_sec: float | None, key: str
) -> None:
    assert recording_key("a.wav", start_sec=start_sec, end_sec=end_sec) == key


@pytest.mark.parametrize("end", ["0.3", "1.2345", "3.0005", "7200.0015", "0.0005"])
@pytest.mark.parametrize("start", ["0.1", "0.0003", "0.2", "1.1"])
def test_offset_plus_duration_is_the_same_time_as_the_end(start: str, end: str) -> None:
    duration = float(f"{float(end) - float(start):.6f}")
    assert milliseconds(float(start) + duration) == milliseconds(float(end))


def test_a_recording_has_no_labels_unless_they_are_given() -> None:
    recording = Recording(key="a", path="a.wav", line="mine.csv, line 2")
    assert (recording.text, recording.speaker, recording.session) == (None, None, None)
    assert (recording.split, recording.sex, dict(recording.metadata)) == (None, None, {})
