"""Measure what the demo with real speech learns, with several seeds.

Prepares an archive of Speech Commands and trains the experiment demo_real once for each seed, one
run after the other. Prints WER and EER on speakers that are neither in training nor in validation,
the time of each run, and the means with the standard deviations over the seeds. Runs whose results
are in the folder already are not repeated. --max_wer and --max_eer make the exit status 1 if a
mean is above them.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from training_run import read_duration_min, read_metrics, train

METRICS = {"WER": "test_wer_words", "EER": "test_eer_words"}
COMMAND = "run_mt_speech_speaker.py +experiment=demo_real data=speech_commands_joint"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="of Speech Commands, .tar.gz or .zip")
    parser.add_argument("folder", type=Path, help="for shards and runs")
    parser.add_argument("overrides", nargs="*", help="settings of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max_wer", type=float, default=1.0)
    parser.add_argument("--max_eer", type=float, default=1.0)
    options = parser.parse_intermixed_args()
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
        run = folder / f"seed_{seed}"
        arguments = [*COMMAND.split(), f"seed={seed}", *options.overrides]
        train(run, arguments, data_folder=folder)
        metrics = read_metrics(run)
        for name, values in rates.items():
            values.append(metrics[METRICS[name]])
        row = ", ".join(f"{name} {100 * values[-1]:.1f} %" for name, values in rates.items())
        print(f"seed {seed}: {row}, {read_duration_min(run):.1f} min", flush=True)
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
