"""The report of a sweep: its jobs side by side, and which is best on dev data."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich.table

from w2v2_mt.app.console import plain_console
from w2v2_mt.app.dev_metric import PREFERRED_WORD_ERROR_RATE
from w2v2_mt.app.report.page import Section, Table, page, paragraph, pictures_html, table_html
from w2v2_mt.app.report.pictures import Picture
from w2v2_mt.app.report.results import NO_VALUE, main_test_metrics
from w2v2_mt.app.report.run_report import PAGE_FILE, REPORT_FOLDER, Report, write_page
from w2v2_mt.app.report.sweep_pictures import learning_rate_picture, trade_off_picture
from w2v2_mt.app.sweep_folder import (
    DONE,
    FAILED,
    NOT_STARTED,
    RUNNING,
    SweepJob,
    read_sweep,
)

_SCORE, _EER, _WER_PREFIX = "val_score", "val_eer", "val_wer_"
_STATES = (DONE, FAILED, RUNNING, NOT_STARTED)
_LEARNING_RATE, _SEED = "optim.algo.lr", "seed"


def write_sweep_report(folder: Path) -> Report:
    """Write `report/index.html` of a sweep. The jobs may have any state.

    Raises ValueError where `folder` is no folder of a sweep, or a file in it cannot be read.
    """
    jobs = read_sweep(folder)
    criteria = _criteria(jobs)
    tables = [_jobs_table(jobs, criteria)]
    best = _best_table(jobs, criteria)
    if best.rows:
        tables.append(best)
    pictures = _pictures(jobs, criteria)
    failures = [
        paragraph(f"Job {job.number}: {job.error}", kind="failed")
        for job in jobs
        if job.error is not None
    ]
    sections = [
        Section(heading="Best on dev data", parts=[table_html(best)] if best.rows else []),
        Section(heading="Pictures", parts=pictures_html(pictures)),
        Section(heading="Jobs", parts=[table_html(tables[0]), *_links(folder, jobs)]),
        Section(heading="Failures", parts=failures),
    ]
    text = page(f"Sweep {folder.resolve().name}", opening=[_opening(jobs)], sections=sections)
    path = write_page(folder / REPORT_FOLDER, text, pictures)
    return Report(path=path, pictures=pictures, tables=tables)


def print_sweep_report(report: Report) -> None:
    """Show the tables on the console, and say where the page is."""
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=1000)  # Into a file, each job is one line.
    for table in report.tables:
        console.print(printed(table))
    console.print(f"Report: {report.path}", soft_wrap=True, highlight=False)


def printed(table: Table) -> rich.table.Table:
    """A table for the console."""
    shown = rich.table.Table(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number < table.num_word_columns else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _opening(jobs: Sequence[SweepJob]) -> str:
    counts = Counter(job.state for job in jobs)
    states = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
    return paragraph(
        f"{len(jobs)} jobs: {', '.join(states)}. Dev metrics are those of the checkpoint that was "
        "tested, of a job that is not done those of its last validation."
    )


def _criteria(jobs: Iterable[SweepJob]) -> list[str]:
    """The dev metrics of which the lowest value is the best: that of the checkpoints first."""
    names = {name for job in jobs for name in job.metrics}
    others = sorted(name for name in names if name.startswith(_WER_PREFIX))
    ordered = dict.fromkeys((_SCORE, PREFERRED_WORD_ERROR_RATE, *others, _EER))
    return [name for name in ordered if name in names]


def _differing(jobs: Sequence[SweepJob]) -> list[str]:
    """The names of overrides that not all jobs share."""
    names = dict.fromkeys(name for job in jobs for name in job.settings)
    return [name for name in names if len({job.settings.get(name) for job in jobs}) > 1]


def _test_metrics(jobs: Iterable[SweepJob]) -> list[str]:
    return list(dict.fromkeys(name for job in jobs for name in main_test_metrics(job.metrics)))


def _short(names: Sequence[str]) -> list[str]:
    """The last part of each name of a setting where it tells them apart."""
    ends = [re.split("[./]", name)[-1] for name in names]
    return [end if ends.count(end) == 1 else name for name, end in zip(names, ends, strict=True)]


def _jobs_table(jobs: Sequence[SweepJob], criteria: Sequence[str]) -> Table:
    settings = _differing(jobs)
    metrics = [*criteria, *_test_metrics(jobs)]
    return Table(
        title="All jobs, metrics in %",
        columns=("job", "state", *_short(settings), *metrics),
        rows=[
            [
                str(job.number),
                job.state,
                *(job.settings.get(name, NO_VALUE) for name in settings),
                *(_shown(job, name) for name in metrics),
            ]
            for job in jobs
        ],
        num_word_columns=2 + len(settings),
    )


def _best_table(jobs: Sequence[SweepJob], criteria: Sequence[str]) -> Table:
    """Of the jobs that are done, by each dev metric; test data has no say."""
    tests = _test_metrics(jobs)
    variants = _settings_texts(jobs, without=())
    rows = []
    for name in criteria:
        results = [
            (value, job)
            for job in jobs
            if job.state == DONE and (value := job.value(name)) is not None
        ]
        if results:
            _, best = min(results, key=lambda result: (result[0], result[1].number))
            values = [_shown(best, each) for each in (name, *tests)]
            rows.append([name, str(best.number), variants[best.number], *values])
    return Table(
        title="Lowest dev metric and its test, %",
        columns=("dev metric", "job", "settings", "dev", *tests),
        rows=rows,
        num_word_columns=3,
    )


def _settings_texts(jobs: Sequence[SweepJob], *, without: Sequence[str]) -> dict[int, str]:
    """What each job differs in, by its number."""
    names = [name for name in _differing(jobs) if name not in without]
    shown = dict(zip(names, _short(names), strict=True))
    return {
        job.number: ", ".join(
            f"{shown[name]}={job.settings[name]}" for name in names if name in job.settings
        )
        or "all jobs"
        for job in jobs
    }


def _shown(job: SweepJob, name: str) -> str:
    value = job.value(name)
    return NO_VALUE if value is None else f"{100 * value:.2f}"


def _pictures(jobs: Sequence[SweepJob], criteria: Sequence[str]) -> list[Picture]:
    pictures = []
    word_error_rates = [name for name in criteria if name.startswith(_WER_PREFIX)]
    if word_error_rates:
        pictures.append(trade_off_picture(jobs, wer=word_error_rates[0], eer=_EER))
    variants = _settings_texts(jobs, without=(_LEARNING_RATE, _SEED))
    pictures += [learning_rate_picture(jobs, variants, metric=name) for name in criteria]
    return [each for each in pictures if each is not None]


def _links(folder: Path, jobs: Sequence[SweepJob]) -> list[str]:
    """To the reports of the jobs that have one."""
    links = [
        f"<a href='../{job.number}/{REPORT_FOLDER}/{PAGE_FILE}'>{job.number}</a>"
        for job in jobs
        if (folder / str(job.number) / REPORT_FOLDER / PAGE_FILE).exists()
    ]
    return [f"<p>Reports of the jobs: {', '.join(links)}</p>"] if links else []
