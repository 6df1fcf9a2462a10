"""The comparison of two runs on the data that both were tested on."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from rich.table import Table

from w2v2_mt.core.atomic_output import atomic_output, check_is_new
from w2v2_mt.core.console import plain_console, print_table
from w2v2_mt.core.samples import speaker_of
from w2v2_mt.core.units import count
from w2v2_mt.metrics.paired_difference import (
    Interval,
    PairedDifference,
    equal_error_rate_difference,
    error_rate_difference,
)
from w2v2_mt.metrics.verification import equal_error_rate
from w2v2_mt.metrics.word_error_rate import error_rate, word_edits
from w2v2_mt.runs.run_folder import METRICS_FILE, RunFolder, TrialScores
from w2v2_mt.tasks.transcripts import Transcript, texts_of

Item = TypeVar("Item")

FEW_SPEAKERS = 8
"""With fewer, the variance over speakers is hardly known."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An error rate of two runs, as fractions, on the utterances or trials that both have.

    Args:
        metric: `wer` or `eer`.
        name: The test set or trial list.
        num_only_a: Those of the first run alone, which are excluded.
        difference: b minus a.
        interval: 95 % interval of the difference; None if there is one speaker only.
        p_value: p value of the difference; below 0.05 if and only if the interval excludes 0. None
            if there is one speaker only.
        num_speakers: The speakers of these utterances or trials.
        warnings: What limits the comparison, in sentences.
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
    num_speakers: int
    warnings: Sequence[str] = ()


def compare_runs(
    run_a: RunFolder | Sequence[RunFolder], run_b: RunFolder | Sequence[RunFolder]
) -> list[Comparison]:
    """Compare two runs on each set and each trial list that both were tested on.

    Each side may be several runs that differ in their seed. Their mean rates are compared, and the
    interval covers other speakers and other seeds.

    Raises:
        ValueError: A run was not tested, nothing is common to all, or references differ.
    """
    runs_a, runs_b = ([each] if isinstance(each, RunFolder) else [*each] for each in (run_a, run_b))
    runs = [*runs_a, *runs_b]
    for run in runs:
        if not run.metrics:
            raise ValueError(
                f"{run.path} has no {METRICS_FILE}, which a run writes after its test. Wait "
                "until it has finished, or resume it."
            )
    comparisons = []
    words, trials = [run.transcripts() for run in runs], [run.trial_scores() for run in runs]
    for name in words[0]:
        if all(name in of_run for of_run in words):
            comparisons.append(_compare_words(name, [each[name] for each in words], len(runs_a)))
    for name in trials[0]:
        if all(name in of_run for of_run in trials):
            folders = [run.path for run in runs]
            scores = [each[name] for each in trials]
            comparisons.append(_compare_trials(name, scores, len(runs_a), folders))
    if not comparisons:
        raise ValueError(
            f"{' and '.join(str(run.path) for run in runs)} were tested on no set or trial list in "
            "common; compare runs of the same task and data."
        )
    return comparisons


def _compare_words(name: str, runs: Sequence[Sequence[Transcript]], num_a: int) -> Comparison:
    rows = [{row.key: row for row in of_run} for of_run in runs]
    common = _find_common(rows, f"utterance of set {name}")
    for key in common:
        if len({of_run[key].reference for of_run in rows}) > 1:
            raise ValueError(
                f"utterance {key} of set {name} has another reference in the second run; compare "
                "runs that were tested on the same shards."
            )
    edits = [word_edits(*texts_of([of_run[key] for key in common])) for of_run in rows]
    named = {key: row for of_run in rows for key, row in of_run.items() if row.speaker_id}
    speakers = [named.get(key, rows[0][key]).speaker for key in common]
    paired = None
    num_speakers = len(set(speakers))
    if num_speakers > 1:
        errors = [[edit.num_errors for edit in of_run] for of_run in edits]
        num_references = [edit.num_references for edit in edits[0]]
        paired = error_rate_difference(errors[:num_a], errors[num_a:], num_references, speakers)
    rates = [error_rate(of_run) for of_run in edits]
    is_flat = any("/" not in key and key not in named for key in common)
    numbers = _numbers(common, rows, num_a)
    return _comparison("wer", name, numbers, _means(rates, num_a), paired, num_speakers, is_flat)


def _compare_trials(
    name: str, runs: Sequence[TrialScores], num_a: int, folders: Sequence[Path]
) -> Comparison:
    by_trial = [_score_by_trial(of_run) for of_run in runs]
    common = _find_common(by_trial, f"trial of list {name}")
    labels = [label for label, *_ in common]
    scores = [[of_run[trial] for trial in common] for of_run in by_trial]
    named = {key: speaker for of_run in runs for key, speaker in of_run.speakers.items()}
    pairs = [(speaker_of(left, named), speaker_of(right, named)) for _, left, right, _ in common]
    is_flat = any("/" not in key and key not in named for trial in common for key in trial[1:3])
    rates = []
    for folder, of_run in zip(folders, scores, strict=True):
        try:
            rates.append(equal_error_rate(of_run, labels)[0])
        except ValueError as error:
            raise ValueError(f"The trial list {name} of {folder}: {error}") from error
    paired = None
    num_speakers = len({speaker for pair in pairs for speaker in pair})
    if num_speakers > 1:
        paired = equal_error_rate_difference(scores[:num_a], scores[num_a:], labels, pairs)
    numbers = _numbers(common, by_trial, num_a)
    return _comparison("eer", name, numbers, _means(rates, num_a), paired, num_speakers, is_flat)


