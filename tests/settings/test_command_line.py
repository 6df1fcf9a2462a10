import os
import re
import shlex

import pytest

from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.settings.command_line import CommandLine, check_command
from w2v2_mt.settings.overrides import parse_overrides, repeated_keys, unquoted


def check(config_name, *overrides, flags=("-m",)):
    check_command(config_name, CommandLine.parse([*flags, *overrides]))


@pytest.mark.parametrize(
    ("arguments", "overrides", "is_sweep", "is_question"),
    [
        (["a=1", "+b=2"], ["a=1", "+b=2"], False, False),
        (["-m", "a=1,2", "~b"], ["a=1,2", "~b"], True, False),
        (["a=1", "--multirun"], ["a=1"], True, False),
        (["hydra.mode=MULTIRUN"], ["hydra.mode=MULTIRUN"], True, False),
        (
            ["--config-dir", "/mine", "a=1"],
            ["hydra.searchpath=[file:///mine]", "a=1"],
            False,
            False,
        ),
        (["--cfg", "job"], [], False, True),
        (["-c", "job", "a=1"], ["a=1"], False, True),
        (["--help"], [], False, True),
        (["--hydra-help"], [], False, True),
    ],
)
def test_arguments_are_parsed_as_hydra_parses_them(arguments, overrides, is_sweep, is_question):
    command = CommandLine.parse(arguments)
    assert command.overrides == overrides
    assert (command.is_sweep, command.asks_for_information) == (is_sweep, is_question)


def test_what_hydra_refuses_is_one_sentence_too():
    with pytest.raises(ConfigError, match="An item is already at 'seed'") as error:
        check("train_speech", "+seed=1")
    assert len(str(error.value).splitlines()) == 1
    assert "--help" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["+experiment=baseline_speach"],
            "experiment has no option 'baseline_speach'. Did you mean 'baseline_speech'?",
        ),
        (
            ["+experimen=baseline_speech"],
            "experimen is not a setting of a run. Did you mean '+experiment'?",
        ),
        (
            ["optim/algo=lion"],
            "optim/algo has no option 'lion'. Choose one of adam, sgd.",
        ),
        (
            ["optim/algo=adam,sgdd"],
            "optim/algo has no option 'sgdd'. Did you mean 'sgd'?",
        ),
        (
            ["optim/algoo=adam"],
            "optim/algoo is not a group of settings. Did you mean 'optim/algo'?",
        ),
        (
            ["experiment=baseline_speech"],
            "experiment must be added, as this command has no such group yet. Write "
            "+experiment=baseline_speech.",
        ),
        (
            ["~callbacks", "trainer.max_step=3"],
            "trainer.max_step is not a setting of trainer. Did you mean 'max_steps'?",
        ),
        (
            ["optim.algo.learning_rate=1"],
            "optim.algo.learning_rate is not a setting of optim.algo. Choose one of lr, betas, "
            "eps, weight_decay.",
        ),
        (
            ["optim/schedule=exp_decay", "optim.schedule.initial_lr=1"],
            "optim.schedule.initial_lr is not a setting of optim.schedule. Did you mean "
            "'final_lr'?",
        ),
        (
            ["optim/schedule=constant", "~optim.schedule.num_cycles"],
            "optim.schedule.num_cycles is not a setting of optim.schedule. Remove it.",
        ),
        (
            ["hydra/launcher=slrm"],
            "hydra/launcher has no option 'slrm'. Did you mean 'slurm'?",
        ),
        (["max_steps=3"], "max_steps is not a setting of a run. Did you mean trainer.max_steps?"),
        (["callback=none"], "callback is not a setting of a run. Did you mean 'callbacks'?"),
    ],
)
def test_a_misspelt_override_is_answered_with_what_may_have_been_meant(overrides, sentence):
    with pytest.raises(ConfigError) as error:
        check("train_speech", *overrides)
    assert str(error.value) == sentence


def test_several_values_are_no_sweep_without_its_flag():
    sentence = r"^seed=1,2 must be one value\. Add -m to the command .* write \[..\] around them"
    with pytest.raises(ConfigError, match=sentence):
        check("train_speech", "seed=1,2", flags=())


def test_a_misspelt_option_of_a_part_is_found():
    overrides = ["optim/loss@optim.loss.speaker_loss=cross_entropi"]
    with pytest.raises(ConfigError, match="Did you mean 'cross_entropy'"):
        check("train_mt_speaker_speech", *overrides)


