"""The environment is made with a Python that works, and only when something has changed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs("bash", "dirname", "mktemp")

PROJECT = Path(__file__).resolve().parents[2]
INTERPRETER = """#!/usr/bin/env bash
echo "{name} $*" >>"$CALLS"
case "$*" in
    *version_info*) echo {version} ;;
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""
BROKEN = "#!/usr/bin/env bash\nexit 127\n"


class Machine:
    """A copy of the project's frame and interpreters that only write down how they are called."""

    def __init__(self, folder: Path):
        self.project, self.commands, self._calls = (folder / name for name in ("p", "c", "calls"))
        (self.project / "scripts").mkdir(parents=True)
        shutil.copy(PROJECT / "scripts" / "setup_dependencies.sh", self.project / "scripts")
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copy(PROJECT / name, self.project)
        self.commands.mkdir()
        for name in ("3.13", "3.12", "3.11", "3.10", "3", ""):
            self.add(f"python{name}", BROKEN)

    def add(self, name: str, script: str) -> Path:
        command = self.commands / name
        command.write_text(script)
        command.chmod(0o755)
        return command

    def add_python(self, name: str, version: str) -> Path:
        return self.add(name, INTERPRETER.format(name=name, version=version))

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        self._calls.write_text("")
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        path = f"{self.commands}:{inherited['PATH']}"
        return subprocess.run(
            [self.project / "scripts" / "setup_dependencies.sh"],
            env={**inherited, "PATH": path, "CALLS": str(self._calls), **environment},
            capture_output=True,
            text=True,
        )

    def calls(self, part: str = "") -> list[str]:
        return [line for line in self._calls.read_text().splitlines() if part in line]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_newest_python_that_starts_makes_the_environment(machine):
    machine.add_python("python3.12", "3.12")
    machine.add_python("python3.10", "3.10")
    result = machine.run()
    assert result.returncode == 0, result.stderr
    assert machine.calls("-m venv") == ["python3.12 -m venv --clear .venv"]
    first, second = machine.calls("install")
    assert first.endswith("--quiet -r requirements.txt")
    assert second.endswith("--quiet --no-deps -e .")


def test_nothing_is_started_when_nothing_has_changed(machine):
    machine.add_python("python3", "3.11")
    machine.run()
    result = machine.run()
    assert (result.returncode, result.stdout, machine.calls()) == (0, "", [])


@pytest.mark.parametrize("changed", ["requirements.txt", "pyproject.toml"])
def test_a_change_installs_again_into_the_same_environment(machine, changed):
    machine.add_python("python3", "3.11")
    machine.run()
    with (machine.project / changed).open("a") as file:
        file.write("# changed\n")
    assert machine.run().returncode == 0
    assert len(machine.calls("install")) == 2
    assert machine.calls("-m venv") == []


def test_an_installation_that_failed_is_taken_up_again(machine):
    failing = machine.add_python("python3", "3.11")
    failing.write_text(failing.read_text() + 'case "$*" in *" -e .") exit 1 ;; esac\n')
    assert machine.run().returncode == 1
    assert machine.run().returncode == 1
    assert len(machine.calls("install")) == 2


def test_the_variable_python_comes_first_and_replaces_another_version(machine):
    machine.add_python("python3.13", "3.13")
    older = machine.add_python("my_python", "3.10")
    machine.run()
    assert machine.run(PYTHON=str(older)).returncode == 0
    assert machine.calls("-m venv") == ["my_python -m venv --clear .venv"]


def test_an_unsuitable_variable_python_is_one_sentence(machine):
    old = machine.add_python("old_python", "3.9")
    machine.add_python("python3", "3.11")
    result = machine.run(PYTHON=str(old))
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: PYTHON={old} is not a Python 3.10 to 3.13. Name one that is, or unset PYTHON.\n"
    )


@pytest.mark.parametrize("version", ["3.9", "3.14", "2.7"])
def test_a_machine_without_a_suitable_python_gets_one_sentence(machine, version):
    machine.add_python("python3", version)
    result = machine.run()
    assert result.returncode == 1
    assert result.stderr == (
        "Error: PATH has no Python 3.10 to 3.13 with venv. Install one, or set PYTHON to it.\n"
    )
