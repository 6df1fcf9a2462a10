"""`scripts/check_words.py` reports fragments and avoided words, and nothing else."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_words.py"


@pytest.fixture(scope="module")
def check_words():
    spec = importlib.util.spec_from_file_location("check_words", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def problems(check_words, tmp_path, monkeypatch):
    def check(text: str, name: str = "module.py") -> list[str]:
        monkeypatch.setattr(check_words, "PROJECT_FOLDER", tmp_path)
        path = tmp_path / name
        path.write_text(text)
        return [line.partition(": ")[2] for line in check_words.check(path)]

    return check


def test_a_docstring_must_not_open_with_a_fragment(problems):
    code = 'def f():\n    """{} a batch."""\n'
    assert problems(code.format("Whether")) == ["a docstring must not open with 'Whether'"]
    assert problems(code.format("Return")) == []
    assert problems('text = "What a batch."\n') == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# After so many steps.", "'so many'"),
        ('message = "the run goes on"', "'goes on'"),
        ('message = f"{x} is no folder of {y}"', "'is no folder'"),
        ("# A damaged file.", "'damaged'"),
    ],
)
def test_an_avoided_word_in_a_comment_or_message_is_reported(problems, text, found):
    (problem,) = problems(f"{text}\n")
    assert problem.startswith(f"{found}: use ")


@pytest.mark.parametrize(
    "text",
    ["# There is no folder.", "# It is no longer frozen.", "facts = 1", "# Tell them apart."],
)
def test_plain_english_is_not_reported(problems, text):
    assert problems(f"{text}\n") == []


def test_comments_of_yaml_are_checked(problems):
    assert problems("so many: 1 # letter head\n", "a.yaml") == [
        "'letter head': use CTC head, CTC-guided"
    ]


def test_lines_of_shell_scripts_are_checked(problems):
    assert problems("#!/usr/bin/env bash\necho 'Error: a damaged file.' >&2\n", "a.sh") == [
        "'damaged': use corrupt"
    ]


def test_the_whole_check_reads_every_kind_of_file(check_words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_words, "PROJECT_FOLDER", tmp_path)
    monkeypatch.setattr(check_words, "FILES", ())
    monkeypatch.setattr("sys.argv", ["check_words.py"])
    (tmp_path / "scripts").mkdir()
    names = ["a.j2", "a.md", "a.py", "a.sh", "a.yaml"]
    for name in names:
        (tmp_path / "scripts" / name).write_text("# After so many steps.\n")
    assert check_words.main() == 1
    reported = capsys.readouterr().out.splitlines()
    assert reported == [
        f"scripts/{name}:1: 'so many': use at most N, or the name of the number" for name in names
    ]
