import subprocess
import sys

import pytest
import typer

from w2v2_mt.app.commands import app, main
from w2v2_mt.settings.environment import PROJECT_FOLDER

SCRIPTS = {
    "predict.py": "predict",
    "export_huggingface.py": "export huggingface",
    "export_onnx.py": "export onnx",
    "compare_runs.py": "compare",
    "report_run.py": "report run",
    "report_sweep.py": "report sweep",
    "voxceleb2_convert_to_wav.py": "prepare convert-voxceleb2",
    "data/inspect_shards.py": "prepare inspect",
}


def paths_of_commands() -> list[str]:
    """Return every command and group as it is typed, without `w2v2-mt`."""

    def walk(command, path):
        yield " ".join(path)
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*path, name])

    return list(walk(typer.main.get_command(app), []))


def test_there_is_a_command_for_every_script():
    assert set(SCRIPTS.values()) <= set(paths_of_commands())


@pytest.mark.parametrize("command", paths_of_commands())
def test_every_command_has_a_help(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.lower().startswith("usage: ")


@pytest.mark.parametrize(("script", "command"), SCRIPTS.items())
def test_a_script_is_a_command_and_its_help_needs_no_torch(script, command, capsys, monkeypatch):
    path = PROJECT_FOLDER / "scripts" / script
    code = (
        f"import runpy, sys\nsys.argv = [{path.name!r}, '--help']\n"
        f"try:\n    runpy.run_path({str(path)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'matplotlib', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr("sys.argv", [path.name])
    assert main([*command.split(), "--help"]) == 0
    assert done.stdout == capsys.readouterr().out


def test_an_unknown_command_or_option_is_exit_code_2(capsys):
    assert main(["predcit"]) == 2
    assert "No such command 'predcit'" in capsys.readouterr().err
    assert main(["compare", "a", "b", "--ouput", "c"]) == 2
    assert "--output" in capsys.readouterr().err


def test_bad_input_is_one_sentence_and_exit_code_1(tmp_path, capsys):
    assert main(["report", "run", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"Error: {tmp_path} ")
    assert message.count("\n") == 1


def test_a_command_of_another_module_gets_its_arguments_and_returns_its_exit_code(tmp_path, capsys):
    assert main(["prepare", "inspect", str(tmp_path), "--num_utterances", "-1"]) == 1
    assert "--num_utterances" in capsys.readouterr().err
