import copy
import json
import shutil
from itertools import islice

import pytest
import torch

from w2v2_mt.app.build import build_job, instantiate
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.data.librispeech import LibriSpeechData
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.optim.schedules import ReduceOnPlateau
from w2v2_mt.tasks.multi_task import MultiTask
from w2v2_mt.tasks.speaker import SpeakerTask
from w2v2_mt.tasks.speech import SpeechTask

CTC = {"_target_": "w2v2_mt.losses.ctc.CtcLoss", "blank_index": 0}
AAM = {"_target_": "w2v2_mt.losses.aam_softmax.AamSoftmaxLoss", "margin": 0.2, "scale": 30.0}
MULTI_TASK_LOSS = {
    "_target_": "w2v2_mt.losses.multi_task.MultiTaskLoss",
    "ctc_loss": CTC,
    "speaker_loss": AAM,
    "scale_method": None,
    "static_speech_weight": 0.5,
    "dwa_weight_sum": 1.0,
    "dwa_temperature": 2.0,
    "dwa_window": 100,
    "weight_lr": 0.001,
    "gradnorm_alpha": 1.5,
    "gradient_diagnostics_every_n_steps": None,
}


def test_nested_nodes_are_built_first_and_the_settings_stay_as_they_are():
    settings = copy.deepcopy(MULTI_TASK_LOSS)
    loss = instantiate(settings)
    assert isinstance(loss, MultiTaskLoss)
    assert (loss.ctc_loss.blank_index, loss.speaker_loss.margin) == (0, 0.2)
    assert settings == MULTI_TASK_LOSS


def test_what_code_passes_comes_before_what_a_setting_says():
    assert instantiate(CTC, blank_index=3).blank_index == 3


def test_a_block_without_a_target_is_passed_on_as_it_is():
    assert instantiate({"_target_": "builtins.dict", "a": {"b": [1]}}) == {"a": {"b": [1]}}


def test_the_sentence_of_an_error_reaches_the_user_as_it_is():
    with pytest.raises(ValueError, match=r"^margin is 2, but the margin is an angle from 0 to pi"):
        instantiate({**MULTI_TASK_LOSS, "speaker_loss": {**AAM, "margin": 2}})


@pytest.mark.parametrize(
    ("config_name", "task_class", "dev_metric", "num_speakers"),
    [
        ("train_speech", SpeechTask, "val_wer_other", None),
        ("train_speaker", SpeakerTask, "val_eer", 4),
        ("train_mt_speaker_speech", MultiTask, "val_score", 4),
    ],
)
def test_each_entry_point_has_its_task_and_its_dev_metric(
    small_config, config_name, task_class, dev_metric, num_speakers
):
    job = build_job(small_config(config_name), config_name)
    assert type(job.task) is task_class
    assert (job.dev_metric, job.num_speakers) == (dev_metric, num_speakers)


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
def test_the_decoder_of_a_test_is_the_chosen_one(small_config, config_name, tmp_path):
    assert (
        build_job(small_config(config_name), config_name).task.speech_evaluation.beam_search is None
    )
    config = small_config(config_name, "evaluation.decoder=beam", "evaluation.beam_search.width=7")
    beam_search = build_job(config, config_name).task.speech_evaluation.beam_search
    assert (beam_search.width, beam_search.language_model_weight) == (7, 0.5)
    config["evaluation"]["beam_search"]["language_model_path"] = str(tmp_path / "lm.arpa")
    with pytest.raises(ValueError, match=r"there is no language model .*lm\.arpa"):
        build_job(config, config_name)


def test_the_classes_of_a_network_are_those_of_the_data(small_config):
    job = build_job(small_config("train_mt_speaker_speech"), "train_mt_speaker_speech")
    network = job.task.network
    assert network.speaker_head.num_speakers == job.data.speaker.num_speakers == 4
    num_letters = LetterTokenizer(vocabulary_path=None).num_letters
    assert network.speech_head.linear.out_features == num_letters == 32
    batch = next(iter(job.data.train_dataloader()["speaker"]))
    assert isinstance(batch, SpeakerBatch)
    assert set(batch.speaker_indices.tolist()) <= set(range(4))


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
def test_letters_are_counted_only_for_a_letter_prior(small_config, monkeypatch, config_name):
    def bias(ctc_bias_init):
        config = small_config(config_name, f"network.ctc_bias_init={ctc_bias_init}")
        network = build_job(config, config_name).task.network
        head = network.head if config_name == "train_speech" else network.speech_head
        return head.linear.bias.detach()

    prior = bias("letter_prior")
    torch.testing.assert_close(prior.exp().sum(), torch.tensor(1.0))
    assert int(prior.argmax()) == 0  # The blank: a letter of the test data has four frames.
    assert prior[0].exp() == pytest.approx(0.75, abs=0.01)

    def counted(data):
        raise AssertionError("letters were counted")

    monkeypatch.setattr(LibriSpeechData, "letter_statistics", property(counted))
    assert (bias("zero") == 0).all()


