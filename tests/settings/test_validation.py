import os

import pytest

from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.settings.renamed_targets import with_current_targets
from w2v2_mt.settings.validation import find_trusted, without_assembly

SPEECH, SPEAKER, BOTH = "train_speech", "train_speaker", "train_mt_speaker_speech"


@pytest.fixture
def problems(small_config):
    """Return what is wrong with the settings of a small run."""

    def check(config_name, *overrides):
        with pytest.raises(ConfigError) as error:
            small_config(config_name, *overrides)
        return str(error.value).splitlines()

    return check


@pytest.fixture
def without_wandb_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize("name", [SPEECH, SPEAKER, BOTH])
def test_the_defaults_of_each_entry_point_pass(small_config, name):
    settings = small_config(name)
    assert "assembly" in settings
    assert "assembly" not in without_assembly(settings)


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        (SPEECH, "seed=4294967296", "seed (4294967296) must be less than or equal to 4294967295."),
        (SPEECH, "optim.algo.betas=[0.9,1]", "optim.algo.betas[1] (1) must be less than 1."),
        (SPEECH, "~optim.algo.eps", "optim.algo.eps must be set."),
        (SPEAKER, "~data.test_sets", "data.test_sets must be set."),
        (BOTH, "~data.speech", "data.speech must be set."),
        (SPEECH, "+optiom.algo.lr=1", "optiom is not a setting of a run. Did you mean 'optim'?"),
        (SPEECH, "+speech.pipline=1", "speech.pipline is not a setting of speech. Did you mean"),
        (SPEECH, "+optim.algo.momentum=1", "optim.algo.momentum is not a setting of optim.algo."),
        (
            SPEECH,
            "evaluation.decoder=beem",
            "evaluation.decoder (beem) must be 'greedy' or",
        ),
        (
            SPEECH,
            "optim.schedule.warmup_fraction=0.7",
            "optim.schedule: warmup_fraction (0.7)",
        ),
        (SPEECH, "data=voxceleb1", "data (SpeakerCorpus) must be an instance of SpeechCorpus."),
    ],
)
def test_a_wrong_setting_is_answered_with_one_sentence(problems, name, override, sentence):
    (problem,) = problems(name, override)
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        (SPEECH, ["+data.vocabulary=gone.json"]),
        (SPEECH, ["+data.vocabulary=gone.json", "speech/tokenizer=bpe"]),
        (BOTH, ["+data.speech.vocabulary=gone.json"]),
    ],
)
def test_the_vocabulary_of_a_corpus_that_is_missing_is_prepared(problems, name, overrides):
    (problem,) = problems(name, *overrides)
    assert "/gone.json must exist. Run scripts/data/" in problem
    assert problem.endswith("_shards.sh or set DATA_FOLDER.")


def test_all_wrong_values_are_reported_at_once(problems):
    overrides = ["gpus=-1", "optim.algo.lr=x", "trainer.precision=8", "callbacks.memory=3"]
    assert [problem.split()[0] for problem in problems(SPEECH, *overrides)] == [
        "gpus",
        "optim.algo.lr",
        "trainer.precision",
        "trainer.gpus",
        "callbacks.memory",
    ]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["trainer.max_steps=7", "trainer.val_check_interval=3"],
            "trainer.max_steps (7) must be a multiple of trainer.val_check_interval (3). Change "
            "one of the two.",
        ),
        (
            ["gpus=1", "trainer.devices=2"],
            "trainer.devices (2) must be null or the number of GPUs (1). Set trainer.devices=null.",
        ),
        (
            [
                "optim.loss.scale_method=pcgrad",
                "network.wav2vec_initially_frozen=true",
                "network.num_frozen_steps=null",
            ],
            "optim.loss.scale_method (pcgrad) must have a trainable encoder, but it is frozen for "
            "all 2 steps. Lower network.num_frozen_steps or choose another method.",
        ),
    ],
)
def test_settings_in_conflict_are_answered_with_one_sentence(problems, overrides, sentence):
    assert problems(BOTH, *overrides) == [sentence]


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.max_steps=2", "trainer.val_check_interval=5"],
        ["trainer.max_steps=7", "trainer.val_check_interval=5", "trainer.step_limit=5"],
        ["trainer.devices=2"],
        [
            "optim.loss.scale_method=gradnorm",
            "network.wav2vec_initially_frozen=true",
            "network.num_frozen_steps=1",
        ],
    ],
)
def test_settings_that_fit_together_pass(small_config, overrides):
    small_config(BOTH, *overrides)


def test_a_duration_without_a_frame_is_refused_before_training(problems):
    (problem,) = problems(SPEAKER, "evaluation.durations_sec=[2,0.02]")
    assert "evaluation.durations_sec (0.02) must be at least 0.025 s, one frame" in problem


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN"])
def test_a_secret_must_not_be_a_setting(problems, monkeypatch, name):
    key = "0123456789" * 4
    monkeypatch.setenv(name, key)
    (problem,) = problems(SPEECH, f"tag=[a,x-{key}]")
    assert problem == f"tag must not hold the value of {name}. Remove it from the settings."


def test_wandb_needs_an_account(problems, without_wandb_account):
    (problem,) = problems(SPEECH, "use_wandb=true")
    assert problem.startswith("use_wandb (true) must have an account. Set WANDB_API_KEY")


def test_classes_that_the_settings_name_are_trusted():
    settings = {
        "trust": ["their_lab"],
        "network": {"_target_": "my_lab.networks.Mine", "id": "facebook/wav2vec2-base"},
    }
    assert find_trusted(settings) == {"my_lab.networks.Mine", "their_lab"}


def test_the_settings_of_version_0_1_name_present_classes():
    old = {
        "data": {
            "_target_": "w2v2_mt.data.joint.JointData",
            "speech": {"_target_": "w2v2_mt.data.librispeech.LibriSpeechData"},
            "speaker": {"_target_": "w2v2_mt.data.voxceleb.VoxCelebData"},
        },
        "optim": {
            "algo": {"_target_": "w2v2_mt.optim.algorithms.sgd"},
            "schedule": {"_target_": "w2v2_mt.optim.schedules.TriStage"},
        },
        "evaluation": {"beam_search": {"_target_": "w2v2_mt.data.beam_search.BeamSearch"}},
    }
    assert with_current_targets(old) == {
        "data": {
            "speech": {"_target_": "w2v2_mt.data.speech.SpeechCorpus"},
            "speaker": {"_target_": "w2v2_mt.data.speaker.SpeakerCorpus"},
        },
        "optim": {
            "algo": {"_target_": "w2v2_mt.optim.optimizers.Sgd"},
            "schedule": {"_target_": "w2v2_mt.optim.schedules.TriStage"},
        },
        "evaluation": {
            "beam_search": {"_target_": "w2v2_mt.decoding.beam_search.BeamSearchSettings"}
        },
    }
