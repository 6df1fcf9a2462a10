"""The steps of the demo, with stubs for the programs that it starts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs("bash", "dirname", "tr", "sed", "mkdir", "mv", "rm")

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = """#!/usr/bin/env bash
echo "python $*" >>calls
case "$*" in
    "-m w2v2_mt synthesise"*) mkdir -p "$4" ;;
    run_mt_speech_speaker.py*)
        folder="$(sed "s/.*hydra.run.dir='\\([^']*\\)'.*/\\1/" <<<"$*")"
        mkdir -p "$folder"
        touch "$folder/metrics.json"
        ;;
esac
"""
STUB = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>calls
"""
DOWNLOAD = STUB + 'mkdir -p "$DATA_FOLDER/speech_commands"\n'
DOWNLOAD += 'touch "$DATA_FOLDER/speech_commands/mini_speech_commands.zip"\n'
PRODUCE = STUB + 'mkdir -p "$DATA_FOLDER/speech_commands_shards"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    programs = {
        ".venv/bin/python": PYTHON,
        "scripts/setup_dependencies.sh": STUB,
        "scripts/download/download_speech_commands.sh": DOWNLOAD,
        "scripts/data/speech_commands/produce_shards.sh": PRODUCE,
        "scripts/data/librispeech/produce_librispeech_shards.sh": STUB,
        "scripts/data/voxceleb/produce_vox1_train_val_test.sh": STUB,
    }
    for name, content in programs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    shutil.copy(PROJECT / "scripts" / "demo.sh", folder / "scripts")
    return folder


def run(project: Path, *arguments: str, cwd: Path | None = None) -> tuple[int, str, list[str]]:
    """The exit status, what is on stderr, and the programs that were started."""
    calls = project / "calls"
    calls.unlink(missing_ok=True)
    finished = subprocess.run(
        [project / "scripts" / "demo.sh", *arguments],
        cwd=cwd or project,
        env={**os.environ},
        capture_output=True,
        text=True,
    )
    lines = calls.read_text().splitlines() if calls.exists() else []
    return finished.returncode, finished.stderr, lines


def test_without_an_argument_the_synthetic_corpus_is_used(project: Path) -> None:
    code, error, calls = run(project)
    assert (code, error) == (0, "")
    assert calls == [
        "setup_dependencies.sh ",
        f"python -m w2v2_mt synthesise {project}/demo/data.unfinished",
        "produce_librispeech_shards.sh ",
        "produce_vox1_train_val_test.sh --val_fraction 0.1 --num_val_trials 1000",
        "python run_mt_speech_speaker.py +experiment=demo data=mt_vox1_libri "
        "hydra.run.dir='demo/run'",
        "python scripts/demo_table.py demo/run",
    ]
    assert run(project, "seed=3", "+a.b=1")[2] == [
        "setup_dependencies.sh ",
        "python run_mt_speech_speaker.py +experiment=demo data=mt_vox1_libri "
        "hydra.run.dir='demo/run_seed=3_a.b=1' seed=3 +a.b=1",
        "python scripts/demo_table.py demo/run_seed=3_a.b=1",
    ]
    # A run that is complete is only shown.
    assert run(project)[2] == ["setup_dependencies.sh ", "python scripts/demo_table.py demo/run"]


def test_the_demo_with_real_speech_downloads_the_small_archive_once(project: Path) -> None:
    training = (
        "python run_mt_speech_speaker.py +experiment=demo_real data=speech_commands_joint "
        "hydra.run.dir='demo/real_run"
    )
    archive = project / "demo" / "real_data" / "speech_commands" / "mini_speech_commands.zip"
    code, error, calls = run(project, "--real")
    assert (code, error) == (0, "")
    assert calls == [
        "setup_dependencies.sh ",
        "download_speech_commands.sh --mini",
        f"produce_shards.sh --archive {archive}",
        f"{training}'",
        "python scripts/demo_table.py demo/real_run",
    ]
    archive.unlink()
    assert run(project, "--real", "seed=1")[2] == [
        "setup_dependencies.sh ",
        f"{training}_seed=1' seed=1",
        "python scripts/demo_table.py demo/real_run_seed=1",
    ]


@pytest.mark.parametrize("name", ["sc.tar.gz", "sc.zip"])
def test_a_given_archive_is_used_wherever_the_command_is_started(
    project: Path, tmp_path: Path, name: str
) -> None:
    archive = tmp_path / "a folder" / name
    archive.parent.mkdir()
    archive.touch()
    for given, cwd in ((str(archive), project), (name, archive.parent)):
        code, error, calls = run(project, "--real", given, "seed=2", cwd=cwd)
        assert (code, error) == (0, "")
        assert calls[1] == f"produce_shards.sh --archive {archive}"
        assert calls[-1] == "python scripts/demo_table.py demo/real_run_seed=2"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--fake"], "Error: '--fake' is not a setting."),
        (["sc.zip"], "Error: 'sc.zip' is not a setting."),
        (["seed=1", "--real"], "Error: '--real' is not a setting."),
        (["--real", "seed=1", "sc.zip"], "Error: 'sc.zip' is not a setting."),
        (["--real", "none.zip"], "Error: the archive /"),
    ],
)
def test_other_arguments_are_one_sentence(project: Path, arguments: list[str], error: str) -> None:
    code, found, calls = run(project, *arguments)
    assert (code, calls) == (1, [])
    assert found.startswith(error)
    assert len(found.splitlines()) == 1