def test_every_job_of_a_sweep_is_checked():
    check("train_speech", "seed=1,2", "optim/schedule=glob(*)")
    check("train_speech", "hydra/launcher=basic", "hydra/sweeper=basic")
    with pytest.raises(ConfigError, match="seed .-3. must be"):
        check("train_speech", "seed=1,2,-3")


@pytest.mark.parametrize(
    ("flags", "override", "sentence"),
    [
        ([], "hydra/launcher=slurm", "hydra/launcher=slurm has no effect without -m. Add -m to"),
        ([], "hydra.launcher.mem_gb=1", "hydra.launcher.mem_gb=1 has no effect without -m."),
        ([], "hydra.sweep.dir=/x", "hydra.sweep.dir=/x has no effect without -m."),
        (["-m"], "hydra.run.dir=/x", "hydra.run.dir=/x has no effect with -m. Set hydra.sweep.dir"),
    ],
)
def test_a_setting_of_sweeps_alone_is_refused_in_a_single_run(flags, override, sentence):
    with pytest.raises(ConfigError) as error:
        check("train_speech", override, flags=flags)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["gpus=1", "trainer.gpus=0"], "gpus (1)"),
        (["network.num_frozen_steps=3"], "network.num_frozen_steps"),
        (["network.num_shared_transformers=3"], "network.num_shared_transformers"),
        (["network.ctc_pool_on_blank_embeddings=true"], "network.ctc_pool_on_blank_embeddings"),
        (["lr_range_iterations=5"], "lr_range_iterations"),
        (["evaluation.beam_search.width=5"], "evaluation.beam_search.width"),
        (["evaluation.cohort_size=5"], "evaluation.cohort_size"),
        (["evaluation.decoder=beam", "eval_model=false"], "evaluation.decoder"),
        (["optim.loss.weight_lr=1", "optim.loss.scale_method=dwa"], "optim.loss.weight_lr"),
        (["trainer.max_steps=5000", "fit_model=false"], "trainer.max_steps"),
        (["optim/schedule=constant", "fit_model=false"], "optim/schedule"),
        (["callbacks=mt_early_stopping", "fit_model=false"], "callbacks"),
        (["optim.algo.lr=1", "fit_model=false"], "optim.algo.lr"),
        (
            ["network.speech_head_huggingface_id=x", "load_network_from_checkpoint=x"],
            "network.speech_head_huggingface_id",
        ),
        (["speaker.dataloader.train_batch_size=8", "fit_model=false"], "speaker.dataloader.train_"),
        (["trainer.precision=16-mixed", "fit_model=false"], "trainer.precision"),
        (["data.speech.val_sets.clean=b", "fit_model=false"], "data.speech.val_sets.clean"),
        (["data.speaker.test_trials.o=x", "eval_model=false"], "data.speaker.test_trials.o"),
        (
            ["data.speech.train_sets=[a]", "fit_model=false", "load_network_from_checkpoint=x"],
            "data.speech.train_sets",
        ),
        (["trainer.test_precision=training", "eval_model=false"], "trainer.test_precision"),
        (["data.mode=joint", "fit_model=false"], "data.mode"),
        (
            ["speaker.dataloader.train_batch_size=8", "data.mode=joint"],
            "speaker.dataloader.train_batch_size has no effect, because data.mode is joint. Set "
            "data.mode=alternate, or leave",
        ),
        (
            ["trainer.pack_tasks=true", "network.pack_frames=true", "data.mode=joint"],
            "trainer.pack_tasks has no effect, because data.mode is joint",
        ),
    ],
)
def test_a_setting_without_effect_is_reported(capsys, overrides, key):
    check("train_mt_speaker_speech", *overrides)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Note: {key}")
    assert " has no effect, because " in line


def test_the_report_of_a_setting_without_effect_names_what_would_give_it_one(capsys):
    check("train_speech", "optim.algo.lr=1", "fit_model=false")
    assert capsys.readouterr().err == (
        "Note: optim.algo.lr has no effect, because fit_model is false and run_lr_range_test is "
        "false. Set fit_model=true or run_lr_range_test=true, or leave optim.algo.lr out.\n"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["gpus=1"],
        ["network.num_frozen_steps=3", "network.wav2vec_initially_frozen=true,false"],
        ["sharing=plain,branched", "network.num_shared_transformers=3"],
        ["evaluation.beam_search.width=5", "evaluation.decoder=beam"],
        ["evaluation.cohort_utterances_per_speaker=5", "evaluation.score_normalisation=s_norm"],
        ["optim.loss.static_speech_weight=0.3", "optim.loss.scale_method=static"],
        ["optim.algo.lr=1", "fit_model=false", "eval_model=false", "run_lr_range_test=true"],
        ["trainer.precision=16-mixed", "trainer.test_precision=training", "fit_model=false"],
        ["data.speech.train_sets=[a]", "fit_model=false"],
        ["speech.dataloader.val_batch_size=8", "evaluation.decoder=beam", "fit_model=false"],
    ],
)
def test_a_setting_with_an_effect_in_any_job_is_not_reported(capsys, overrides):
    check("train_mt_speaker_speech", *overrides)
    assert capsys.readouterr().err == ""


