"""The report of a sweep: all jobs, and the best ones on validation data."""

import re
from collections import Counter
from collections.abc import Sequence
from math import isclose
from pathlib import Path
from statistics import fmean, stdev
from urllib.parse import quote

from w2v2_mt.report.page import PAGE_FILE, Report, Table, page_title, print_report, write_page
from w2v2_mt.report.results import NO_VALUE, main_test_metrics
from w2v2_mt.report.sweep_pictures import learning_rate_picture, trade_off_picture
from w2v2_mt.runs.run_folder import REPORT_FOLDER
from w2v2_mt.runs.sweep_folder import DONE, FAILED, NOT_STARTED, RUNNING, SweepJob, read_sweep
from w2v2_mt.settings.dev_metric import PREFERRED_WORD_ERROR_RATE

_SCORE, _EER, _WER_PREFIX = "val_score", "val_eer", "val_wer_"
_LEARNING_RATE, _SEED = "optim.algo.lr", "seed"


def write_sweep_report(folder: Path) -> Report:
    """Write `report/index.html` of a sweep, whose jobs may have any state.

    Raises:
        ValueError: The folder is not a folder of a sweep, or a file in it cannot be read.
    """
    jobs = read_sweep(folder)
    # The lower-is-better validation metrics, that of the checkpoints first.
    names = {name for job in jobs for name in job.metrics}
    word_error_rates = sorted(name for name in names if name.startswith(_WER_PREFIX))
    ordered = dict.fromkeys((_SCORE, PREFERRED_WORD_ERROR_RATE, *word_error_rates, _EER))
    criteria = [name for name in ordered if name in names]
    tests = list(dict.fromkeys(name for job in jobs for name in main_test_metrics(job.metrics)))
    all_jobs, best = _jobs_table(jobs, [*criteria, *tests]), _best_table(jobs, criteria, tests)
    by_variant = _variants_table(jobs, [*criteria, *tests])
    tables = [all_jobs, by_variant, best]
    variants = _settings_texts(jobs, without=(_LEARNING_RATE, _SEED))
    pictures = [learning_rate_picture(jobs, variants, metric=name) for name in criteria]
    if word_error_rates:
        wer = next(name for name in criteria if name in word_error_rates)
        pictures.insert(0, trade_off_picture(jobs, wer=wer, eer=_EER))
    counts = Counter(job.state for job in jobs)
    states = (DONE, FAILED, RUNNING, NOT_STARTED)
    return write_page(
        folder,
        "sweep.html.j2",
        title=page_title("Sweep", folder.resolve().name),
        pictures=[picture for picture in pictures if picture is not None],
        tables=[table for table in tables if table.rows],
        jobs=jobs,
        states=[f"{counts[state]} {state}" for state in states if counts[state]],
        best=best,
        all_jobs=all_jobs,
        by_variant=by_variant,
        pages={
            job.number: quote(page.relative_to(folder).as_posix())
            for job in jobs
            if job.folder and (page := job.folder / REPORT_FOLDER / PAGE_FILE).exists()
        },
    )


def print_sweep_report(report: Report) -> None:
    """Print the tables of a sweep and the path of its page."""
    print_report(report, report.tables)


def _short_names(jobs: Sequence[SweepJob], *, without: Sequence[str] = ()) -> dict[str, str]:
    """Return the overrides that differ, with the last part of each name where that is unique."""
    names = dict.fromkeys(name for job in jobs for name in job.settings if name not in without)
    differing = [name for name in names if len({job.settings.get(name) for job in jobs}) > 1]
    ends = [re.split("[./]", name)[-1] for name in differing]
    return {
        name: end if ends.count(end) == 1 else name
        for name, end in zip(differing, ends, strict=True)
    }


