"""The report of a run: one page and its pictures, made from what its folder holds so far."""

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from w2v2_mt.metrics.word_error_rate import align_words
from w2v2_mt.report.curves import curve_pictures, speed_pictures
from w2v2_mt.report.errors import error_report
from w2v2_mt.report.page import Report, page_title, print_report, write_page
from w2v2_mt.report.results import error_rate_table, result_tables
from w2v2_mt.report.speed import speed_tables
from w2v2_mt.report.verification import verification_pictures
from w2v2_mt.runs.run_folder import MetricValue, RunFolder
from w2v2_mt.tasks.transcripts import Transcript, random_sample, worst

_NUM_TRANSCRIPTS = 10
_SEED = 0
"""Seed of the random sample of transcripts, so that all runs show the same utterances."""


def write_report(folder: Path) -> Report:
    """Write `report/index.html` and its pictures, also of a run that trains or has failed.

    Raises:
        ValueError: The folder is not a folder of a run, or a file in it cannot be read.
    """
    run = RunFolder(folder)
    results = result_tables(run.metrics)
    curves, speed = curve_pictures(run), speed_pictures(run)
    of_speed = speed_tables(run.speed)
    verification, lists_without_picture = verification_pictures(run)
    error_tables, error_pictures = error_report(run)
    transcripts = []
    for name, rows in run.transcripts().items():
        wrong = worst([row for row in rows if row.reference != row.hypothesis], _NUM_TRANSCRIPTS)
        sample = random_sample(rows, _NUM_TRANSCRIPTS, _SEED)
        transcripts.append((name, [*map(_align, wrong)], [*map(_align, sample)]))
    return write_page(
        folder,
        "run.html.j2",
        title=page_title("Run", run.name),
        pictures=[*curves, *verification, *error_pictures, *speed],
        tables=[*results, *error_tables, *of_speed],
        run=run,
        last_step=max((points[-1][0] for points in run.curves.values()), default=None),
        results=results,
        verification=verification,
        lists_without_picture=lists_without_picture,
        error_pictures=error_pictures,
        error_tables=error_tables,
        transcripts=transcripts,
        curves=curves,
        speed_tables=of_speed,
        speed_pictures=speed,
    )


def print_run_report(report: Report, metrics: Mapping[str, MetricValue]) -> None:
    """Print the error rates of a test, if there are any, and the path of the page."""
    rates = error_rate_table(metrics)
    print_report(report, [rates] if rates.rows else [])


def _align(transcript: Transcript) -> tuple[Transcript, int, list[tuple[str, str]]]:
    """Return a transcript with its number of errors, and with its words marked by HTML tags.

    Words have no tag if they are correct, `del` if they are in the reference only, and `ins` if
    they are in the hypothesis only.
    """
    parts, num_errors = [], 0
    for run in align_words(transcript.reference, transcript.hypothesis):
        if run.kind == "equal":
            parts.append(("", " ".join(run.reference)))
            continue
        num_errors += max(len(run.reference), len(run.hypothesis))
        for said, recognized in zip_longest(run.reference, run.hypothesis):
            tagged = (("del", said), ("ins", recognized))
            parts += [(tag, word) for tag, word in tagged if word is not None]
    return transcript, num_errors, parts
