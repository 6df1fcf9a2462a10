"""Train both tasks in several ways on one budget of audio, with several seeds, and compare them.

The audio that enters the network in a step is the same for every way: the one batch of a single
task or of joint training is as long as the two batches of an alternating step together. The table
in Markdown has the error rates on the test sets, as means with standard deviations over the seeds,
and their differences to the first way with 95 % intervals and p values of the paired test of
`w2v2-mt compare`, which covers other speakers and other seeds. Runs whose results are in the folder
already are not repeated.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from training_run import read_duration_min, read_metrics, train

from w2v2_mt.report.comparison import Comparison, compare_runs
from w2v2_mt.runs.run_folder import RunFolder

SPEECH, SPEAKER, BOTH = "run_speech.py", "run_speaker.py", "run_mt_speech_speaker.py"
EQUAL = "optim.loss.static_speech_weight=0.5"
BRANCHED = "sharing=branched network.num_shared_transformers=2"


@dataclass(frozen=True)
class Corpus:
    """The ways of training on a corpus; all are compared with the first.

    Args:
        scripts: The settings of each script, whatever the way.
        alternating: The settings of batches of half the audio.
        ways: The script and the settings of each way.
    """

    scripts: Mapping[str, str]
    alternating: str
    ways: Mapping[str, tuple[str, str]]

    def command(self, way: str) -> str:
        """Return the script and all settings of a way, but for the seed."""
        script, settings = self.ways[way]
        alternating = f" {self.alternating}" if way.startswith("alternating") else ""
        return f"{script} {self.scripts[script]}{alternating} {settings}".strip()


CORPORA = {
    "speech_commands": Corpus(
        scripts={
            SPEECH: "+experiment=speech_words data=speech_commands_speech",
            SPEAKER: "+experiment=speaker_words data=speech_commands_speaker",
            BOTH: "+experiment=demo_real data=speech_commands_joint",
        },
        alternating="data.mode=alternate speech.dataloader.train_max_num_samples=256_000",
        ways={
            "alternating, plain": (BOTH, f"sharing=plain {EQUAL}"),
            "alternating, plain, speech weight 0.88": (
                BOTH,
                "sharing=plain optim.loss.static_speech_weight=0.88",
            ),
            "alternating, branched": (BOTH, f"{BRANCHED} {EQUAL}"),
            "alternating, split": (
                BOTH,
                f"sharing=split network.num_speaker_dimensions=48 {EQUAL}",
            ),
            "alternating, ctc_pool": (BOTH, f"sharing=ctc_pool {EQUAL}"),
            "joint, plain": (BOTH, f"sharing=plain {EQUAL}"),
            "joint, branched": (BOTH, f"{BRANCHED} {EQUAL}"),
            "speech alone": (SPEECH, ""),
            "speaker alone": (SPEAKER, ""),
        },
    ),
    "librispeech": Corpus(
        scripts={
            BOTH: "data=librispeech_joint speech.dataloader.train_max_num_samples=640_000 "
            "+size=tiny"
        },
        alternating="data.mode=alternate speech.dataloader.train_max_num_samples=320_000 "
        "speaker.dataloader.train_batch_size=10 "
        "speaker.pipeline.selector_train.desired_chunk_length_sec=2",
        ways={"alternating, plain": (BOTH, ""), "joint, plain": (BOTH, "")},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("data_folder", type=Path, help="holds the prepared shards")
    parser.add_argument("folder", type=Path, help="for the runs")
    parser.add_argument("settings", nargs="*", help="settings of all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread")
    options = parser.parse_intermixed_args()
    corpus = CORPORA[options.corpus]
    folders = {
        way: [options.folder.resolve() / _file_name(way) / str(seed) for seed in options.seeds]
        for way in corpus.ways
    }

    def run(way: str, seed: int, folder: Path) -> None:
        arguments = [*corpus.command(way).split(), *options.settings, f"seed={seed}"]
        train(folder, arguments, data_folder=options.data_folder.resolve(), num_threads=1)
        print(f"{way}, seed {seed}: {read_duration_min(folder):.1f} min", flush=True)

    with ThreadPoolExecutor(options.processes) as pool:
        # One seed of every way after the other, so that a stopped benchmark has whole seeds.
        started = [
            pool.submit(run, way, seed, folders[way][number])
            for number, seed in enumerate(options.seeds)
            for way in corpus.ways
        ]
        for each in started:
            each.result()
    print_table(folders)
    for way in corpus.ways:
        print(f"- {way}: `{' '.join(['python', corpus.command(way), *options.settings])}`")


def print_table(folders: Mapping[str, Sequence[Path]]) -> None:
    """Print the rates of each way and their differences to the first, by test set."""
    baseline, *others = folders
    comparisons = {
        way: compare_runs(
            [RunFolder(folder) for folder in folders[baseline]],
            [RunFolder(folder) for folder in folders[way]],
        )
        for way in others
    }
    rates = list(
        dict.fromkeys(
            (one.metric, one.name)
            for compared in comparisons.values()
            for one in compared
            if one.name != "val"  # It chose the checkpoints.
        )
    )
    print("| way | " + " | ".join(f"{m.upper()} {n}, % | difference" for m, n in rates) + " |")
    print("|---|" + "---|" * 2 * len(rates))
    for way in folders:
        metrics = [read_metrics(folder) for folder in folders[way]]
        cells = []
        for metric, name in rates:
            values = [100 * of[key] for of in metrics if (key := f"test_{metric}_{name}") in of]
            cells.append(_mean_and_deviation(values))
            compared = (one for one in comparisons.get(way, []) if one.metric == metric)
            cells.append(_difference(next((one for one in compared if one.name == name), None)))
        print(f"| {way} | " + " | ".join(cells) + " |")


def _file_name(way: str) -> str:
    return way.replace(", ", "_").replace(" ", "_")


def _mean_and_deviation(values: Sequence[float]) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{deviation}"


def _difference(one: Comparison | None) -> str:
    if one is None or one.interval is None:
        return ""
    low, high = (100 * each for each in one.interval)
    assert one.p_value is not None
    p_value = "< 0.001" if one.p_value < 0.001 else f"= {one.p_value:.3f}"
    return f"{100 * one.difference:+.1f} ({low:+.1f} to {high:+.1f}, p {p_value})"


if __name__ == "__main__":
    main()
