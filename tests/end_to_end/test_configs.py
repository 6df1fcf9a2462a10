"""Every file below config/ is composed, in each entry point where it is of use."""

import json
from fnmatch import fnmatch

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import open_dict

from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.validation import check_settings

CONFIG_FOLDER = PROJECT_FOLDER / "config"
FILES = sorted(
    str(path.relative_to(CONFIG_FOLDER).with_suffix("")) for path in CONFIG_FOLDER.rglob("*.yaml")
)

SPEECH, SPEAKER, BOTH = "train_speech", "train_speaker", "train_mt_speaker_speech"
ENTRY_POINTS = {
    "mixture": [BOTH],
    "train_speech": [SPEECH],
    "train_speaker": [SPEAKER],
    "train_mt_*": [BOTH],
    "data/*_joint": [BOTH],
    "data/*_speaker": [SPEAKER],
    "data/librispeech": [SPEECH],
    "data/*_speech": [SPEECH],
    "data/voxceleb*": [SPEAKER],
    "experiment/baseline_speech": [SPEECH],
    "experiment/baseline_speaker_*": [SPEAKER],
    "experiment/words": [SPEECH, SPEAKER, BOTH],
    "experiment/speech_*": [SPEECH],
    "experiment/speaker_*": [SPEAKER],
    "experiment/*": [BOTH],
    "optim/loss/ctc": [SPEECH],
    "optim/loss/aam_softmax": [SPEAKER],
    "optim/loss/cross_entropy": [SPEAKER],
    "sharing/*": [BOTH],
    "speech/pipeline/base_wav": [SPEECH, BOTH],
    "speech/*": [SPEECH, BOTH],
    "speaker/*": [SPEAKER, BOTH],
    "*/mt_*": [BOTH],
    "*/speech_*": [SPEECH],
    "*/speaker_*": [SPEAKER],
    "*": [SPEECH, SPEAKER, BOTH],
}
"""Where a file is of use: the first pattern that fits."""

PARTS = {
    "base",
    "mixture",
    "network/wav2vec2",
    "hydra/hydra_logging/plain",
    "hydra/job_logging/plain",
}
"""What other files include, and no command line chooses."""

GROUPS = {
    "experiment": "baseline_speech baseline_speaker_mean baseline_speaker_first+cls "
    "multi_task_2heads_vanilla demo_real words speech_words speaker_words",
    "callbacks": "none speech_default speaker_default mt_default speech_early_stopping "
    "speaker_early_stopping mt_early_stopping",
    "data": "librispeech librispeech_speaker librispeech_joint librispeech_mini_speech "
    "librispeech_mini_speaker librispeech_mini_joint speech_commands_speech "
    "speech_commands_speaker speech_commands_joint voxceleb1 voxceleb2 mt_vox1_libri mt_vox2_libri",
    "network": "speech_wav2vec2_fc speaker_wav2vec2_fc mt_wav2vec2",
    "network/regularisation": "wav2vec2_none wav2vec2_default_asr",
    "optim/algo": "adam sgd",
    "optim/loss": "ctc cross_entropy aam_softmax mt_speech_speaker_loss",
    "optim/schedule": "constant tri_stage tri_stage_demo exp_decay one_cycle cyclic "
    "reduce_on_plateau",
    "speech/dataloader": "speech",
    "speech/pipeline": "base_wav",
    "speech/tokenizer": "default bpe",
    "speaker/dataloader": "speaker",
    "speaker/pipeline": "base_wav_chunked",
    "sharing": "plain branched split ctc_pool layer_weights branched_split",
    "trainer": "trainer debug_trainer",
    "hydra/launcher": "slurm slurm_11vram slurm_24vram slurm_snellius local",
}
"""Options that published commands, and commands of users, may name."""

NEEDED = {
    "optim/loss/cross_entropy": ["network.use_cosine_linear=false"],
    "speech/tokenizer/bpe": ["speech.tokenizer.vocabulary_path=${oc.env:SUBWORDS}"],
}
"""Settings without which an option conflicts with the defaults, or lacks a file."""


@pytest.fixture(scope="module", autouse=True)
def subwords(tmp_path_factory):
    """A vocabulary of subwords, named by the variable SUBWORDS."""
    path = tmp_path_factory.mktemp("subwords") / "bpe.json"
    path.write_text(json.dumps({"<pad>": 0, "<unk>": 1, "▁": 2, "A": 3, "▁A": 4}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUBWORDS", str(path))
        yield


def entry_points(file: str) -> list[str]:
    return next(names for pattern, names in ENTRY_POINTS.items() if fnmatch(file, pattern))


def choice(file: str) -> list[str]:
    """How a command line chooses a file; nothing for what it gets in any case."""
    group, _, option = file.rpartition("/")
    if not group or file in PARTS:
        return []
    chosen = f"{'+' if group in ('experiment', 'debug', 'size') else ''}{group}={option}"
    return [chosen, *NEEDED.get(file, [])]


def test_entry_points_and_shared_parts_exist():
    assert set(FILES) >= PARTS | {SPEECH, SPEAKER, BOTH}


@pytest.mark.parametrize("group", GROUPS)
def test_no_option_is_missing(group):
    assert {f"{group}/{option}" for option in GROUPS[group].split()} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_a_file_composes_to_settings_that_pass_the_check(file):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for name in entry_points(file):
            defaults = loader.compute_defaults_list(name, choice(file), RunMode.RUN).defaults
            assert file in {default.config_path for default in defaults}, name
            config = hydra.compose(name, choice(file), return_hydra_config=True)
            if file.startswith("hydra/launcher/"):
                launcher = hydra.utils.instantiate(config.hydra.launcher)
                assert type(launcher).__name__ == "SweepLauncher"
            with open_dict(config):
                del config["hydra"]
            check_settings(config)


EXPERIMENTS = {
    "baseline_speech": SPEECH,
    "baseline_speaker_mean": SPEAKER,
    "baseline_speaker_first+cls": SPEAKER,
    "multi_task_2heads_vanilla": BOTH,
    "demo": BOTH,
    "demo_real": BOTH,
    "speech_words": SPEECH,
    "speaker_words": SPEAKER,
}
SHORT = ["", "+size=tiny", "+debug=overfit", "+debug=profile", "+debug=smoke"]


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_can_be_made_short(experiment, short):
    schedules = GROUPS["optim/schedule"].split()
    # The demo changes more settings than the others.
    chosen = [f"optim/schedule={each}" for each in schedules] if experiment == "demo" else []
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        for schedule in ["", *(chosen if short in ("", "+debug=overfit") else [])]:
            options = [f"+experiment={experiment}", schedule, short]
            config = hydra.compose(EXPERIMENTS[experiment], [each for each in options if each])
            settings = check_settings(config)
            target = settings["optim"]["schedule"]["_target_"]
            if short == "+debug=overfit" and not schedule:
                assert target.endswith("Constant")


@pytest.mark.parametrize("short", ["+size=tiny", "+debug=smoke"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_short_run_uses_gpus_only_if_the_command_says_so(monkeypatch, short, gpus):
    monkeypatch.setenv("NUM_GPUS", "2")
    chosen = ["gpus=1", short, "trainer.precision=bf16-mixed"] if gpus else [short]
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        trainer = check_settings(hydra.compose(BOTH, chosen))["trainer"]
    assert trainer["gpus"] == gpus
    assert trainer["precision"] == ("bf16-mixed" if gpus else "32-true")
