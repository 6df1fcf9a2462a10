import json
from pathlib import Path

import pytest
import torch

from w2v2_mt.app.run import run
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.models.networks import MultiTaskNetwork, SpeakerNetwork, SpeechNetwork
from w2v2_mt.training.checkpoints import RECORD_KEY

NETWORKS = {
    "train_speech": SpeechNetwork,
    "train_speaker": SpeakerNetwork,
    "train_mt_speaker_speech": MultiTaskNetwork,
}


@pytest.mark.parametrize("config_name", NETWORKS)
def test_a_network_is_read_without_what_it_was_trained_from(train, config_name):
    checkpoint = train(config_name)
    content = torch.load(checkpoint, weights_only=True)
    trained = load_trained(checkpoint)
    assert isinstance(trained.network, NETWORKS[config_name])
    assert not any(module.training for module in trained.network.modules())
    for name, weight in trained.network.state_dict().items():
        assert torch.equal(weight, content["state_dict"][f"network.{name}"])
    assert trained.config_name == config_name
    assert trained.config == content[RECORD_KEY]["config"]
    assert trained.step == 2
    assert trained.metrics == content[RECORD_KEY]["metrics"]
    assert trained.normaliser.eps == 1e-7
    if config_name == "train_speaker":
        assert trained.tokenizer is None
    else:
        assert trained.tokenizer.symbols[4:7] == ["|", "E", "T"]


@pytest.mark.parametrize("kind", ["large", "wavlm-base", "hubert-large", "data2vec-audio"])
def test_every_way_of_sharing_is_read(train, kind):
    checkpoint = train(
        "train_mt_speaker_speech",
        "network.use_multi_branch_encoder=true",
        "network.num_shared_transformers=1",
        "network.num_speaker_dimensions=12",
        "network.stat_pooling_type=first+cls+learnable",
        "network.layer_weights=learned",
        "network.explicit_num_speakers=9",
        "network.wav2vec_initially_frozen=true",
        kind=kind,
    )
    network = load_trained(checkpoint).network
    assert set(network.trunk.encoder.branches) == {"speech", "speaker"}
    assert network.speaker_head.pooling.out_dim == 12
    assert network.speech_head.linear.in_features == network.trunk.shape.dim - 12
    assert network.speaker_head.num_speakers == 9
    waveforms = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    output = network(waveforms, torch.tensor([4000, 3000]))
    alone = network(waveforms[1:, :3000], torch.tensor([3000]))
    # Nothing of training is at work: no dropout, no masks.
    torch.testing.assert_close(
        output.speaker.embeddings[1:], alone.speaker.embeddings, atol=1e-5, rtol=1e-5
    )


def test_the_threshold_of_the_equal_error_rate_is_kept(train):
    metrics = load_trained(train("train_speaker")).metrics
    assert -1 <= metrics["val_eer_threshold"] <= 1


def test_a_missing_vocabulary_file_is_reported(train, tmp_path):
    vocabulary = tmp_path / "letters.json"
    letters = ["<pad>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    vocabulary.write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    checkpoint = train("train_speech", f"speech.tokenizer.vocabulary_path={vocabulary}")
    vocabulary.unlink()
    assert load_trained(checkpoint).tokenizer.symbols == letters


def without(checkpoint: Path, *names: str) -> Path:
    """A copy whose record lacks some entries."""
    content = torch.load(checkpoint, weights_only=True)
    for name in names:
        del content[RECORD_KEY][name]
    older = checkpoint.with_name("older.ckpt")
    torch.save(content, older)
    return older


def test_an_older_checkpoint_needs_the_architecture_itself(small_config, architecture, tmp_path):
    config = small_config("train_speech", "eval_model=false")
    run(config, config_name="train_speech", folder=tmp_path, overrides=())
    older = without(tmp_path / "checkpoints" / "best.ckpt", "architecture", "vocabulary")
    assert load_trained(older).network.trunk.shape.dim == 32


def test_an_older_checkpoint_without_its_architecture_is_refused(train):
    older = without(train("train_speech"), "architecture")
    with pytest.raises(ValueError, match="cannot load .*architecture"):
        load_trained(older)


def test_weights_of_another_network_are_refused(train):
    checkpoint = train("train_speech")
    content = torch.load(checkpoint, weights_only=True)
    del content["state_dict"]["network.head.linear.bias"]
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match="are not those of the network .*head.linear.bias"):
        load_trained(checkpoint)


def test_a_checkpoint_with_changed_bytes_is_refused(train, tmp_path):
    content = bytearray(train("train_speaker").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = b"\xff" * 4
    (tmp_path / "changed.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"changed.ckpt is corrupt \(checksum of .*\)"):
        load_trained(tmp_path / "changed.ckpt")


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no checkpoint"):
        load_trained(tmp_path / "best.ckpt")


def test_two_ways_of_normalising_are_refused(train):
    checkpoint = train("train_mt_speaker_speech", "speaker.pipeline.normaliser.eps=1e-5")
    with pytest.raises(ValueError, match="differs from that of speaker"):
        load_trained(checkpoint)
