"""Measure time and memory of each way of sharing one wav2vec2 on a CPU.

The baseline is the plain network with two heads. One step of both tasks, with wav2vec2-base from
random weights, the convolutions frozen and the transformer trained; the variants take turns. Before
that, CTC-guided pooling is held against a loop over frames.
"""

import statistics
import time
from dataclasses import dataclass, field
from functools import partial

import torch
from default_settings import random_upstream
from torch import Tensor
from train_step import (
    CLOCKS,
    NUM_TOKENS,
    Step,
    build_network,
    build_step,
    build_task,
    draw_batches,
    measure,
    median_ratio,
    parse_options,
    peak_memory_gib,
)

from w2v2_mt.models.heads import SpeechOutput
from w2v2_mt.models.pooling import MeanPooling
from w2v2_mt.models.sharing import CtcPool

PLAIN = "plain"
BRANCHED = "network.use_multi_branch_encoder=true"
SPLIT = "network.num_speaker_dimensions=384"
GUIDED = "network.enable_ctc_pool_speaker_embedding=true"
VARIANTS: dict[str, list[str]] = {
    PLAIN: [],
    "branched, 9 of 12 layers shared": [BRANCHED, "network.num_shared_transformers=9"],
    "branched, 6 of 12 layers shared": [BRANCHED, "network.num_shared_transformers=6"],
    "branched, no layer shared": [BRANCHED, "network.num_shared_transformers=0"],
    "split dimensions": [SPLIT],
    "CTC-guided pooling": [GUIDED],
    "CTC-guided, branched, 6 shared": [GUIDED, BRANCHED, "network.num_shared_transformers=6"],
    "learned layer weights": ["network.layer_weights=learned"],
}

NUM_UTTERANCES, NUM_FRAMES, DIM = 66, 149, 768
"""A speaker batch of the experiments: 66 chunks of 3 s."""

BLANK_INDEX = 0


@dataclass
class Timing:
    """The measurements of each round."""

    forward_sec: list[float] = field(default_factory=list)
    both_sec: list[float] = field(default_factory=list)


def build_variant_step(overrides: list[str], *, architecture: str) -> Step:
    """Return the training step of the network with these settings."""
    settings = random_upstream(architecture, *overrides)
    return build_step(build_task(settings, build_network(settings)))


def pooled_in_a_loop(frames: Tensor, logits: Tensor, num_frames: Tensor) -> Tensor:
    """The mean over the frames with a letter, asked for frame by frame."""
    embeddings = []
    for row_frames, row_logits, length in zip(frames, logits, num_frames, strict=True):
        kept = [
            row_frames[index]
            for index in range(int(length))
            if row_logits[index].argmax() != BLANK_INDEX
        ]
        embeddings.append(torch.stack(kept).mean(dim=0))
    return torch.stack(embeddings)


def compare_pooling(num_rounds: int) -> None:
    """In turns: the forward pass alone, and with the backward pass that follows in training."""
    torch.manual_seed(1)
    frames = torch.randn(NUM_UTTERANCES, NUM_FRAMES, DIM, requires_grad=True)
    logits = torch.randn(NUM_UTTERANCES, NUM_FRAMES, NUM_TOKENS)
    logits[..., BLANK_INDEX] += 2.2  # so that about half of the frames are blank
    num_frames = torch.full((NUM_UTTERANCES,), NUM_FRAMES)
    guide = CtcPool(
        enable_ctc_pool_speaker_embedding=True,
        enable_ctc_pool_no_grad=True,
        ctc_pool_on_blank_embeddings=False,
        ctc_blank_idx=BLANK_INDEX,
    )
    pooling = MeanPooling(DIM)

    def guided(frames: Tensor, logits: Tensor, num_frames: Tensor) -> Tensor:
        return pooling(
            frames,
            num_frames,
            guide.select_frames(SpeechOutput(logits=logits, num_frames=num_frames)),
        )

    loop, ours = Timing(), Timing()
    for number in range(1 + num_rounds):
        results = []
        for timing, pool in ((loop, pooled_in_a_loop), (ours, guided)):
            start = time.perf_counter()
            results.append(pool(frames, logits, num_frames))
            middle = time.perf_counter()
            results[-1].square().sum().backward()
            if number > 0:
                timing.forward_sec.append(middle - start)
                timing.both_sec.append(time.perf_counter() - start)
            frames.grad = None
        torch.testing.assert_close(*results)
    print(
        f"CTC-guided pooling of {NUM_UTTERANCES} x {NUM_FRAMES} frames, against a loop over them:"
    )
    for title, slow, fast in (
        ("forward", loop.forward_sec, ours.forward_sec),
        ("forward and backward", loop.both_sec, ours.both_sec),
    ):
        ratio = median_ratio(slow, fast)
        print(f"  {title:34} {1000 * statistics.median(fast):.1f} ms, {ratio:.0f} times as fast")


def main() -> None:
    arguments = parse_options(__doc__)
    compare_pooling(num_rounds=10)

    batches = draw_batches(arguments.speech_sec, arguments.speaker_sec)
    print(
        f"{arguments.architecture}, {arguments.speech_sec} s of speech, "
        f"{arguments.speaker_sec} s of speakers, {arguments.num_threads} threads, "
        f"{arguments.clock} time, {arguments.num_steps} rounds"
    )
    build = partial(build_variant_step, architecture=arguments.architecture)
    # Memory first, since a process begins with the peak of the one that starts it. Each variant
    # takes turns with the plain one alone: all at once would not fit into the memory of a laptop.
    memory_gib = {
        name: peak_memory_gib(build, overrides, batches, arguments.num_threads)
        for name, overrides in VARIANTS.items()
    }
    print(f"  {PLAIN:34} {memory_gib[PLAIN]:5.2f} GiB")
    plain = build(VARIANTS[PLAIN])
    for name, overrides in VARIANTS.items():
        if name == PLAIN:
            continue
        steps = {PLAIN: plain, name: build(overrides)}
        durations_sec, _ = measure(
            steps, batches, num_steps=arguments.num_steps, clock=CLOCKS[arguments.clock]
        )
        ratio = median_ratio(durations_sec[name], durations_sec[PLAIN])
        print(
            f"  {name:34} {memory_gib[name]:5.2f} GiB  "
            f"{statistics.median(durations_sec[name]):.2f} s, {ratio:.2f} times the plain step",
            flush=True,
        )


if __name__ == "__main__":
    main()
