import json
import shutil
from itertools import islice

import pytest
import torch

from w2v2_mt.app.build import build_job
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.losses.speaker_loss import CrossEntropyLoss
from w2v2_mt.optim.schedules import ReduceOnPlateau


@pytest.mark.parametrize(
    ("config_name", "tasks", "dev_metric", "num_speakers"),
    [
        ("train_speech", ["speech"], "val_wer_other", None),
        ("train_speaker", ["speaker"], "val_eer", 4),
        ("train_mt_speaker_speech", ["speech", "speaker"], "val_score", 4),
    ],
)
def test_each_entry_point_has_its_tasks_and_its_dev_metric(
    small_config, config_name, tasks, dev_metric, num_speakers
):
    job = build_job(small_config(config_name))
    assert list(job.task.objectives) == tasks
    assert (job.dev_metric, job.network_record["num_speakers"]) == (dev_metric, num_speakers)


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
def test_the_decoder_of_a_test_is_the_chosen_one(small_config, config_name, tmp_path):
    def speech_evaluation(config):
        return build_job(config).task.objectives["speech"].evaluation

    assert speech_evaluation(small_config(config_name)).beam_search is None
    config = small_config(config_name, "evaluation.decoder=beam", "evaluation.beam_search.width=7")
    settings = speech_evaluation(config).beam_search.settings
    assert (settings.width, settings.language_model_weight) == (7, 0.5)
    config["evaluation"]["beam_search"]["language_model_path"] = str(tmp_path / "lm.arpa")
    with pytest.raises(ValueError, match=r"Language model .*lm\.arpa must exist"):
        build_job(config)


def test_the_classes_of_a_network_are_those_of_the_data(small_config):
    job = build_job(small_config("train_mt_speaker_speech"))
    network = job.task.network
    assert network.speaker_head.num_speakers == job.data.data_of_task["speaker"].num_speakers == 4
    assert network.speech_head.linear.out_features == len(job.network_record["vocabulary"]) == 32
    batch = next(iter(job.data.train_dataloader()["speaker"]))
    assert isinstance(batch, SpeakerBatch)
    assert set(batch.speaker_indices.tolist()) <= set(range(4))


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
def test_tokens_are_counted_only_for_a_token_prior(small_config, monkeypatch, config_name):
    def bias(ctc_bias_init):
        config = small_config(config_name, f"network.ctc_bias_init={ctc_bias_init}")
        network = build_job(config).task.network
        head = network.head if config_name == "train_speech" else network.speech_head
        return head.linear.bias.detach()

    prior = bias("letter_prior")
    torch.testing.assert_close(prior.exp().sum(), torch.tensor(1.0))
    assert int(prior.argmax()) == 0  # The blank: a letter of the test data has four frames.
    assert prior[0].exp() == pytest.approx(0.75, abs=0.01)

    def counted(data):
        raise AssertionError("letters were counted")

    monkeypatch.setattr(SpeechData, "token_statistics", property(counted))
    assert (bias("zero") == 0).all()


def test_chunks_as_long_as_speech_need_speech(small_config):
    setting = "speaker.pipeline.selector_train.match_speech_lengths=true"
    alone = build_job(small_config("train_speaker", setting))
    with pytest.raises(ValueError, match=r"match_speech_lengths \(true\) must be false"):
        alone.data.train_dataloader()
    name = "train_mt_speaker_speech"
    overrides = (setting, "speaker.dataloader.train_batch_size=8")
    job = build_job(small_config(name, *overrides))
    loader = job.data.train_dataloader()["speaker"]
    lengths = {length for batch in islice(loader, 8) for length in batch.num_samples.tolist()}
    # Not half a second, and each of them the length of an utterance or of a whole file.
    assert 8_000 not in lengths
    assert len(lengths) > 5


def test_the_settings_of_the_loaders_reach_the_batches(small_config):
    name = "train_mt_speaker_speech"
    job = build_job(small_config(name, "speaker.dataloader.train_batch_size=3"))
    loaders = job.data.train_dataloader()
    speech, speaker = next(iter(loaders["speech"])), next(iter(loaders["speaker"]))
    assert len(speaker) == 3
    assert speaker.waveforms.shape[1] <= 8_000  # half a second
    assert isinstance(speech, SpeechBatch)
    assert speech.waveforms.numel() <= 60_000


def test_the_optimizer_and_its_schedule_are_those_of_the_settings(small_config):
    overrides = ["optim/algo=sgd", "optim.algo.lr=0.5", "optim/schedule=tri_stage"]
    config = small_config("train_speech", *overrides, "trainer.max_steps=1000")
    job = build_job(config)
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
    settings = build_job(config).task.optimization
    assert isinstance(settings.schedule, ReduceOnPlateau)
    assert settings.monitor == dev_metric
    assert settings.num_batches_between_validations == 30


def test_one_seed_in_the_settings_decides_what_is_read(small_config):
    def keys(*overrides: str) -> list[list[str]]:
        name = "train_mt_speaker_speech"
        loaders = build_job(small_config(name, *overrides)).data.train_dataloader()
        return [next(iter(loaders[task])).keys for task in ("speech", "speaker")]

    assert keys() == keys() == keys("seed=42133724")
    assert keys() != keys("seed=1")