def _jobs_table(jobs: Sequence[SweepJob], metrics: Sequence[str]) -> Table:
    settings = _short_names(jobs)
    rows = []
    for job in jobs:
        values = [job.settings.get(name, NO_VALUE) for name in settings]
        values += [_show_mean([job], name) for name in metrics]
        rows.append([str(job.number), job.state, *values])
    return Table(
        title="All jobs, metrics in %",
        columns=("job", "state", *settings.values(), *metrics),
        rows=rows,
        num_word_columns=2 + len(settings),
    )


def _group_by_variant(jobs: Sequence[SweepJob]) -> list[list[SweepJob]]:
    """Group the jobs that differ in their seed alone."""
    variants: dict[frozenset[tuple[str, str]], list[SweepJob]] = {}
    for job in jobs:
        settings = frozenset(item for item in job.settings.items() if item[0] != _SEED)
        variants.setdefault(settings, []).append(job)
    return list(variants.values())


def _variants_table(jobs: Sequence[SweepJob], metrics: Sequence[str]) -> Table:
    """Return mean and standard deviation over the seeds of each variant; no rows for one seed."""
    texts = _settings_texts(jobs, without=(_SEED,))
    variants = _group_by_variant(jobs)
    rows = []
    for variant in variants:
        done = [job for job in variant if job.state == DONE]
        values = [_show_mean(done, name) for name in metrics]
        rows.append([texts[variant[0].number], _numbers(variant), str(len(done)), *values])
    return Table(
        title="Variants, mean ± standard deviation over seeds (n - 1) of finished jobs, %",
        columns=("settings", "jobs", "n", *metrics),
        rows=rows if metrics and len(variants) < len(jobs) else [],
        num_word_columns=2,
    )


def _best_table(jobs: Sequence[SweepJob], criteria: Sequence[str], tests: Sequence[str]) -> Table:
    """Return the best variant per validation metric; test metrics are never used for it.

    The mean over seeds decides, so that no seed is chosen by luck. Variants that are equally good
    have a row each.
    """
    variants = _group_by_variant(jobs)
    has_seeds = len(variants) < len(jobs)
    texts = _settings_texts(jobs, without=(_SEED,) if has_seeds else ())
    rows = []
    for name in criteria:
        means = []
        for variant in variants:
            done = [job for job in variant if job.state == DONE and job.value(name) is not None]
            if done:
                means.append((fmean(job.value(name) or 0.0 for job in done), done))
        lowest = min((mean for mean, _ in means), default=0.0)
        best = [done for mean, done in means if isclose(mean, lowest, rel_tol=1e-9)]
        for done in best:
            text = texts[done[0].number] + (" (tied)" if len(best) > 1 else "")
            values = [_show_mean(done, each) for each in (name, *tests)]
            rows.append(
                [name, _numbers(done), text, *([str(len(done))] if has_seeds else []), *values]
            )
    return Table(
        title="Lowest dev metric and its test, %",
        columns=(
            *("dev metric", "jobs" if has_seeds else "job", "settings"),
            *(["n"] if has_seeds else []),
            *("dev", *tests),
        ),
        rows=rows,
        num_word_columns=3,
    )


def _numbers(jobs: Sequence[SweepJob]) -> str:
    return ", ".join(str(job.number) for job in jobs)


def _show_mean(jobs: Sequence[SweepJob], name: str) -> str:
    """Return mean and standard deviation (n - 1), and n where some of the jobs have no value."""
    values = [100 * value for job in jobs if (value := job.value(name)) is not None]
    if not values:
        return NO_VALUE
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    missing = f" (n = {len(values)})" if len(values) < len(jobs) else ""
    return f"{fmean(values):.2f}{deviation}{missing}"


def _settings_texts(jobs: Sequence[SweepJob], *, without: Sequence[str] = ()) -> dict[int, str]:
    """Return the settings that distinguish a job from the others, by its number."""
    names = _short_names(jobs, without=without).items()
    return {
        job.number: ", ".join(
            f"{short}={job.settings[name]}" for name, short in names if name in job.settings
        )
        or "all jobs"
        for job in jobs
    }
