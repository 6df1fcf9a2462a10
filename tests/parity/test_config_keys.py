"""Each key of a config, flipped: the output is that of transformers, or the model is refused."""

import pytest
import torch
from transformers import AutoModel

from tests.helpers.small_networks import small_config, small_speech_network

KINDS = ["wav2vec2-base", "wav2vec2-large", "hubert-base", "wavlm-large", "data2vec-audio"]
CONFIGS = {kind: small_config(kind, num_hidden_layers=2).to_dict() for kind in KINDS}
BOOLEANS = sorted(
    {
        name
        for each in CONFIGS.values()
        for name, value in each.items()
        # With these, transformers itself does not save or run the model.
        if type(value) is bool and name not in ("output_attentions", "return_dict")
    }
    # A model without such a key does not become one that has it.
    | {"conv_pos_batch_norm", "do_stable_layer_norm", "feat_proj_layer_norm", "add_adapter"}
)
CHOICES: dict[str, list[str | int | float]] = {
    "feat_extract_norm": ["group", "layer"],
    "feat_extract_activation": ["relu", "gelu_new"],
    "hidden_act": ["relu", "silu"],
    "ctc_loss_reduction": ["mean"],
    "adapter_attn_dim": [8],
    "position_embeddings_type": ["rotary"],
    "num_conv_pos_embeddings": [3],
    "layer_norm_eps": [0.1],
    "num_buckets": [8],
}
REFUSED = {"add_adapter", "adapter_attn_dim", "conv_pos_batch_norm"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_key_flipped_gives_the_output_of_transformers(tmp_path, kind):
    assert {"do_stable_layer_norm", "conv_bias", "add_adapter"} <= set(BOOLEANS)
    changes: list[tuple[str, str | int | float]] = [
        (name, not CONFIGS[kind].get(name, False)) for name in BOOLEANS
    ]
    changes += [(name, value) for name, values in CHOICES.items() for value in values]
    waveforms, refused = torch.randn(2, 4_000), set()
    for number, (name, value) in enumerate(changes):
        folder = tmp_path / str(number)
        config = small_config(kind, num_hidden_layers=2, **{name: value})
        model = AutoModel.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # Norms begin with ones and zeros.
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        try:
            network = small_speech_network(str(folder), reset_weights=False).eval()
        except ValueError:
            refused.add(name)
            continue
        with torch.no_grad():
            theirs = model(waveforms).last_hidden_state
            frames, _ = network.trunk(waveforms, torch.full((2,), 4_000), tasks=["speech"])
        assert (frames["speech"] - theirs).abs().max() <= 2e-5, (name, value)
    assert refused <= REFUSED
    assert refused