def test_chunks_as_long_as_speech_need_speech(small_config):
    setting = "speaker.pipeline.selector_train.match_speech_lengths=true"
    with pytest.raises(
        ValueError, match="match_speech_lengths=true needs the speech of a multi-task run; set it"
    ):
        build_job(small_config("train_speaker", setting), "train_speaker")
    name = "train_mt_speaker_speech"
    overrides = (setting, "speaker.dataloader.train_batch_size=8")
    job = build_job(small_config(name, *overrides), name)
    loader = job.data.train_dataloader()["speaker"]
    lengths = {length for batch in islice(loader, 8) for length in batch.num_samples.tolist()}
    # Not half a second, and each of them the length of an utterance or of a whole file.
    assert 8_000 not in lengths
    assert len(lengths) > 5


def test_the_settings_of_the_loaders_reach_the_batches(small_config):
    name = "train_mt_speaker_speech"
    job = build_job(small_config(name, "speaker.dataloader.train_batch_size=3"), name)
    loaders = job.data.train_dataloader()
    speech, speaker = next(iter(loaders["speech"])), next(iter(loaders["speaker"]))
    assert len(speaker) == 3
    assert speaker.waveforms.shape[1] <= 8_000  # half a second
    assert isinstance(speech, SpeechBatch)
    assert speech.waveforms.numel() <= 60_000


def test_the_optimiser_and_its_schedule_are_those_of_the_settings(small_config):
    overrides = ["optim/algo=sgd", "optim.algo.lr=0.5", "optim/schedule=tri_stage"]
    config = small_config("train_speech", *overrides, "trainer.max_steps=1000")
    job = build_job(config, "train_speech")
    configured = job.task.configure_optimizers()
    optimiser = configured["optimizer"]
    assert isinstance(optimiser, torch.optim.SGD)
    assert optimiser.defaults["momentum"] == 0.9
    factor = configured["lr_scheduler"]["scheduler"].lr_lambdas[0]
    # Up over 100 of the 1000 steps, then constant for 400.
    assert [factor(step) for step in (100, 300, 499)] == pytest.approx([1, 1, 1])
    assert factor(0) == pytest.approx(5e-6 / 0.5)
    assert factor(1000) == pytest.approx(5e-6 / 0.5)


@pytest.mark.parametrize(
    ("config_name", "dev_metric"),
    [
        ("train_speech", "val_wer_other"),
        ("train_speaker", "val_eer"),
        ("train_mt_speaker_speech", "val_score"),
    ],
)
def test_reduce_on_plateau_follows_the_dev_metric_at_each_validation(
    small_config, config_name, dev_metric
):
    config = small_config(
        config_name,
        "optim/schedule=reduce_on_plateau",
        "trainer.max_steps=100",
        "trainer.val_check_interval=10",
        "trainer.accumulate_grad_batches=3",
    )
    optimisation = build_job(config, config_name).task.optimisation
    assert isinstance(optimisation.schedule, ReduceOnPlateau)
    assert optimisation.monitor == dev_metric
    assert optimisation.num_batches_between_validations == 30


def test_one_seed_in_the_settings_decides_what_is_read(small_config):
    def keys(*overrides: str) -> list[list[str]]:
        name = "train_mt_speaker_speech"
        loaders = build_job(small_config(name, *overrides), name).data.train_dataloader()
        return [next(iter(loaders[task])).keys for task in ("speech", "speaker")]

    assert keys() == keys() == keys("seed=42133724")
    assert keys() != keys("seed=1")


