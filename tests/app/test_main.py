import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from w2v2_mt.app.main import launch
from w2v2_mt.settings.environment import PROJECT_FOLDER

SCRIPTS = {
    "run_speech.py": "train_speech",
    "run_speaker.py": "train_speaker",
    "run_mt_speech_speaker.py": "train_mt_speaker_speech",
}


@pytest.fixture
def run_script(tmp_path):
    """Runs a script of the project as a user does."""

    def run(script: str, *arguments: str) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "DATA_FOLDER": str(tmp_path / "data"),
            "LOG_FOLDER": str(tmp_path / "logs"),
            "NUM_GPUS": "0",
        }
        command = [sys.executable, str(PROJECT_FOLDER / script), *arguments]
        # From another folder: nothing may depend on where a command is started.
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    return run


@pytest.fixture
def launch_here(small_overrides, monkeypatch):
    """Does in this process what a script does with a command line of a small run."""

    def launch_job(config_name: str, *overrides: str, flags: Sequence[str] = ()) -> None:
        overrides = small_overrides(config_name, *overrides)
        monkeypatch.setattr(sys, "argv", ["run.py", *flags, *overrides])
        launch(config_name)

    yield launch_job
    GlobalHydra.instance().clear()


def test_missing_shards_end_a_command_with_one_sentence(run_script, tmp_path):
    finished = run_script("run_speech.py", "+experiment=baseline_speech", "+debug=smoke")
    assert finished.returncode == 1
    assert finished.stderr == (
        f"ValueError: {tmp_path}/data/librispeech_shards/test_clean must hold shards (*.tar). Run "
        "scripts/data/librispeech/produce_librispeech_shards.sh or set DATA_FOLDER.\n"
    )
    # What led to it is kept on the side.
    (trace,) = (tmp_path / "logs").rglob("error.txt")
    assert "Traceback" in trace.read_text()


def test_an_error_of_a_reading_process_is_one_sentence_too(
    launch_here, data_folder, tmp_path, capsys
):
    shutil.copytree(data_folder, tmp_path / "data")
    for shard in (tmp_path / "data" / "librispeech_shards").glob("train_*/*.tar"):
        shard.write_bytes(shard.read_bytes()[:-1024])
    with pytest.raises(SystemExit) as error:
        launch_here("train_speech", f"data_folder={tmp_path / 'data'}", "num_workers=1")
    assert error.value.code == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"ValueError: Shard .*\.tar is truncated or corrupt \(.*\)\. Write it again\.", sentence
    )
    (trace,) = tmp_path.rglob("error.txt")
    assert "Original Traceback" in trace.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["optim.algo.lr=abc"],
            "ConfigError: optim.algo.lr (abc) must be a number.",
        ),
        (
            ["-m", "optim.algo.lr=1e-4,0"],
            "ConfigError: optim.algo.lr (0) must be greater than 0.",
        ),
        (
            ["+optiom.algo.lr=1"],
            "ConfigError: optiom is not a setting of a run. Did you mean 'optim'?",
        ),
    ],
)
def test_a_wrong_setting_ends_a_command_before_anything_is_made(
    run_script, tmp_path, arguments, sentence
):
    finished = run_script("run_speech.py", *arguments)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == sentence + "\n"
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_help_names_groups_and_examples(run_script, script):
    finished = run_script(script, "--help")
    assert finished.returncode == 0
    assert "optim/schedule: constant, cyclic, exp_decay" in finished.stdout
    assert "+debug=smoke" in finished.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--cfg", "job"],
        ["optim.algo.learning_rate=1"],
        ["optim/algo=lion"],
        ["+optiom.algo.lr=1"],
    ],
)
def test_an_answer_about_settings_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from w2v2_mt.app.main import launch\n"
        f"sys.argv = ['run_speech.py', *{arguments!r}]\n"
        "try:\n"
        "    launch('train_speech')\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'matplotlib', 'numpy'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.stdout.splitlines()[-1] == "imported: []"


def test_a_run_resumes_in_the_folder_that_it_is_given(launch_here, tmp_path, capsys):
    folder = tmp_path / "my_run"
    more = (f"hydra.run.dir={folder}", "trainer.val_check_interval=1")
    launch_here("train_speech", "trainer.max_steps=3", "trainer.step_limit=1", *more)
    assert json.loads((folder / "metrics.json").read_text())["tested_step"] == 1
    capsys.readouterr()
    with pytest.raises(SystemExit):
        launch_here("train_speech", "trainer.max_steps=3", "seed=1", *more)
    assert "was started with seed=42133724 (now 1)" in capsys.readouterr().err
    # Only the command was refused: the run did not fail.
    assert not (folder / "error.txt").exists()
    (folder / "error.txt").write_text("of an earlier part")
    with pytest.raises(SystemExit):
        launch_here("train_speech", "fit_model=false", *more)
    assert "fit_model=false would replace its result" in capsys.readouterr().err
    assert (folder / "error.txt").read_text() == "of an earlier part"
    launch_here("train_speech", "trainer.max_steps=3", *more)
    assert not (folder / "error.txt").exists()
    lines = capsys.readouterr().out.splitlines()
    assert f"resuming from step 1 ({folder / 'checkpoints' / 'last.ckpt'})" in lines
    steps = [line.split(":")[0] for line in lines if line.startswith("step ")]
    assert steps == ["step 2", "step 3"]
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["trainer"]["step_limit"] is None


def test_each_job_of_a_sweep_has_a_folder_and_a_name_of_its_own(launch_here, tmp_path):
    launch_here("train_speaker", "seed=1,2", flags=["-m"])
    folders = sorted(tmp_path.glob("w2v2-mt/sweep/*/*/"))
    folders = [folder for folder in folders if folder.is_dir() and folder.name != "report"]
    assert [folder.name for folder in folders] == ["0", "1"]
    settings = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in folders]
    assert [setting["seed"] for setting in settings] == [1, 2]
    names = [setting["experiment_name"] for setting in settings]
    assert names[0].endswith("-00")
    assert names[1] == names[0].removesuffix("00") + "01"


def test_a_sweep_of_tests_is_done_once(launch_here, tmp_path, capsys):
    launch_here("train_speaker", f"hydra.run.dir={tmp_path / 'trained'}", "eval_model=false")
    tests = (
        "fit_model=false",
        f"load_network_from_checkpoint={tmp_path / 'trained' / 'checkpoints' / 'best.ckpt'}",
        "evaluation.durations_sec=[],[1]",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    launch_here("train_speaker", *tests, flags=["-m"])
    assert "finished before" not in capsys.readouterr().out
    launch_here("train_speaker", *tests, flags=["-m"])
    assert capsys.readouterr().out.count("finished before: ") == 2


def test_a_job_that_fails_in_a_sweep_fails_the_command(launch_here, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as error:
        launch_here("train_speaker", f"data_folder={tmp_path / 'empty'}", flags=["-m"])
    assert error.value.code == 1
    printed = capsys.readouterr()
    assert f"ValueError: The trial list {tmp_path / 'empty'}/vox2_shards" in printed.err
    (page,) = tmp_path.glob("w2v2-mt/sweep/*/report/index.html")
    assert f"Report: {page}" in printed.out
    assert "1 job: 1 failed" in page.read_text()