def test_a_setting_of_a_callback_that_is_switched_off_is_refused():
    key = "callbacks.last_checkpoint.save_every_minutes"
    with pytest.raises(ConfigError, match=f"^{key} has no effect, because callbacks.last_.* null"):
        check("train_speech", f"{key}=1", "+debug=smoke")


@pytest.mark.parametrize(
    "value",
    ["/a=b", "/a b/~c", "/a (b)", "/it's", '/a"b', "/a{b}", "/a#=b", "/a=b\\", '/a\\"=b', "/é=ü"],
)
def test_a_value_that_must_be_quoted_is_answered_with_what_to_type(value):
    with pytest.raises(ConfigError) as error:
        check("train_speech", f"log_folder={value}")
    sentence = str(error.value)
    assert sentence.startswith(f"log_folder={value} has characters that must be quoted. Type ")
    typed = sentence.removesuffix(".").split("Type ", 1)[1]
    (argument,) = shlex.split(typed)
    check("train_speech", argument)
    assert parse_overrides([argument])[0].value() == value


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("tag=[a", r"tag=\[a must close its brackets, .* Type 'tag=\"\[a\"' if it is a text\."),
        ("data.test_sets={a: b", r"must close its brackets"),
        ("b(c)", r"b\(c\) must be NAME=VALUE, such as seed=1\. Put quotes around"),
        ("seed=", None),
    ],
)
def test_an_argument_that_cannot_be_read_is_named(override, sentence):
    if sentence is not None:
        with pytest.raises(ConfigError, match=sentence):
            check("train_speech", override)
    found = list(unquoted([override, "seed=1", "~use_wandb"]))
    assert len(found) == (sentence is not None)
    assert sentence is None or re.search(sentence, found[0])


def test_a_comma_and_a_home_folder_are_answered_with_what_to_type(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises(ConfigError, match=r"Type 'log_folder=\"/home/me/logs\"'\.$"):
        check("train_speech", "log_folder=~/logs")
    with pytest.raises(ConfigError, match=r"or type 'log_folder=\"/a,b\"' for a value"):
        check("train_speech", "log_folder=/a,b", flags=[])
    with pytest.raises(ConfigError, match=r"^log_folder \(~/logs\) must not begin with ~\."):
        check("train_speech", 'log_folder="~/logs"')


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["seed=1", "seed=2"], "seed"),
        (["seed=1", "++seed=2"], "seed"),
        (["seed=1", "seed=2,3"], "seed"),
        (["trainer.max_steps=2", "trainer={max_steps: 4}"], "trainer.max_steps"),
        (["hydra.sweep.dir=/a", "hydra.sweep.dir=/b"], "hydra.sweep.dir"),
    ],
)
def test_a_setting_given_twice_is_reported_since_only_the_last_value_counts(overrides, key, capsys):
    check("train_speech", *overrides)
    note = f"Note: {key} is given more than once, and only its last value counts.\n"
    assert note in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "group"),
    [
        (["optim/algo=adam", "optim/algo=sgd"], "optim/algo"),
        (["+experiment=baseline_speech", "+experiment=baseline_speech"], "experiment"),
    ],
)
def test_two_options_of_a_group_are_refused(overrides, group):
    with pytest.raises(ConfigError) as error:
        check("train_speech", *overrides)
    assert str(error.value) == (
        f"{group} must be given once in a command. Remove all but one of them."
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["+experiment=baseline_speech", "optim/algo=sgd", "optim.algo.lr=1"],
        ["~seed", "+seed=1"],
        ["~data.test_sets.clean", "+data.test_sets.clean=dev_clean"],
        ["trainer={max_steps: 4}", "trainer.val_check_interval=4"],
        ["+debug=smoke", "trainer.max_steps=4"],
    ],
)
def test_a_setting_that_adds_to_another_is_not_given_twice(overrides, capsys):
    check("train_speech", *overrides)
    assert "given more than once" not in capsys.readouterr().err


