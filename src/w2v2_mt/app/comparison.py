"""Two runs that were tested on the same data: how far apart they are, and whether by chance."""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from w2v2_mt.app.console import plain_console
from w2v2_mt.app.new_results import check_is_new, run_writing, written_whole
from w2v2_mt.app.run_folder import METRICS_FILE, RunFolder, TrialScores
from w2v2_mt.core.keys import speaker_of
from w2v2_mt.metrics.bootstrap import NUM_RESAMPLES, SEED, Interval
from w2v2_mt.metrics.paired import (
    PairedDifference,
    equal_error_rate_difference,
    error_rate_difference,
)
from w2v2_mt.metrics.verification import equal_error_rate
from w2v2_mt.metrics.word_error_rate import error_rate, word_edits
from w2v2_mt.tasks.transcripts import Transcript, texts_of


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One error rate of two runs on the utterances of a set, or trials of a list, of both.

    Rates are fractions; `difference` is b less a, with an interval of 95 %. It has neither interval
    nor p value where all is of one speaker.
    """

    metric: str
    name: str
    num_common: int
    num_only_a: int
    num_only_b: int
    a: float
    b: float
    difference: float
    interval: Interval | None
    p_value: float | None


def compare_runs(run_a: RunFolder, run_b: RunFolder) -> list[Comparison]:
    """Each set and each trial list that both runs were tested on.

    Raises ValueError for a run that was not tested, for runs without a set or list in common, and
    for utterances or trials that are not the same in both.
    """
    for run in (run_a, run_b):
        if not run.metrics:
            raise ValueError(
                f"{run.path} has no {METRICS_FILE}, which a run writes after its test; wait until "
                "it has finished, or go on with it in its folder."
            )
    comparisons = [
        *_in_both("wer", run_a.transcripts(), run_b.transcripts(), _compare_words),
        *_in_both("eer", run_a.trial_scores(), run_b.trial_scores(), _compare_trials),
    ]
    if not comparisons:
        raise ValueError(
            f"{run_a.path} and {run_b.path} were tested on no set or trial list in common; compare "
            "runs of the same task and data."
        )
    return comparisons


def _in_both(
    metric: str,
    of_a: Mapping[str, Any],
    of_b: Mapping[str, Any],
    compare: Callable[[Any, Any, str], dict[str, Any]],
) -> list[Comparison]:
    return [
        Comparison(metric=metric, name=name, **compare(of_a[name], of_b[name], name))
        for name in of_a
        if name in of_b
    ]


def _compare_words(
    of_a: Sequence[Transcript], of_b: Sequence[Transcript], name: str
) -> dict[str, Any]:
    rows_a, rows_b = ({row.key: row for row in rows} for rows in (of_a, of_b))
    common = [key for key in rows_a if key in rows_b]
    for key in common:
        if rows_a[key].reference != rows_b[key].reference:
            raise ValueError(
                f"utterance {key} of set {name} has another reference in the second run; compare "
                "runs that were tested on the same shards."
            )
    _check_some(common, f"utterance of set {name}")
    edits_a, edits_b = (
        word_edits(*texts_of([rows[key] for key in common])) for rows in (rows_a, rows_b)
    )
    rates = error_rate(edits_a), error_rate(edits_b)
    speakers = [speaker_of(key) for key in common]
    paired = None
    if len(set(speakers)) > 1:
        paired = error_rate_difference(
            ([edit.num_errors for edit in edits_a], [edit.num_errors for edit in edits_b]),
            [edit.num_references for edit in edits_a],
            speakers,
            num_resamples=NUM_RESAMPLES,
            seed=SEED,
        )
    return _facts(len(common), len(rows_a), len(rows_b), rates, paired)


def _compare_trials(of_a: TrialScores, of_b: TrialScores, name: str) -> dict[str, Any]:
    scores_a, scores_b = map(_score_by_trial, (of_a, of_b))
    common = [trial for trial in scores_a if trial in scores_b]
    _check_some(common, f"trial of list {name}")
    labels = [label for label, *_ in common]
    scores = [scores_a[trial] for trial in common], [scores_b[trial] for trial in common]
    pairs = [(speaker_of(left), speaker_of(right)) for _, left, right, _ in common]
    rates = equal_error_rate(scores[0], labels)[0], equal_error_rate(scores[1], labels)[0]
    paired = equal_error_rate_difference(
        scores, labels, pairs, num_resamples=NUM_RESAMPLES, seed=SEED
    )
    return _facts(len(common), len(scores_a), len(scores_b), rates, paired)


def _score_by_trial(trials: TrialScores) -> dict[tuple[int, str, str, int], float]:
    """By label, utterances and how often they came before: a trial that a list repeats counts."""
    num_seen: Counter[tuple[int, str, str]] = Counter()
    scores = {}
    for label, left, right, score in zip(
        trials.labels, trials.left_keys, trials.right_keys, trials.scores, strict=True
    ):
        trial = int(label), left, right
        repetition = (*trial, num_seen[trial])
        scores[repetition] = float(score)
        num_seen[trial] += 1
    return scores


def _check_some(common: Sequence[object], what: str) -> None:
    if not common:
        raise ValueError(
            f"no {what} is in both runs; compare runs that were tested on the same data."
        )


def _facts(
    num_common: int,
    num_a: int,
    num_b: int,
    rates: tuple[float, float],
    paired: PairedDifference | None,
) -> dict[str, Any]:
    return {
        "num_common": num_common,
        "num_only_a": num_a - num_common,
        "num_only_b": num_b - num_common,
        "a": rates[0],
        "b": rates[1],
        "difference": rates[1] - rates[0],
        "interval": None if paired is None else paired.interval,
        "p_value": None if paired is None else paired.p_value,
    }


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Rates in per cent, differences in points of it."""
    table = Table("rate", title="B against A, on what both were tested on")
    for heading in ("in both", "A", "B", "B - A", "95 % interval", "p"):
        table.add_column(heading, justify="right")
    for one in comparisons:
        interval = "one speaker"
        if one.interval is not None:
            interval = " to ".join(f"{100 * bound:+.2f}" for bound in one.interval)
        table.add_row(
            f"{one.metric.upper()} {one.name}, %",
            str(one.num_common),
            f"{100 * one.a:.2f}",
            f"{100 * one.b:.2f}",
            f"{100 * one.difference:+.2f}",
            interval,
            "-" if one.p_value is None else f"{one.p_value:.3f}",
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where the runs cannot be compared."""
    parser = argparse.ArgumentParser(
        description="Compare the word and equal error rates of two runs on what both were tested "
        "on: difference, 95 % interval and p value of a paired bootstrap over speakers."
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="folder of a run")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="folder of another")
    parser.add_argument("--output", type=Path, help="a new file, the numbers as JSON")
    options = parser.parse_args(arguments)
    return run_writing(lambda: _compared(options))


def _compared(options: argparse.Namespace) -> str:
    """What the command prints."""
    if options.output is not None:
        check_is_new(options.output, "file")
    comparisons = compare_runs(RunFolder(options.run_a), RunFolder(options.run_b))
    if options.output is not None:
        _write(options.output, comparisons)
    console = plain_console()
    with console.capture() as printed:
        console.print(f"A: {options.run_a}\nB: {options.run_b}", soft_wrap=True, highlight=False)
        console.print(comparison_table(comparisons))
        for one in comparisons:
            if one.num_only_a or one.num_only_b:
                what = "utterances" if one.metric == "wer" else "trials"
                console.print(
                    f"{one.metric.upper()} {one.name}: left out {one.num_only_a} {what} of A alone "
                    f"and {one.num_only_b} of B alone.",
                    soft_wrap=True,
                )
    return printed.get().rstrip("\n")


def _write(path: Path, comparisons: Sequence[Comparison]) -> None:
    with written_whole(path) as written:
        written.write_text(json.dumps([asdict(one) for one in comparisons], indent=2) + "\n")
