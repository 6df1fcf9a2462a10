"""Measure training steps on a GPU against the plain recipe of plain_recipe.py, in a few minutes.

One step of both tasks on the batches of the paper: 66 chunks of 3 s for the speakers and 22
utterances of 9 s for speech. Random weights, the convolutions frozen, the transformer trained, no
regularisation. Each recipe takes turns with the plain one of the same architecture. Times are those
of CUDA events; useful FLOPs and the peak memory of the recipe alone are given with them. After each
row the JSON file is written again, so that a stopped run loses one row at most. The last row
reads shards of noise, to compare the DataLoader with each step.

On a machine without a GPU, `--tiny` runs everything with a small network on the CPU.
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from data_loading import training_loader, write_data_folder
from default_settings import default_settings
from gpu_recipes import PRECISIONS, TYPES, Recipe, build_step, list_recipes
from gpu_waits import find_waits
from torch import Tensor
from train_step import Batches, draw_batches

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.training.device_peaks import find_peak

NUM_WARMUP_STEPS = 3
ROUND_SEC = 0.5
"""The shortest time of a round of steps, which hides the cost of reading the clock."""

MAX_STEPS_OF_ROUND = 20

MIN_COMPILE_SEC = 60
"""The least time in which a row that compiles may be begun."""


@dataclass(kw_only=True)
class Built:
    """A recipe on the device.

    Args:
        step: Takes a training step and returns its loss, which it does not read.
        flops: The useful operations of a step.
        memory_gib: The peak memory of its first steps, without what the device held before.
        step_sec: The time of a step after the first ones.
    """

    step: Callable[[], Tensor]
    flops: float
    losses: list[float] = field(default_factory=list)
    memory_gib: float | None = None
    step_sec: float = 0.0


class Bench:
    """The device, the batches and what was measured so far."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        self.deadline = time.monotonic() + 60 * arguments.minutes
        on_host = draw_batches(arguments.speech_sec, arguments.speaker_sec)
        self.lengths = [batch.read_lengths() for batch in on_host.values()]
        self.audio_sec = seconds_from_samples(sum(sum(each.num_samples) for each in self.lengths))
        self.batches: Batches = {task: each.to(self.device) for task, each in on_host.items()}
        self.baselines: dict[tuple[str, str], Built] = {}
        self.rows: list[dict[str, Any]] = []
        self.loader: dict[str, Any] = {}
        self._longest_row_sec = 0.0

    def has_time(self, *, least_sec: float) -> bool:
        """Return True if another row, as long as the longest one or this time, ends in time."""
        return time.monotonic() + max(least_sec, self._longest_row_sec) < self.deadline

    def add_row(self, recipe: Recipe) -> None:
        """Measure a recipe; a failure is a row too."""
        row: dict[str, Any] = {
            "name": recipe.name, "architecture": recipe.architecture, "precision": recipe.precision,
        }  # fmt: skip
        started = time.monotonic()
        if not self.has_time(least_sec=MIN_COMPILE_SEC if recipe.is_compiled else 0):
            row["skipped"] = "no time is left"
        else:
            try:
                row |= self._measure(recipe)
            except Exception as error:  # The first run on a new device; the other rows are wanted.
                traceback.print_exc()
                row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        row["row_sec"] = round(time.monotonic() - started, 1)
        self._longest_row_sec = max(self._longest_row_sec, row["row_sec"])
        self.rows.append(row)
        self.write()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        print(json.dumps(row), flush=True)

    def _measure(self, recipe: Recipe) -> dict[str, Any]:
        key = (recipe.architecture, recipe.precision)
        if recipe == recipe.baseline:
            self.baselines[key] = built = self._build(recipe)
            durations_sec, _, launch_sec = self._take_turns(built, None)
            return self._describe(recipe, built, durations_sec, launch_sec)
        if key not in self.baselines:
            self.baselines[key] = self._build(recipe.baseline)
        baseline, built = self.baselines[key], self._build(recipe)
        durations_sec, others_sec, launch_sec = self._take_turns(built, baseline)
        ratios = [other / own for own, other in zip(durations_sec, others_sec, strict=True)]
        row = self._describe(recipe, built, durations_sec, launch_sec)
        row |= {
            "times_as_fast_as_plain": statistics.median(ratios),
            "times_as_fast_range": [min(ratios), max(ratios)],
        }
        return row | find_waits(self.device, built.step)

    def _build(self, recipe: Recipe) -> Built:
        """Build a recipe and take its first steps, of which the memory is that of the recipe."""
        held = 0
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            held = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        step, flops = build_step(recipe, self.device, self.batches, self.lengths)
        built = Built(step=step, flops=flops)
        built.losses = [float(step()) for _ in range(NUM_WARMUP_STEPS)]
        if self.device.type == "cuda":
            built.memory_gib = (torch.cuda.max_memory_allocated(self.device) - held) / 2**30
        built.step_sec, _ = self._time(step, 1)
        return built

    def _take_turns(
        self, built: Built, baseline: Built | None
    ) -> tuple[list[float], list[float], float]:
        """Return the seconds of a step in each round, those of the baseline, and of a launch."""
        durations_sec: list[float] = []
        others_sec: list[float] = []
        launches_sec = []
        for _ in range(self.arguments.num_rounds):
            for each, seconds in ((baseline, others_sec), (built, durations_sec)):
                if each is not None:
                    num_steps = max(1, min(MAX_STEPS_OF_ROUND, round(ROUND_SEC / each.step_sec)))
                    duration_sec, launch_sec = self._time(each.step, num_steps)
                    seconds.append(duration_sec)
            launches_sec.append(launch_sec)
            if time.monotonic() > self.deadline:
                break
        return durations_sec, others_sec, statistics.median(launches_sec)

    def _time(self, step: Callable[[], Tensor], num_steps: int) -> tuple[float, float]:
        """Return the seconds of a step on the device, and those that the host took to launch it."""
        if self.device.type != "cuda":
            started = time.perf_counter()
            for _ in range(num_steps):
                step()
            duration_sec = (time.perf_counter() - started) / num_steps
            return duration_sec, duration_sec
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        started = time.perf_counter()
        start.record()
        for _ in range(num_steps):
            step()
        end.record()
        launch_sec = (time.perf_counter() - started) / num_steps
        torch.cuda.synchronize(self.device)
        return start.elapsed_time(end) / 1000 / num_steps, launch_sec

    def _describe(
        self, recipe: Recipe, built: Built, durations_sec: Sequence[float], launch_sec: float
    ) -> dict[str, Any]:
        step_sec = statistics.median(durations_sec)
        peak_tflops = find_peak(self.device, PRECISIONS[recipe.precision])
        return {
            "step_sec": step_sec,
            "launch_sec": launch_sec,
            "audio_per_sec": self.audio_sec / step_sec,
            "tflops_per_sec": built.flops / step_sec / 1e12,
            "mfu": peak_tflops and built.flops / step_sec / 1e12 / peak_tflops,
            "memory_gib": built.memory_gib,
            "num_rounds": len(durations_sec),
            "first_losses": built.losses,
        }

    def measure_loader(self) -> None:
        """Read batches of both tasks, with all the cores that the machine has."""
        num_workers = self.arguments.num_workers
        with tempfile.TemporaryDirectory() as folder:
            write_data_folder(Path(folder), num_utterances=self.arguments.num_utterances)
            settings = default_settings(
                f"data_folder={folder}",
                "data.speech.train_sets=[train_clean_100]",
                f"num_workers={max(1, num_workers // 2) if num_workers else 0}",
            )
            loaders = [iter(training_loader(task, settings)) for task in ("speech", "speaker")]
            for loader in loaders:
                next(loader)
            started, num_samples = time.perf_counter(), 0
            for _ in range(self.arguments.num_batches):
                num_samples += sum(int(next(loader).num_samples.sum()) for loader in loaders)
            audio_per_sec = seconds_from_samples(num_samples) / (time.perf_counter() - started)
        self.loader = {"num_workers": num_workers, "audio_per_sec": audio_per_sec}
        self.write()
        print(json.dumps(self.loader), flush=True)

    def write(self) -> None:
        """Write all rows; the headroom is the speed of the loader relative to that of a step."""
        for row in self.rows:
            if self.loader and "audio_per_sec" in row:
                row["loader_headroom"] = self.loader["audio_per_sec"] / row["audio_per_sec"]
        is_cuda = self.device.type == "cuda"
        content = {
            "device": torch.cuda.get_device_name(self.device) if is_cuda else "cpu",
            "torch": torch.__version__,
            "speech_sec": self.arguments.speech_sec,
            "speaker_sec": self.arguments.speaker_sec,
            "num_cores": len(os.sched_getaffinity(0)),
            "loader": self.loader,
            "rows": self.rows,
        }
        replace_text(self.arguments.output, json.dumps(content, indent=1) + "\n")


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "recipe": lambda row: row["name"],
    "step": lambda row: f"{1000 * row['step_sec']:.1f} ms",
    "times as fast as plain": lambda row: f"{row.get('times_as_fast_as_plain', 1):.2f}",
    "s of audio/s": lambda row: f"{row['audio_per_sec']:,.0f}",
    "MFU": lambda row: f"{100 * row['mfu']:.1f} %" if row["mfu"] else "-",
    "peak memory": lambda row: f"{row['memory_gib']:.1f} GiB" if row["memory_gib"] else "-",
    "loader headroom": lambda row: (
        f"{row['loader_headroom']:.1f}" if "loader_headroom" in row else "-"
    ),
}


