import os

import pytest

from w2v2_mt.app.schema import ConfigError


@pytest.fixture
def without_wandb_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["trainer.max_steps=7", "trainer.val_check_interval=3"],
            "trainer.max_steps=7 is no multiple of trainer.val_check_interval=3, so the last 1 "
            "steps would be neither validated nor saved; change one of the two.",
        ),
        (
            ["optim.schedule.warmup_fraction=0.7"],
            "optim.schedule has warmup_fraction=0.7 and constant_fraction=0.4, but together they "
            "are at most 1; lower one of them.",
        ),
        (
            ["optim.algo.betas=[0.9]"],
            "optim.algo.betas is [0.9], but Adam takes two numbers; use [0.9, 0.999].",
        ),
    ],
)
def test_values_that_do_not_go_together_are_told_in_a_sentence(small_config, overrides, sentence):
    with pytest.raises(ConfigError) as error:
        small_config("train_speech", *overrides)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.max_steps=2", "trainer.val_check_interval=5"],
        ["trainer.max_steps=6", "trainer.val_check_interval=3"],
        ["optim.schedule.warmup_fraction=0.6"],
        ["optim/algo=sgd", "optim/schedule=constant"],
    ],
)
def test_values_that_go_together_pass(small_config, overrides):
    small_config("train_speech", *overrides)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["network.enable_ctc_pool_speaker_embedding=true", "network.stat_pooling_type=max"],
            "network.stat_pooling_type='max' cannot be guided by letters; choose one of ",
        ),
        (
            ["network.num_subcentres=3", "network.use_cosine_linear=false"],
            "network.num_subcentres=3 needs a cosine classifier; set it to 1 or set ",
        ),
        (
            ["network.ctc_bias_init=letter_prior", "network.speech_head_huggingface_id=a/b"],
            "network.ctc_bias_init='letter_prior' would replace the bias of ",
        ),
        (
            [
                "optim.loss.scale_method=pcgrad",
                "network.wav2vec_initially_frozen=true",
                "network.num_frozen_steps=null",
            ],
            "optim.loss.scale_method=pcgrad compares gradients of the trunk, which is frozen for "
            "all 2 steps; set network.num_frozen_steps to less, or choose another method.",
        ),
    ],
)
def test_parts_of_a_network_that_exclude_each_other_are_told(small_config, overrides, sentence):
    with pytest.raises(ConfigError) as error:
        small_config("train_mt_speaker_speech", *overrides)
    assert str(error.value).startswith(sentence)


def test_gradients_may_be_compared_once_the_trunk_thaws(small_config):
    small_config(
        "train_mt_speaker_speech",
        "optim.loss.scale_method=gradnorm",
        "network.wav2vec_initially_frozen=true",
        "network.num_frozen_steps=1",
    )


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN"])
def test_a_secret_is_no_setting(small_config, monkeypatch, name):
    key = "0123456789" * 4
    monkeypatch.setenv(name, key)
    small_config("train_speech")
    with pytest.raises(ConfigError, match=f"^tag holds the value of {name}; a secret is") as error:
        small_config("train_speech", f"tag=[a,x-{key}]")
    assert key not in str(error.value)


def test_wandb_without_an_account_is_refused(small_config, without_wandb_account):
    with pytest.raises(ConfigError, match="^use_wandb=true, but there is no key .* WANDB_API_KEY"):
        small_config("train_speech", "use_wandb=true")


@pytest.mark.parametrize(
    ("name", "value"),
    [("WANDB_API_KEY", "k"), ("WANDB_MODE", "offline"), ("WANDB_MODE", "disabled")],
)
def test_wandb_needs_a_key_or_no_server(
    small_config, without_wandb_account, monkeypatch, name, value
):
    monkeypatch.setenv(name, value)
    small_config("train_speech", "use_wandb=true")


@pytest.mark.parametrize("server", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_the_key_of_a_login_is_found(small_config, without_wandb_account, monkeypatch, server):
    without_wandb_account.write_text(f"machine {server} login user password k\n")
    small_config("train_speech", "use_wandb=true")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    with pytest.raises(ConfigError, match="there is no key"):
        small_config("train_speech", "use_wandb=true")


def test_as_many_processes_as_gpus(small_config):
    message = r"trainer\.devices=2, but a process has a GPU of its own and gpus=1; set trainer\.dev"
    with pytest.raises(ConfigError, match=message):
        small_config("train_speech", "gpus=1", "trainer.devices=2")
    assert small_config("train_speech", "trainer.devices=2")["trainer"]["devices"] == 2
