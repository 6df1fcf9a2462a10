"""Measure how far scores and transcripts depend on the batch, in float32 and in bf16.

Each utterance is run alone and in a batch of 8 utterances of other lengths, in float32 and under
bf16 autocast. The utterances are the first of `--shards`, and the network is that of
`--checkpoint`; without them, noise and a network with random weights.
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from default_settings import default_settings
from torch import Tensor

from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.transforms import NormaliseWaveform, decode
from w2v2_mt.decoding.tokenizer import LetterTokenizer, Tokenizer
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.models.networks import MultiTaskNetwork
from w2v2_mt.settings.instantiation import instantiate

NUM_TOKENS = 32
BATCH_SIZE = 8


def load_network(checkpoint: Path | None, upstream: str) -> tuple[MultiTaskNetwork, Tokenizer]:
    """Return a network in eval mode; that of a checkpoint, or one with random weights."""
    if checkpoint is not None:
        trained = load_trained(checkpoint)
        assert isinstance(trained.network, MultiTaskNetwork)
        assert trained.tokenizer is not None
        return trained.network, trained.tokenizer
    torch.manual_seed(0)
    settings = default_settings(
        f"network.wav2vec_huggingface_id={upstream}", "network.reset_weights=true"
    )
    network = instantiate(settings["network"]).build(num_tokens=NUM_TOKENS, num_speakers=10)
    return network.eval(), LetterTokenizer(vocabulary_path=None)


def read_waveforms(folder: Path | None, num_utterances: int) -> list[Tensor]:
    """Return normalised utterances of shards, or noise of 2 to 10 s."""
    if folder is None:
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(32_000, 160_000, (num_utterances,), generator=generator)
        waveforms = [torch.randn(length, generator=generator) for length in lengths.tolist()]
    else:
        shards = find_shards(folder, producer="the preparation of the data")
        samples = (sample for shard in shards for sample in read_shard(shard))
        waveforms = [decode(sample) for sample in islice(samples, num_utterances)]
    return [NormaliseWaveform(eps=1e-7)(waveform) for waveform in waveforms]


def run_network(
    network: MultiTaskNetwork, tokenizer: Tokenizer, waveforms: Sequence[Tensor], batch_size: int
) -> tuple[Tensor, list[str]]:
    """Return the cosines of all pairs of utterances, and the transcripts of greedy decoding."""
    embeddings, transcripts = [], []
    device = next(network.parameters()).device
    for start in range(0, len(waveforms), batch_size):
        padded, num_samples = pad_sequences(list(waveforms[start : start + batch_size]))
        output = network(padded.to(device), num_samples.to(device))
        embeddings.append(output.speaker.embeddings.double())
        speech = output.speech
        transcripts += tokenizer.decode_batch(speech.logits.argmax(dim=-1), speech.num_frames)
    directions = F.normalize(torch.cat(embeddings), dim=1)
    first, second = torch.triu_indices(len(waveforms), len(waveforms), offset=1)
    return (directions[first] * directions[second]).sum(dim=1).cpu(), transcripts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="of a run of both tasks")
    parser.add_argument("--network", default="tiny", help="an architecture (tiny)")
    parser.add_argument("--shards", type=Path, help="a folder of shards")
    parser.add_argument("--num_utterances", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network, tokenizer = load_network(arguments.checkpoint, arguments.network)
    network.to(arguments.device)
    waveforms = read_waveforms(arguments.shards, arguments.num_utterances)
    for name, is_bf16 in (("float32", False), ("bf16", True)):
        with (
            torch.inference_mode(),
            torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=is_bf16),
        ):
            scores, transcripts = run_network(network, tokenizer, waveforms, batch_size=1)
            in_batch, of_batch = run_network(network, tokenizer, waveforms, batch_size=BATCH_SIZE)
        change = (in_batch - scores).abs()
        num_changed = sum(a != b for a, b in zip(transcripts, of_batch, strict=True))
        print(
            f"{name}: batches of {BATCH_SIZE} change cosine scores by {change.mean():.1e} on "
            f"average and {change.max():.1e} at most (their standard deviation is "
            f"{scores.std():.1e}), and {num_changed} of {len(waveforms)} transcripts",
            flush=True,
        )


if __name__ == "__main__":
    main()