def test_a_folder_of_ones_own_yaml_may_be_given_in_both_ways(tmp_path):
    check("train_speech", f"hydra.searchpath=[{tmp_path}]", flags=["--config-dir", str(tmp_path)])


def test_a_pair_of_losses_may_be_chosen_for_two_parts():
    overrides = ["optim/loss@optim.loss.ctc_loss=ctc", "optim/loss@optim.loss.speaker_loss=ctc"]
    assert list(repeated_keys(parse_overrides(overrides))) == []


def test_variables_that_hydra_sets_for_a_job_count_in_its_check(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="must have an account"):
        check("train_speech", "use_wandb=true")
    check("train_speech", "use_wandb=true", "+hydra.job.env_set.WANDB_MODE=offline")
    assert "WANDB_MODE" not in os.environ


@pytest.mark.parametrize(
    ("content", "key", "remedy"),
    [
        ("defaults: [override /hydra/launcher: slurm]", "hydra.launcher", "hydra/launcher=..."),
        ("hydra: {sweep: {dir: /x}}", "hydra.sweep.dir", "hydra.sweep.dir=..."),
    ],
)
def test_a_launcher_in_swept_experiments_is_reported(capsys, tmp_path, content, key, remedy):
    (tmp_path / "experiment").mkdir()
    for name, text in (("mine", content), ("other", "seed: 3")):
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    flags = ["-m", "--config-dir", str(tmp_path)]
    for overrides in (
        ["+experiment=mine", "seed=1,2"],
        ["+experiment=other,other"],
        ["+experiment=mine,other", "hydra/launcher=basic", "hydra.sweep.dir=/y"],
    ):
        check("train_speech", *overrides, flags=flags)
        assert capsys.readouterr().err == ""
    check("train_speech", "+experiment=mine,other", flags=flags)
    assert capsys.readouterr().err == (
        f"Note: {key} in an option of experiment has no effect, because a sweep is launched before "
        f"its jobs choose their options. Add {remedy} to the command, for all jobs.\n"
    )


def test_a_file_may_ask_for_a_sweep(tmp_path):
    (tmp_path / "experiment").mkdir()
    for name, text in (("mine", "hydra: {mode: MULTIRUN}"), ("other", "seed: 3")):
        path = tmp_path / "experiment" / f"{name}.yaml"
        path.write_text(f"# @package _global_\n{text}\n")
    flags = ["--config-dir", str(tmp_path)]
    check("train_speech", "+experiment=mine", "seed=1,2", "hydra/launcher=basic", flags=flags)
    with pytest.raises(ConfigError, match=r"hydra.run.dir=/x has no effect with -m"):
        check("train_speech", "+experiment=mine", "seed=1,2", "hydra.run.dir=/x", flags=flags)
    with pytest.raises(ConfigError, match=r"seed=1,2 must be one value"):
        check("train_speech", "+experiment=other", "seed=1,2", flags=flags)


def test_a_folder_of_settings_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError) as error:
        check("train_speech", flags=["--config-dir", str(tmp_path / "gone")])
    assert str(error.value) == f"--config-dir ({tmp_path}/gone) must be a folder. Correct the path."


def test_data_of_ones_own_need_their_folder(tmp_path):
    advice = "Those of your own need --config-dir <data_folder>/<name>_shards/config."
    for flags, is_advised in (([], True), (["--config-dir", str(tmp_path)], False)):
        with pytest.raises(ConfigError, match="data has no option 'mine_speech'") as error:
            check("train_speech", "data=mine_speech", flags=flags)
        assert str(error.value).endswith(advice) == is_advised


@pytest.mark.parametrize(
    ("config_name", "option", "sentence"),
    [
        (
            "train_speech",
            "librispeech_mini_joint",
            "data=librispeech_mini_joint must be used with run_mt_speech_speaker.py, not with "
            "run_speech.py. Give data=librispeech_mini_speech, or start run_mt_speech_speaker.py.",
        ),
        (
            "train_speaker",
            "speech_commands_speech",
            "data=speech_commands_speech must be used with run_speech.py, not with run_speaker.py. "
            "Give data=speech_commands_speaker, or start run_speech.py.",
        ),
        (
            "train_mt_speaker_speech",
            "voxceleb1",
            "data=voxceleb1 must be used with run_speaker.py, not with run_mt_speech_speaker.py. "
            "Choose another data config, or start run_speaker.py.",
        ),
    ],
)
def test_data_of_another_kind_of_run_are_answered_with_the_fitting_one(
    config_name, option, sentence
):
    with pytest.raises(ConfigError) as error:
        check(config_name, f"data={option}", flags=())
    assert str(error.value) == sentence
