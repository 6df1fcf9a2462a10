"""Measure our training steps, prediction and data loading against what a user would take instead.

Each side does the same work in a process of its own, on the same model with random weights and the
same audio; the processes take turns. Figures are medians of CPU time, with the same number of
threads on all sides, and medians of the ratios of a round. What the sides computed is compared: the
losses of steps, embeddings, transcripts.

--environment names a folder for a virtual environment of the peers, which is made if it does not
exist. Without it, only peers that the environment of this project has are measured.

A row says "equal" if all utterances have one length. "padded" ones have different lengths, for
which the peers compute padding; there the losses of wav2vec2-base differ, since HuggingFace gives
models with group norm no mask.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from peer_inputs import write_audio, write_model
from peer_process import (
    OURS,
    PEER_PACKAGES,
    SIDES,
    Worker,
    is_installed,
    make_environment,
)

STEPS = [
    {"name": f"{name}, {precision}", "lengths": name, "precision": precision}
    for name in ("equal", "padded")
    for precision in ("float32", "bf16")
]
FILES: list[dict[str, Any]] = [{"name": "float32, flac files"}]
FORMATS = [{"name": name, "format": name} for name in ("flac", "wav")]


@dataclass(frozen=True)
class Work:
    """The work of these sides; `has_model` is False where it is the same for all models."""

    title: str
    unit: str
    sides: tuple[str, ...]
    variants: list[dict[str, Any]]
    has_model: bool = True


PER_AUDIO = "1,000 s of audio"
WORKS = {
    "speech_step": Work("CTC step", "step", (OURS, "HuggingFace", "SpeechBrain"), STEPS),
    "speaker_step": Work("AAM-softmax step", "step", (OURS, "SpeechBrain"), STEPS),
    "embed": Work("embed", PER_AUDIO, (OURS, "HuggingFace", "SpeechBrain"), FILES),
    "transcribe": Work("transcribe", PER_AUDIO, (OURS, "HuggingFace", "SpeechBrain"), FILES),
    "load": Work(
        "read and batch",
        PER_AUDIO,
        (OURS, "SpeechBrain", "lhotse files", "lhotse shar"),
        FORMATS,
        has_model=False,
    ),
}
NAMES_IN_RUNNER = {("load", "lhotse shar"): "load_shar"}


def difference(ours: dict[str, Any], peer: dict[str, Any]) -> str:
    """Return in words how a peer's result differs from ours; empty if it cannot be compared."""
    if "loss" in ours:
        return f"loss {abs(peer['loss'] / ours['loss'] - 1):.1e}"
    if "embeddings" in ours:
        cosines = []
        for key, embedding in ours["embeddings"].items():
            one, other = np.array(embedding), np.array(peer["embeddings"][key])
            cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        return f"cosine {min(cosines):.6f}"
    if "transcripts" in ours:
        same = [peer["transcripts"][key] == text for key, text in ours["transcripts"].items()]
        return f"{sum(same)} of {len(same)} equal"
    return f"padding {peer['padding_share']:.1%}, ours {ours['padding_share']:.1%}"


def measure(workers: list[Worker], variant: dict[str, Any], num_rounds: int) -> dict[str, Any]:
    """Return the medians of the seconds per unit of work by side, and of their ratios to ours."""
    seconds: dict[str, list[float]] = {worker.side: [] for worker in workers}
    results: dict[str, dict[str, Any]] = {}
    for number in range(1 + num_rounds):  # The first round is not timed.
        turn = number % len(workers)
        for worker in workers[turn:] + workers[:turn]:
            results[worker.side] = result = worker.ask(variant=variant)
            if number > 0:
                seconds[worker.side].append(result["cpu_sec"] / result["amount"])
    ours = seconds[OURS]
    peers = {}
    for side, durations in seconds.items():
        if side != OURS:
            ratios = [peer / own for peer, own in zip(durations, ours, strict=True)]
            peers[side] = {
                "cpu_sec": statistics.median(durations),
                "times_as_fast": statistics.median(ratios),
                "lowest_and_highest": [min(ratios), max(ratios)],
                "batch_size": results[side].get("batch_size"),
                "difference": difference(results[OURS], results[side]),
            }
    return {"cpu_sec": statistics.median(ours), "peers": peers}