def _means(rates: Sequence[float], num_a: int) -> tuple[float, float]:
    return fmean(rates[:num_a]), fmean(rates[num_a:])


def _numbers(
    common: Sequence[Item], runs: Sequence[Collection[Item]], num_a: int
) -> tuple[int, int, int]:
    """Return the number of common items, and that of all items of each side."""
    sides = (set().union(*side) for side in (runs[:num_a], runs[num_a:]))
    num_of_a, num_of_b = (len(items) for items in sides)
    return len(common), num_of_a, num_of_b


def _score_by_trial(trials: TrialScores) -> dict[tuple[int, str, str, int], float]:
    """Return the scores by label, utterances and number of repetitions of the trial in its list."""
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


def _find_common(runs: Sequence[Collection[Item]], what: str) -> list[Item]:
    common = [item for item in runs[0] if all(item in of_run for of_run in runs[1:])]
    if not common:
        raise ValueError(
            f"no {what} is in both runs; compare runs that were tested on the same data."
        )
    return common


def _comparison(
    metric: str,
    name: str,
    numbers: tuple[int, int, int],
    rates: tuple[float, float],
    paired: PairedDifference | None,
    num_speakers: int,
    is_flat: bool,
) -> Comparison:
    num_common, num_a, num_b = numbers
    warnings = []
    if is_flat:
        warnings.append(
            "The folders store no speakers and the keys name none, so each utterance counts as a "
            "speaker of its own, and the interval may be too narrow. Test the checkpoints again "
            "(fit_model=false) on shards whose json has speaker_id."
        )
    if 1 < num_speakers < FEW_SPEAKERS:
        warnings.append(
            f"The interval and p value rest on {num_speakers} speakers and are unreliable with "
            f"fewer than {FEW_SPEAKERS}. Test on more speakers."
        )
    return Comparison(
        metric=metric,
        name=name,
        num_common=num_common,
        num_only_a=num_a - num_common,
        num_only_b=num_b - num_common,
        a=rates[0],
        b=rates[1],
        difference=rates[1] - rates[0],
        interval=None if paired is None else paired.interval,
        p_value=None if paired is None else paired.p_value,
        num_speakers=num_speakers,
        warnings=warnings,
    )


def print_comparison(
    folders_a: Sequence[Path], folders_b: Sequence[Path], *, output: Path | None
) -> None:
    """Print a table of the comparisons of two runs, and write them as JSON if there is an output.

    Each side may be several runs that differ in their seed.

    The table has rates in per cent and differences in percentage points.

    Raises:
        ValueError: The output cannot be written, or the runs cannot be compared.
    """
    if output is not None:
        check_is_new(output, "file")
    comparisons = compare_runs(
        [RunFolder(folder) for folder in folders_a], [RunFolder(folder) for folder in folders_b]
    )
    if output is not None:
        with atomic_output(output) as written:
            written.write_text(json.dumps([asdict(one) for one in comparisons], indent=2) + "\n")
    console = plain_console()
    for side, folders in (("A", folders_a), ("B", folders_b)):
        names = ", ".join(map(str, folders))
        console.print(f"{side}: {names}", soft_wrap=True, highlight=False)
    table = Table("rate", title="B against A, on what both were tested on")
    for heading in ("in both", "A", "B", "B - A", "95 % interval", "p"):
        table.add_column(heading, justify="right")
    remarks = []
    for one in comparisons:
        title = f"{one.metric.upper()} {one.name}"
        bounds = None if one.interval is None else [f"{100 * each:+.2f}" for each in one.interval]
        table.add_row(
            f"{title}, %",
            str(one.num_common),
            f"{100 * one.a:.2f}",
            f"{100 * one.b:.2f}",
            f"{100 * one.difference:+.2f}",
            "one speaker" if bounds is None else " to ".join(bounds),
            "-" if one.p_value is None else f"{one.p_value:.3f}",
        )
        if one.num_only_a or one.num_only_b:
            item = "utterance" if one.metric == "wer" else "trial"
            remarks.append(
                f"{title}: excluded {count(one.num_only_a, item)} of A alone and "
                f"{one.num_only_b} of B alone."
            )
        remarks += [f"{title}: {warning}" for warning in one.warnings]
    print_table(console, table)
    for remark in remarks:
        console.print(remark, soft_wrap=True)
