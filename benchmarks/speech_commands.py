"""Measure what the demo with real speech learns, with several seeds.

Prepares an archive of Speech Commands and trains the experiment demo_real once for each seed, one
run after the other. Prints WER and EER on speakers that are neither in training nor in validation,
the time of each run, and the means with the standard deviations over the seeds. Runs whose results
are in the folder already are not repeated. --max_wer and --max_eer make the exit status 1 if a
mean is above them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

METRICS = {"WER": "test_wer_words", "EER": "test_eer_words"}
DURATION_FILE = "benchmark_duration_sec"
PROJECT = Path(__file__).parents[1]


def train(seed: int, *, folder: Path, overrides: list[str]) -> Path:
    """Train and test with a seed, unless that is done; return the folder of the run."""
    run = folder / f"seed_{seed}"
    if not (run / DURATION_FILE).is_file():
        start = time.monotonic()
        subprocess.run(
            [
                *(sys.executable, PROJECT / "run_mt_speech_speaker.py", "+experiment=demo_real"),
                *("data=speech_commands_joint", f"hydra.run.dir='{run}'", f"seed={seed}"),
                *overrides,
            ],
            check=True,
            env={
                **os.environ,
                "DATA_FOLDER": str(folder),
                "LOG_FOLDER": str(folder / "logs"),
                "TEMP_FOLDER": str(folder / "temp"),
                "USE_WANDB": "false",
                "NUM_GPUS": "0",
            },
            stdout=subprocess.DEVNULL,
        )
        (run / DURATION_FILE).write_text(f"{time.monotonic() - start:.0f}")
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="of Speech Commands, .tar.gz or .zip")
    parser.add_argument("folder", type=Path, help="for shards and runs")
    parser.add_argument("overrides", nargs="*", help="settings of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max_wer", type=float, default=1.0)
    parser.add_argument("--max_eer", type=float, default=1.0)
    options = parser.parse_args()
    folder = options.folder.resolve()
    subprocess.run(
        [
            *(sys.executable, "-m", "w2v2_mt", "prepare", "speech_commands"),
            *("--data_folder", folder, "--archive", options.archive.resolve()),
        ],
        check=True,
    )
    rates: dict[str, list[float]] = {name: [] for name in METRICS}
    for seed in options.seeds:
        run = train(seed, folder=folder, overrides=options.overrides)
        metrics = json.loads((run / "metrics.json").read_text())
        for name, values in rates.items():
            values.append(metrics[METRICS[name]])
        row = ", ".join(f"{name} {100 * values[-1]:.1f} %" for name, values in rates.items())
        minutes = int((run / DURATION_FILE).read_text()) / 60
        print(f"seed {seed}: {row}, {minutes:.1f} min", flush=True)
    means = {name: statistics.fmean(values) for name, values in rates.items()}
    if len(options.seeds) > 1:
        for name, values in rates.items():
            deviation = statistics.stdev(values)
            print(f"{name}: {100 * means[name]:.1f} +- {100 * deviation:.1f} %")
    limits = {"WER": options.max_wer, "EER": options.max_eer}
    too_high = [name for name in METRICS if means[name] > limits[name]]
    for name in too_high:
        print(f"The mean {name} is above {100 * limits[name]:.1f} %.")
    return 1 if too_high else 0


if __name__ == "__main__":
    sys.exit(main())
