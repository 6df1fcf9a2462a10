import errno
from pathlib import Path

import pytest

from w2v2_mt.core.errors import exit_with_sentence, name_in_errors


def exit_code_of(error: BaseException) -> int:
    with pytest.raises(SystemExit) as end, exit_with_sentence(after_interrupt="Half is there."):
        raise error
    return int(end.value.code)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("seed (-1) must be positive."), "seed (-1) must be positive."),
        (OSError(errno.ENOSPC, "No space left", "a.tar"), "the disk is full ([Errno 28] No space"),
        (
            OSError(errno.EMFILE, "Too many", "a.tar"),
            "may not open more files ([Errno 24] Too many",
        ),
        (OSError(errno.EROFS, "Read-only", "a.tar"), "a.tar is on a read-only disk (Read-only)."),
        (PermissionError(errno.EACCES, "Denied", "a.tar"), "access to a.tar is denied (Denied)."),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "a.tar"),
            "a.tar cannot be read or written (No such file). Check the path",
        ),
    ],
)
def test_bad_input_and_failed_writes_are_one_sentence_and_exit_code_1(capsys, error, sentence):
    assert exit_code_of(error) == 1
    message = capsys.readouterr().err
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
    assert sentence in message


@pytest.mark.parametrize(
    ("error", "name"),
    [(OSError(errno.EINVAL, "Invalid argument"), "x.zip"), (OSError(5, "no", "own"), "own")],
)
def test_a_failed_read_without_a_file_gets_its_name(capsys, error, name):
    with pytest.raises(SystemExit), exit_with_sentence(), name_in_errors(Path("x.zip")):
        raise error
    assert capsys.readouterr().err.startswith(f"Error: {name} cannot be read or written (")


def test_ctrl_c_is_exit_code_130_and_says_what_is_left(capsys):
    assert exit_code_of(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "Stopped. Half is there.\n"


def test_a_programming_error_keeps_its_traceback():
    with pytest.raises(KeyError), exit_with_sentence():
        {}["missing"]
