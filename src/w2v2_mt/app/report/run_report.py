"""The report of a run: one page and its pictures, made from what its folder holds so far."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from w2v2_mt.app.report.curves import curve_pictures
from w2v2_mt.app.report.errors import (
    duration_picture,
    duration_tables,
    speaker_picture,
    speaker_tables,
)
from w2v2_mt.app.report.lr_range import lr_range_picture
from w2v2_mt.app.report.page import (
    Section,
    Table,
    folded,
    page,
    paragraph,
    pictures_html,
    table_html,
)
from w2v2_mt.app.report.pictures import Picture
from w2v2_mt.app.report.results import result_tables
from w2v2_mt.app.report.transcripts import LEGEND, transcripts_html
from w2v2_mt.app.report.verification import TradeOff, det_pictures, histogram_picture
from w2v2_mt.app.run_folder import RunFolder
from w2v2_mt.tasks.transcripts import random_sample, worst

REPORT_FOLDER = "report"
PAGE_FILE = "index.html"

_NUM_TRANSCRIPTS = 10
_SEED = 0
"""Of the random sample of transcripts: two runs show the same utterances."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written, and what is in it for those who show it somewhere else."""

    path: Path
    """Of the page, which opens from disk without any other file."""
    pictures: Sequence[Picture]
    tables: Sequence[Table]


def write_report(folder: Path) -> Report:
    """Write `report/index.html` and the pictures in it as files of their own.

    A run that goes on or has failed has a report of what is there.

    Raises ValueError where `folder` is no folder of a run, or a file in it cannot be read.
    """
    run = RunFolder(folder)
    results = result_tables(run.metrics)
    curves = _curves(run)
    verification, notes = _verification(run)
    errors, error_pictures = _errors(run)
    sections = [
        Section(heading="Result", parts=[table_html(table) for table in results]),
        Section(heading="Speakers", parts=[*pictures_html(verification), *notes]),
        Section(
            heading="Errors",
            parts=[
                *pictures_html(error_pictures),
                *(folded(table.title, table_html(table)) for table in errors),
            ],
        ),
        Section(heading="Transcripts", parts=_transcripts(run)),
        Section(heading="Training", parts=pictures_html(curves)),
        Section(heading="Settings", parts=_settings(run)),
    ]
    text = page(f"Run {run.name}", opening=_opening(run), sections=sections)
    pictures = [*curves, *verification, *error_pictures]
    path = write_page(folder / REPORT_FOLDER, text, pictures)
    return Report(path=path, pictures=pictures, tables=[*results, *errors])


def write_page(folder: Path, text: str, pictures: Sequence[Picture]) -> Path:
    """Write a page and, beside it, its pictures; those of an earlier report are replaced."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for picture in pictures:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    path = folder / PAGE_FILE
    path.write_text(text, encoding="utf-8")
    return path


def _opening(run: RunFolder) -> list[str]:
    """Which run it is, and whether it came to its end."""
    environment, config = run.environment, run.config
    commit, *changes = str(environment.get("git_commit", "unknown")).partition("+")
    facts = [f"commit {commit[:12]}{''.join(changes)}", f"seed {config.get('seed')}"]
    facts += [str(environment[name]) for name in ("device", "host") if name in environment]
    parts = [paragraph(", ".join(facts))]
    if run.overrides:
        parts.append(f"<pre>{html.escape(chr(10).join(run.overrides))}</pre>")
    last_step = max((points[-1][0] for points in run.curves.values()), default=None)
    reached = "nothing was logged yet" if last_step is None else f"logged up to step {last_step}"
    if run.error is not None:
        parts.append(paragraph(f"The run failed ({reached}): {run.error}", kind="failed"))
    elif not run.metrics:
        parts.append(paragraph(f"There is no test result ({reached}).", kind="note"))
    return parts


def _curves(run: RunFolder) -> list[Picture]:
    step = run.metrics.get("tested_step")
    pictures = curve_pictures(run.curves, tested_step=step if isinstance(step, int) else None)
    return [*pictures, lr_range_picture(run.lr_range)] if run.lr_range else pictures


def _verification(run: RunFolder) -> tuple[list[Picture], list[str]]:
    """Pictures, and a note for each list that allows none."""
    trial_lists, trade_offs, notes = run.trial_scores(), {}, []
    for name, trials in trial_lists.items():
        try:
            trade_offs[name] = TradeOff.of(trials)
        except ValueError as error:
            notes.append(paragraph(f"List {name} has no picture: {error}", kind="note"))
    if not trade_offs:
        return [], notes
    normalisation = run.config.get("evaluation", {}).get("score_normalisation", "none")
    kind = "cosine" if normalisation == "none" else f"cosine after {normalisation}"
    histograms = [
        histogram_picture(name, trial_lists[name], trade_off, kind=kind)
        for name, trade_off in trade_offs.items()
    ]
    return [*det_pictures(trade_offs), *histograms], notes


def _errors(run: RunFolder) -> tuple[list[Table], list[Picture]]:
    tables, pictures = [], []
    for name, rows in run.table("errors_by_duration_").items():
        tables += duration_tables(name, rows)
        pictures.append(duration_picture(name, rows))
    for name, rows in run.table("errors_by_speaker_").items():
        tables += speaker_tables(name, rows)
        pictures.append(speaker_picture(name, rows))
    return tables, pictures


def _transcripts(run: RunFolder) -> list[str]:
    parts = []
    for set_name, transcripts in run.transcripts().items():
        name = html.escape(set_name)
        wrong = [each for each in transcripts if each.reference != each.hypothesis]
        if wrong:
            parts.append(f"<h3>Most errors, {name}</h3>")
            parts.append(transcripts_html(worst(wrong, _NUM_TRANSCRIPTS)))
        parts.append(f"<h3>Random sample, {name}</h3>")
        parts.append(transcripts_html(random_sample(transcripts, _NUM_TRANSCRIPTS, _SEED)))
    return [LEGEND, *parts] if parts else []


def _settings(run: RunFolder) -> list[str]:
    parts = [folded("Every setting", f"<pre>{html.escape(run.config_text)}</pre>")]
    packages = run.environment.get("packages", {})
    versions = [("Python", str(run.environment.get("python", "unknown")))]
    versions += [(str(name), str(version)) for name, version in packages.items()]
    table = Table(
        title="Versions", columns=("package", "version"), rows=versions, num_word_columns=2
    )
    return [*parts, folded("Versions", table_html(table))]
