import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import Wav2Vec2ForCTC

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    UPSTREAMS,
    save_architecture,
    small_config,
    small_multi_task_network,
    small_speaker_network,
    small_speech_network,
)
from w2v2_mt.models.networks import SpeechNetwork
from w2v2_mt.models.regularisation import Regularisation


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "base")


@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_every_probability_of_the_regularisation_reaches_the_modules(tmp_path, kind):
    regularisation = Regularisation(
        activation_dropout=0.11,
        attention_dropout=0.12,
        feat_proj_dropout=0.13,
        hidden_dropout=0.14,
        final_dropout=0.15,
        layerdrop=0.16,
        mask_feature_length=5,
        mask_feature_prob=0.17,
        mask_time_length=6,
        mask_time_prob=0.18,
    )
    network = small_multi_task_network(
        save_architecture(tmp_path, kind),
        regularisation=regularisation,
        use_multi_branch_encoder=True,
    )
    encoder = network.trunk.encoder
    stacks = [encoder.shared, *encoder.branches.values()]
    layers = [layer for stack in stacks for layer in stack.layers]
    assert len(layers) == 2 + 2 * 2
    for layer in layers:
        assert layer.feed_forward.intermediate_dropout.p == 0.11
        assert layer.attention.dropout == 0.12
        assert layer.dropout.p == layer.feed_forward.output_dropout.p == 0.14
    assert network.trunk.backbone.projection.dropout.p == 0.13
    assert encoder.dropout.p == 0.14
    assert network.speech_head.dropout.p == network.speaker_head.dropout.p == 0.15
    assert [stack.layer_drop for stack in stacks] == [0.16] * 3
    assert network.trunk.spec_augment.regularisation == regularisation
    assert network.trunk.spec_augment.masked_frame is not None


def test_no_regularisation_means_that_every_dropout_is_zero(architecture):
    network = small_multi_task_network(architecture)
    dropouts = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert len(dropouts) > 10
    assert set(dropouts) == {0.0}
    assert network.trunk.spec_augment.masked_frame is None


def test_a_ctc_head_can_start_from_another_model(architecture, tmp_path):
    other = Wav2Vec2ForCTC(small_config("base", vocab_size=32))
    other.save_pretrained(tmp_path / "ctc")
    network = small_speech_network(architecture, speech_head_huggingface_id=str(tmp_path / "ctc"))
    torch.testing.assert_close(network.head.linear.weight, other.lm_head.weight)
    torch.testing.assert_close(network.head.linear.bias, other.lm_head.bias)


def test_a_ctc_head_of_another_size_is_refused(architecture, tmp_path):
    Wav2Vec2ForCTC(small_config("base", vocab_size=7)).save_pretrained(tmp_path / "ctc")
    with pytest.raises(ValueError, match="maps 32 dimensions to 7 tokens, this network needs 32"):
        small_speech_network(architecture, speech_head_huggingface_id=str(tmp_path / "ctc"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_speaker_dimensions": 32}, "leaves no dimension for speech. Choose 1 to 31"),
        (
            {"use_multi_branch_encoder": True, "num_shared_transformers": 4},
            "below the 4 layers of the encoder, as it leaves no layer .* Choose 0 to 3",
        ),
        (
            {"enable_ctc_pool_speaker_embedding": True, "stat_pooling_type": "first+cls"},
            r"\(first\+cls\) cannot be guided by tokens. Choose one of mean, mean\+std or",
        ),
        ({"explicit_num_speakers": 4}, "less than the 5 speakers of the training data"),
    ],
)
def test_impossible_combinations_are_refused(architecture, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        small_multi_task_network(architecture, **changes)


def test_an_explicit_number_of_speakers_sizes_the_classifier(architecture):
    assert small_speaker_network(architecture, explicit_num_speakers=9).head.num_speakers == 9


@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_gradient_checkpointing_changes_no_gradient(tmp_path, kind):
    architecture = save_architecture(tmp_path, kind)
    waveforms, num_samples = torch.randn(2, 6_000), torch.tensor([6_000, 4_000])
    gradients = []
    for use_gradient_checkpointing in (False, True):
        torch.manual_seed(5)
        network = small_speech_network(
            architecture, use_gradient_checkpointing=use_gradient_checkpointing
        )
        network(waveforms, num_samples).logits.square().mean().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_regularisation_changes_training_and_not_evaluation(architecture):
    strong = Regularisation(
        **{**vars(NO_REGULARISATION), "hidden_dropout": 0.5, "mask_time_prob": 0.5}
    )
    network = small_speech_network(architecture, regularisation=strong)
    waveforms, num_samples = torch.randn(1, 6_000), torch.tensor([6_000])
    with torch.no_grad():
        network.eval()
        first = network(waveforms, num_samples).logits
        torch.testing.assert_close(network(waveforms, num_samples).logits, first)
        network.train()
        assert not torch.allclose(network(waveforms, num_samples).logits, first)


SYMBOLS = ["<pad>", "|", "A", "B", "C"]


def save_ctc_model(folder: Path, index_of: dict[str, int], **tokenizer: object) -> Wav2Vec2ForCTC:
    model = Wav2Vec2ForCTC(small_config("base", vocab_size=len(index_of)))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(index_of), encoding="utf-8-sig")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return model


def start_from(folder: Path, architecture: str) -> SpeechNetwork:
    changes = {"num_tokens": len(SYMBOLS), "symbols": SYMBOLS}
    return small_speech_network(architecture, speech_head_huggingface_id=str(folder), **changes)


@pytest.mark.parametrize("blank", ["<pad>", "[PAD]"])
def test_the_tokens_of_a_ctc_head_are_found_by_their_symbols(architecture, tmp_path, blank):
    index_of = {"C": 0, blank: 1, "B": 2, "|": 3, "A": 4}
    other = save_ctc_model(tmp_path, index_of, pad_token={"content": blank})
    rows = [1, 3, 4, 2, 0]
    network = start_from(tmp_path, architecture)
    assert torch.equal(network.head.linear.weight, other.lm_head.weight[rows])
    assert torch.equal(network.head.linear.bias, other.lm_head.bias[rows])


@pytest.mark.parametrize("vocabulary", [None, {"eng": {"A": 0}, "deu": {"A": 0}}])
def test_a_ctc_head_whose_symbols_are_not_known_is_warned_of(
    architecture, tmp_path, caplog, vocabulary
):
    other = save_ctc_model(tmp_path, {symbol: index for index, symbol in enumerate(SYMBOLS)})
    (tmp_path / "vocab.json").unlink()
    if vocabulary is not None:
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    network = start_from(tmp_path, architecture)
    assert torch.equal(network.head.linear.weight, other.lm_head.weight)
    assert "has no vocab.json of one language: its tokens are taken in the order" in caplog.text


def test_a_ctc_head_of_other_symbols_is_refused(architecture, tmp_path):
    save_ctc_model(tmp_path, {"<pad>": 0, "|": 1, "a": 2, "B": 3, "C": 4})
    with pytest.raises(ValueError, match=r"it lacks 'A' and has in addition 'a'\. Set speech"):
        start_from(tmp_path, architecture)