@pytest.mark.parametrize(
    ("config_name", "missing", "sentence"),
    [
        (
            "train_speaker",
            "vox2_shards/train/meta.json",
            "vox2_shards/train/meta.json must exist. Run .* or set DATA_FOLDER",
        ),
        (
            "train_mt_speaker_speech",
            "vox2_shards/val/val_trials.txt",
            "val_trials.txt must exist. Run .* or set DATA_FOLDER",
        ),
        (
            "train_mt_speaker_speech",
            "vox2_shards_hard/test/test_trials.txt",
            "vox2_shards_hard/test/test_trials.txt must exist. Run .* or set DATA_FOLDER",
        ),
    ],
)
def test_missing_data_is_reported_in_a_sentence(
    small_config, data_folder, tmp_path, config_name, missing, sentence
):
    shutil.copytree(data_folder, tmp_path / "data")
    (tmp_path / "data" / missing).unlink()
    config = small_config(config_name, f"data_folder={tmp_path / 'data'}")
    with pytest.raises(ValueError, match=sentence) as error:
        build_job(config)
    assert len(str(error.value).splitlines()) == 1


def test_fewer_classes_than_speakers_are_refused(small_config, data_folder):
    num_speakers = json.loads((data_folder / "vox2_shards/train/meta.json").read_text())
    assert num_speakers["num_speakers"] == 4
    config = small_config("train_speaker", "network.explicit_num_speakers=3")
    with pytest.raises(
        ValueError, match=r"explicit_num_speakers \(3\) is less than the 4 speakers"
    ):
        build_job(config)


BLANK_AT_2 = {"A": 0, "|": 1, "<pad>": 2, **{letter: 3 + i for i, letter in enumerate("BCDE")}}


def test_one_setting_gives_a_multi_task_run_the_blank_of_another_vocabulary(small_config, tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(BLANK_AT_2))
    name = "train_mt_speaker_speech"
    overrides = [
        f"speech.tokenizer.vocabulary_path={path}",
        "network.ctc_blank_idx=2",
        "network.enable_ctc_pool_speaker_embedding=true",
    ]
    task = build_job(small_config(name, *overrides)).task
    assert task.objectives["speech"].loss.blank_index == 2
    (way,) = task.network.trunk.ways
    assert way.ctc_blank_idx == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("config_name", "overrides", "key"),
    [
        ("train_speech", [], "optim.loss.blank_index"),
        ("train_speech", ["optim.loss.blank_index=1"], "optim.loss.blank_index"),
        ("train_mt_speaker_speech", [], "network.ctc_blank_idx"),
        (
            "train_mt_speaker_speech",
            ["network.ctc_blank_idx=2", "optim.loss.ctc_loss.blank_index=0"],
            "network.ctc_blank_idx",
        ),
    ],
)
def test_a_blank_that_is_not_that_of_the_vocabulary_is_refused_before_a_network_is_built(
    small_config, tmp_path, config_name, overrides, key
):
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(BLANK_AT_2))
    sentence = rf"must be that of the vocabulary \(2\)\. Set {key}=2\.$"
    with pytest.raises(ValueError, match=sentence):
        small_config(config_name, f"speech.tokenizer.vocabulary_path={path}", *overrides)


def test_a_multi_task_run_can_classify_speakers_by_cross_entropy(small_config):
    name = "train_mt_speaker_speech"
    config = small_config(
        name,
        "optim/loss@optim.loss.speaker_loss=cross_entropy",
        "network.use_cosine_linear=false",
    )
    assert type(build_job(config).task.objectives["speaker"].loss) is CrossEntropyLoss


@pytest.mark.parametrize(
    ("config_name", "override", "sentence"),
    [
        ("train_speech", "data=voxceleb1", "^data .SpeakerCorpus. must be .* of SpeechCorpus"),
        (
            "train_speech",
            "optim/loss=aam_softmax",
            "^optim.loss .AamSoftmaxLoss. must .* CtcLoss",
        ),
        ("train_speaker", "optim/loss=ctc", "^optim.loss .CtcLoss. must be .* of SpeakerLoss"),
        ("train_speaker", "optim/loss=cross_entropy", "must be false for CrossEntropyLoss"),
        ("train_mt_speaker_speech", "data=librispeech", "^data.speech must be set"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_before_anything_is_built(
    config_name, override, sentence, small_config
):
    with pytest.raises(ValueError, match=sentence):
        small_config(config_name, override)


def test_tasks_are_packed_only_with_packed_frames(small_config):
    packed = ["network.pack_frames=true", "trainer.pack_tasks=true"]
    task = build_job(small_config("train_mt_speaker_speech", *packed)).task
    assert task.network.trunk.pack_frames
    assert task.pack_tasks
    with pytest.raises(
        ValueError, match=r"trainer\.pack_tasks \(true\) must not pad .*Set network"
    ):
        build_job(small_config("train_mt_speaker_speech", "trainer.pack_tasks=true"))
