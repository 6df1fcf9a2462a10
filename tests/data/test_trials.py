from pathlib import Path

import pytest

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.trials import keys_of_trials, limit_trials, read_trials


def _trial(same_speaker: bool, left_key: str, right_key: str) -> Trial:
    return Trial(same_speaker=same_speaker, left_key=left_key, right_key=right_key)


def test_our_keys_and_official_names_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_text(
        "1 id1/video/00001 id1/other/00002\n"
        "0 id1/video/00001.wav id2/v.d/00003.wav\r\n"
        "\n"
        "0 id3/video/00001.m4a id2/video/00003.m4a"
    )
    assert read_trials(path, producer="x.sh") == [
        _trial(True, "id1/video/00001", "id1/other/00002"),
        _trial(False, "id1/video/00001", "id2/v.d/00003"),
        _trial(False, "id3/video/00001", "id2/video/00003"),
    ]


@pytest.mark.parametrize("line", ["1 a/b/1", "2 a/b/1 a/b/2", "a/b/1 a/b/2 1", "1 a b c", "1,a,b"])
def test_a_malformed_line_is_named_by_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "trials.txt"
    path.write_text(f"1 a/b/1 a/b/2\n{line}\n")
    with pytest.raises(
        ValueError, match=r"trials\.txt, line 2: a trial must be '1 key key'"
    ) as error:
        read_trials(path, producer="x.sh")
    assert repr(line) in str(error.value)


def test_a_byte_order_mark_is_not_part_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_bytes(b"\xef\xbb\xbf1 a/b/1 a/b/2\n")
    assert read_trials(path, producer="x.sh") == [_trial(True, "a/b/1", "a/b/2")]


def test_a_list_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_bytes(b"1 a/b\xe9/1 a/b/2\n")
    with pytest.raises(ValueError, match=r"trials\.txt must be in UTF-8 \(invalid .* at byte 5\)"):
        read_trials(path, producer="x.sh")


def test_a_missing_list_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"The trial list .*none\.txt must exist\. Run x\.sh or set DATA_FOLDER"
    ):
        read_trials(tmp_path / "none.txt", producer="x.sh")


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"trials\.txt must not be empty\. Run x\.sh again"):
        read_trials(tmp_path / "trials.txt", producer="x.sh")


def test_a_limited_list_has_the_first_trials_of_both_kinds_in_order() -> None:
    trials = [_trial(number in (1, 4, 5), f"a{number}", f"b{number}") for number in range(7)]
    limited = limit_trials(trials, 2)
    assert [trial.left_key for trial in limited] == ["a0", "a1", "a2", "a4"]


def test_a_limit_above_the_number_of_trials_keeps_all() -> None:
    trials = [_trial(True, "a", "b"), _trial(True, "a", "b")]
    assert limit_trials(trials, 5) == trials


def test_each_key_of_the_trials_is_named_once() -> None:
    assert keys_of_trials([_trial(True, "a", "b"), _trial(False, "b", "c")]) == {"a", "b", "c"}
