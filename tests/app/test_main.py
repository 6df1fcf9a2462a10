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

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.main import ConfigError, check_jobs, launch

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
        f"ValueError: no shards match '*.tar' in {tmp_path}/data/librispeech_shards/test_clean: "
        "run scripts/data/librispeech/produce_librispeech_shards.sh or set DATA_FOLDER\n"
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
        r"ValueError: shard .*\.tar is truncated or damaged \(.*\): write it again", sentence
    )
    (trace,) = tmp_path.rglob("error.txt")
    assert "Original Traceback" in trace.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["optim.algo.lr=abc"],
            "ConfigError: optim.algo.lr is 'abc'; set it to a number that is above 0.",
        ),
        (
            ["-m", "optim.algo.lr=1e-4,0"],
            "ConfigError: optim.algo.lr is 0; set it to a number that is above 0.",
        ),
        (
            ["+optiom.algo.lr=1"],
            "ConfigError: optiom is no setting of a run; did you mean 'optim'?",
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


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["tag=[a"], "no viable alternative at input '.a'"),
        (["+seed=1"], "An item is already at 'seed'"),
    ],
)
def test_what_hydra_refuses_is_one_sentence_too(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        check_jobs("train_speech", overrides, is_sweep=True)
    assert len(str(error.value).splitlines()) == 1
    assert "--help" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["+experiment=baseline_speach"],
            "experiment has no option 'baseline_speach'; did you mean 'baseline_speech'?",
        ),
        (
            ["+experimen=baseline_speech"],
            "experimen is no setting of a run; did you mean '+experiment'?",
        ),
        (
            ["optim/algo=lion"],
            "optim/algo has no option 'lion'; choose one of adam, sgd.",
        ),
        (
            ["optim/algo=adam,sgdd"],
            "optim/algo has no option 'sgdd'; did you mean 'sgd'?",
        ),
        (
            ["optim/algoo=adam"],
            "optim/algoo is no group of settings; did you mean 'optim/algo'?",
        ),
        (
            ["experiment=baseline_speech"],
            "experiment is not among the settings of this command; to add it, write "
            "+experiment=baseline_speech.",
        ),
        (
            ["~callbacks", "trainer.max_step=3"],
            "trainer.max_step is no setting of trainer; did you mean 'max_steps'?",
        ),
        (
            ["optim.algo.learning_rate=1"],
            "optim.algo.learning_rate is no setting of optim.algo; use one of lr, betas, eps, "
            "weight_decay.",
        ),
        (
            ["optim/schedule=exp_decay", "optim.schedule.initial_lr=1"],
            "optim.schedule.initial_lr is no setting of optim.schedule; did you mean 'final_lr'?",
        ),
        (
            ["optim/schedule=constant", "~optim.schedule.num_cycles"],
            "optim.schedule.num_cycles is no setting of optim.schedule; remove it.",
        ),
        (
            ["hydra/launcher=slrm"],
            "hydra/launcher has no option 'slrm'; did you mean 'slurm'?",
        ),
        (["max_steps=3"], "max_steps is no setting of a run; did you mean trainer.max_steps?"),
        (["callback=none"], "callback is no setting of a run; did you mean 'callbacks'?"),
    ],
)
def test_a_misspelt_override_is_answered_with_what_may_have_been_meant(overrides, sentence):
    with pytest.raises(ConfigError) as error:
        check_jobs("train_speech", overrides, is_sweep=True)
    assert str(error.value) == sentence


def test_several_values_are_no_sweep_without_its_flag():
    sentence = r"^seed=1,2 has several values; add -m to the command .* write \[..\] around them"
    with pytest.raises(ConfigError, match=sentence):
        check_jobs("train_speech", ["seed=1,2"], is_sweep=False)


def test_a_misspelt_option_of_a_part_is_found():
    overrides = ["optim/loss@optim.loss.speaker_loss=cross_entropi"]
    with pytest.raises(ConfigError, match="did you mean 'cross_entropy'"):
        check_jobs("train_mt_speaker_speech", overrides, is_sweep=True)


def test_every_job_of_a_sweep_is_checked():
    check_jobs("train_speech", ["seed=1,2", "optim/schedule=glob(*)"], is_sweep=True)
    check_jobs("train_speech", ["hydra/launcher=basic", "hydra/sweeper=basic"], is_sweep=True)
    with pytest.raises(ConfigError, match="seed is -3"):
        check_jobs("train_speech", ["seed=1,2,-3"], is_sweep=True)


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_help_names_groups_and_examples(run_script, script):
    finished = run_script(script, "--help")
    assert finished.returncode == 0
    assert "optim/schedule: constant, cyclic, exp_decay" in finished.stdout
    assert "+debug=smoke" in finished.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--cfg", "job"], ["optim.algo.lr=abc"], ["trainer.max_steps=7777"]],
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


def test_a_run_goes_on_in_the_folder_that_it_is_given(launch_here, tmp_path, capsys):
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
    assert f"going on from step 1 ({folder / 'checkpoints' / 'last.ckpt'})" in lines
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
    assert f"ValueError: there is no {tmp_path / 'empty'}/vox2_shards" in printed.err
    (page,) = tmp_path.glob("w2v2-mt/sweep/*/report/index.html")
    assert f"Report: {page}" in printed.out
    assert "1 jobs: 1 failed" in page.read_text()