def format_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table: ours, each peer, and how many times as fast ours is."""
    lines = [
        "| work | model | ours | peer | peer's CPU time | ours is faster by | fastest | results |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        begin = f"| {row['work']} ({row['unit']}) | {row['model']} | {row['cpu_sec']:.3g} s |"
        by_side = {OURS: row["cpu_sec"]}
        by_side |= {name: peer["cpu_sec"] for name, peer in row["peers"].items()}
        fastest = min(by_side, key=by_side.__getitem__)
        for name, peer in row["peers"].items():
            size = f", batches of {peer['batch_size']}" if peer["batch_size"] else ""
            lowest, highest = peer["lowest_and_highest"]
            lines.append(
                f"{begin} {name}{size} | {peer['cpu_sec']:.3g} s | {peer['times_as_fast']:.2f} "
                f"({lowest:.2f} to {highest:.2f}) | {fastest} | {peer['difference']} |"
            )
        lines += [f"{begin} {name} | not installed | | | |" for name in row["not_installed"]]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environment", type=Path, help="folder of the environment of the peers")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--architectures", nargs="+", default=["tiny", "wav2vec2-base"])
    parser.add_argument("--audio", type=Path, help="folder of audio files, in place of noise")
    parser.add_argument("--num-utterances", type=int, default=1000)
    parser.add_argument("--num-rounds", type=int, default=3, help="timed rounds of each work")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--padded-sec", type=float, nargs="+", default=[6.0, 5.0, 4.0, 3.0])
    parser.add_argument("--max-batch-sec", type=int, default=200, help="of loaded batches")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    python: str | Path = sys.executable
    if arguments.environment is not None:
        python = make_environment(arguments.environment.resolve())
    padded_sec = arguments.padded_sec
    durations_sec = {
        "equal": [statistics.mean(padded_sec)] * len(padded_sec),
        "padded": padded_sec,
    }
    print(
        f"{platform.processor() or platform.machine()}, {arguments.num_threads} thread(s), torch "
        f"{version('torch')}, transformers {version('transformers')}, {', '.join(PEER_PACKAGES)}; "
        f"steps of {durations_sec} s; {arguments.num_utterances} utterances; loaded batches of "
        f"{arguments.max_batch_sec} s; {arguments.num_rounds} rounds",
        flush=True,
    )
    installed = [side for side in SIDES if side == OURS or is_installed(python, side)]
    needed = {side for work in arguments.works for side in WORKS[work].sides}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_audio(folder / "audio", arguments.audio, arguments.num_utterances)
        workers = {}
        for side in filter(needed.__contains__, installed):
            of_side = sys.executable if side == OURS else python
            workers[side] = Worker(of_side, side, num_threads=arguments.num_threads, folder=folder)
            stack.callback(workers[side].close)
        for architecture in arguments.architectures:
            write_model(folder / architecture, architecture)
            for work_name in arguments.works:
                work = WORKS[work_name]
                if not work.has_model and architecture != arguments.architectures[0]:
                    continue
                own = [workers[side] for side in work.sides if side in workers]
                for worker in own:
                    job = {
                        "work": NAMES_IN_RUNNER.get((work_name, worker.side), work_name),
                        "model": str(folder / architecture),
                        "audio": str(folder / "audio"),
                        "output": str(folder),
                        "num_threads": arguments.num_threads,
                        "max_batch_sec": arguments.max_batch_sec,
                        "batch_sizes": arguments.batch_sizes,
                    }
                    worker.ask(job=job)
                for variant in work.variants:
                    if "lengths" in variant:
                        variant = variant | {"durations_sec": durations_sec[variant["lengths"]]}
                    row = {
                        "work": f"{work.title}, {variant['name']}",
                        "unit": work.unit,
                        "model": architecture if work.has_model else "-",
                        **measure(own, variant, arguments.num_rounds),
                        "not_installed": [each for each in work.sides if each not in installed],
                    }
                    rows.append(row)
                    print(*format_table([row]).splitlines()[2:], sep="\n", flush=True)
    print(f"\n{format_table(rows)}")
    if arguments.output is not None:
        options = {key: str(value) for key, value in vars(arguments).items()}
        arguments.output.write_text(json.dumps({"options": options, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