def format_table(content: dict[str, Any]) -> str:
    """Return the rows as tables of a document, one for each architecture and precision."""
    parts = [f"{content['device']}, torch {content['torch']}"]
    groups = dict.fromkeys((row["architecture"], row["precision"]) for row in content["rows"])
    for architecture, precision in groups:
        rows = [
            row
            for row in content["rows"]
            if (row["architecture"], row["precision"]) == (architecture, precision)
        ]
        lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
        for row in rows:
            problem = row.get("failed") or row.get("skipped")
            cells = [row["name"], problem] if problem else [show(row) for show in COLUMNS.values()]
            lines.append(" | ".join([*cells, *[""] * (len(COLUMNS) - len(cells))]))
        parts.append("\n".join([f"{architecture}, {precision}:\n", *(f"| {x} |" for x in lines)]))
    return "\n\n".join(parts)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=8, help="no row is begun after them")
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--precision", choices=TYPES, default="bf16" if on_gpu else "fp32")
    parser.add_argument(
        "--architectures", nargs="+", default=["wav2vec2-base", "wav2vec2-large"], metavar="NAME"
    )
    parser.add_argument("--speech-sec", type=float, nargs="+", default=[9.0] * 22, metavar="SEC")
    parser.add_argument("--speaker-sec", type=float, nargs="+", default=[3.0] * 66, metavar="SEC")
    parser.add_argument("--num-rounds", type=int, default=4)
    parser.add_argument("--num-workers", type=int, default=len(os.sched_getaffinity(0)) - 1)
    parser.add_argument("--num-utterances", type=int, default=800, help="of noise, for the loader")
    parser.add_argument("--num-batches", type=int, default=30, help="of the loader")
    parser.add_argument("--groups", nargs="+", default=["main", "variants", "fp16", "compiled"])
    parser.add_argument("--tiny", action="store_true", help="a small network and short batches")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.architectures = ["smoke"]
        arguments.speech_sec, arguments.speaker_sec = [1.0, 1.0], [0.5, 0.5]
        arguments.num_rounds, arguments.num_workers = 2, 0
        arguments.num_utterances, arguments.num_batches = 60, 1
    return arguments


def main() -> None:
    arguments = parse_arguments()
    bench = Bench(arguments)
    if arguments.precision == "fp32":
        torch.set_float32_matmul_precision("high")
    recipes = {name: list_recipes(name, arguments.precision) for name in arguments.architectures}
    for group in arguments.groups:
        for architecture in arguments.architectures:
            for recipe in recipes[architecture][group]:
                bench.add_row(recipe)
        if group == arguments.groups[0]:
            bench.measure_loader()
    print(format_table(json.loads(arguments.output.read_text())))


if __name__ == "__main__":
    main()
