"""Measure a joint training step on a CPU against an alternating step on the same audio.

Every utterance has a transcription and a speaker. The alternating step takes the batch of each task
through the network, one after the other, as `data.mode=alternate` does; the joint step
(`data.mode=joint`) takes it once, for both heads. Both train the network of a multi-task run, from
the same random weights, without regularisation, and take turns. Their losses must agree.
"""

import statistics
from typing import Any

import torch
from default_settings import random_upstream
from train_step import (
    CLOCKS,
    LOSS_TOLERANCE,
    NUM_TOKENS,
    NUM_TOKENS_PER_SEC,
    build_network,
    build_step,
    build_task,
    median_ratio,
    parse_options,
)

from w2v2_mt.core.batches import JointBatch, SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import JointSample, SpeakerSample, SpeechSample
from w2v2_mt.core.units import samples_from_seconds

ALTERNATING, JOINT = "alternating", "joint"
HIGHEST_RATIO = 0.6


def draw_batch(durations_sec: list[float]) -> JointBatch:
    """Noise of these durations, each with drawn tokens and a speaker."""
    torch.manual_seed(1)
    samples = []
    for number, duration_sec in enumerate(durations_sec):
        key, speaker = str(number), str(number)
        waveform = torch.randn(samples_from_seconds(duration_sec))
        tokens = torch.randint(4, NUM_TOKENS, (round(NUM_TOKENS_PER_SEC * duration_sec),))
        labelled: dict[str, Any] = {
            "speech": SpeechSample(
                key=key, waveform=waveform, transcription="", tokens=tokens, speaker_id=speaker
            ),
            "speaker": SpeakerSample(
                key=key, waveform=waveform, speaker_id=speaker, speaker_index=number
            ),
        }
        samples.append(
            JointSample(key=key, waveform=waveform, speaker_id=speaker, labelled=labelled)
        )
    collate: dict[str, Any] = {"speech": SpeechBatch.collate, "speaker": SpeakerBatch.collate}
    return JointBatch.collate(samples, set_name="train", collate=collate)


def main() -> None:
    arguments = parse_options(__doc__, num_threads=1, clock="processor")
    clock = CLOCKS[arguments.clock]
    joint = draw_batch(arguments.speech_sec)
    batches: dict[str, Any] = {
        ALTERNATING: {task: joint.part(task) for task in joint.label_rows()},
        JOINT: joint,
    }
    steps = {}
    for mode in batches:
        settings = random_upstream(arguments.architecture, "network/regularisation=wav2vec2_none")
        steps[mode] = build_step(build_task(settings, build_network(settings)))
    durations_sec: dict[str, list[float]] = {mode: [] for mode in steps}
    losses: dict[str, list[float]] = {mode: [] for mode in steps}
    for number in range(1 + arguments.num_steps):
        for mode, step in steps.items():
            start = clock()
            losses[mode].append(step(batches[mode]))
            if number > 0:  # The first round is not timed.
                durations_sec[mode].append(clock() - start)
    for alternating, other in zip(losses[ALTERNATING], losses[JOINT], strict=True):
        if abs(alternating - other) > LOSS_TOLERANCE * abs(alternating):
            raise SystemExit(f"the joint step has the loss {other}, the alternating {alternating}")
    ratio = median_ratio(durations_sec[JOINT], durations_sec[ALTERNATING])
    print(
        f"{arguments.architecture}, {arguments.num_threads} threads, {arguments.clock} time, "
        f"{arguments.num_steps} steps in turns, utterances of {arguments.speech_sec} s"
    )
    for mode, durations in durations_sec.items():
        print(f"  {mode:12} {statistics.median(durations):6.2f} s")
    print(f"  a joint step takes {ratio:.2f} of an alternating one (at most {HIGHEST_RATIO})")
    if ratio > HIGHEST_RATIO:
        raise SystemExit(f"the ratio {ratio:.2f} must be at most {HIGHEST_RATIO}")


if __name__ == "__main__":
    main()