@pytest.mark.parametrize(
    ("config_name", "missing", "sentence"),
    [
        (
            "train_speaker",
            "vox2_shards/train/meta.json",
            "there is no .*vox2_shards/train/meta.json: run .* or set DATA_FOLDER",
        ),
        (
            "train_mt_speaker_speech",
            "vox2_shards/val/val_trials.txt",
            "val_trials.txt.*: run .* or set DATA_FOLDER",
        ),
        (
            "train_mt_speaker_speech",
            "vox2_shards_hard/test/test_trials.txt",
            "vox2_shards_hard/test/test_trials.txt.*: run .* or set DATA_FOLDER",
        ),
    ],
)
def test_missing_data_is_told_in_a_sentence(
    small_config, data_folder, tmp_path, config_name, missing, sentence
):
    shutil.copytree(data_folder, tmp_path / "data")
    (tmp_path / "data" / missing).unlink()
    config = small_config(config_name, f"data_folder={tmp_path / 'data'}")
    with pytest.raises(ValueError, match=sentence) as error:
        build_job(config, config_name)
    assert len(str(error.value).splitlines()) == 1


def test_fewer_classes_than_speakers_are_refused(small_config, data_folder):
    num_speakers = json.loads((data_folder / "vox2_shards/train/meta.json").read_text())
    assert num_speakers["num_speakers"] == 4
    config = small_config("train_speaker", "network.explicit_num_speakers=3")
    with pytest.raises(ValueError, match="explicit_num_speakers=3 is less than the 4 speakers"):
        build_job(config, "train_speaker")


BLANK_AT_2 = {"A": 0, "|": 1, "<pad>": 2, **{letter: 3 + i for i, letter in enumerate("BCDE")}}


def test_one_setting_tells_a_multi_task_run_where_another_vocabulary_has_its_blank(
    small_config, tmp_path
):
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(BLANK_AT_2))
    name = "train_mt_speaker_speech"
    overrides = [
        f"speech.tokenizer.vocabulary_path={path}",
        "network.ctc_blank_idx=2",
        "network.enable_ctc_pool_speaker_embedding=true",
    ]
    task = build_job(small_config(name, *overrides), name).task
    assert task.loss.ctc_loss.blank_index == 2
    assert task.network.letter_guided_pooling.blank_index == 2


@pytest.mark.parametrize(
    ("config_name", "overrides", "named"),
    [
        ("train_speech", [], "optim.loss.blank_index=0"),
        ("train_speech", ["optim.loss.blank_index=1"], "optim.loss.blank_index=1"),
        (
            "train_mt_speaker_speech",
            [],
            "network.ctc_blank_idx=0 and optim.loss.ctc_loss.blank_index=0",
        ),
        (
            "train_mt_speaker_speech",
            ["network.ctc_blank_idx=2", "optim.loss.ctc_loss.blank_index=0"],
            "optim.loss.ctc_loss.blank_index=0",
        ),
    ],
)
def test_a_blank_that_is_not_that_of_the_vocabulary_is_refused_before_a_network_is_built(
    small_config, tmp_path, monkeypatch, config_name, overrides, named
):
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(BLANK_AT_2))
    config = small_config(config_name, f"speech.tokenizer.vocabulary_path={path}", *overrides)
    monkeypatch.setattr("w2v2_mt.models.factory.load_upstream", None)
    sentence = f"^{named}, but the blank of the vocabulary has index 2; set it to that.$"
    with pytest.raises(ValueError, match=sentence):
        build_job(config, config_name)


def test_a_multi_task_run_can_classify_speakers_by_cross_entropy(small_config):
    name = "train_mt_speaker_speech"
    config = small_config(
        name,
        "optim/loss@optim.loss.speaker_loss=cross_entropy",
        "network.use_cosine_linear=false",
    )
    assert type(build_job(config, name).task.loss.speaker_loss) is CrossEntropyLoss


@pytest.mark.parametrize(
    ("config_name", "override", "sentence"),
    [
        ("train_speech", "data=voxceleb1", "data makes a VoxCelebData, .* needs a LibriSpeechData"),
        ("train_speech", "network=mt_wav2vec2", "network makes a MultiTaskNetwork"),
        ("train_speech", "optim/loss=aam_softmax", "optim/loss makes a AamSoftmaxLoss"),
        ("train_speaker", "optim/loss=ctc", "needs a AamSoftmaxLoss or a CrossEntropyLoss"),
        ("train_speaker", "optim/loss=cross_entropy", "set it to False or choose another loss"),
        ("train_mt_speaker_speech", "data=librispeech", "data makes a LibriSpeechData"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_before_anything_is_built(
    config_name, override, sentence, small_config
):
    with pytest.raises(ValueError, match=sentence):
        build_job(small_config(config_name, override), config_name)
