"""The report of a run: pictures and one page, made from the files in its folder."""

import base64
import html
import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from w2v2_mt.app.run_folder import METRICS_FILE, RunFolder

matplotlib.use("Agg")

REPORT_FOLDER = "report"
_NUM_TRANSCRIPTS = 10

# Title, unit of the vertical axis, and patterns of the logged values that are drawn together.
_PICTURES = (
    ("Training loss", "loss", ("train_loss", "train_speech_loss", "train_speaker_loss")),
    ("Loss weights", "weight", ("train_speech_loss_weight", "train_speaker_loss_weight")),
    ("Word error rate", "fraction of words", ("train_wer", "val_wer_*")),
    ("Equal error rate", "fraction of trials", ("val_eer",)),
    ("Learning rate", "per step", ("lr-Adam", "lr-SGD", "lr-Adam/pg1", "lr-SGD/pg1")),
    ("Memory", "GiB", ("memory_*",)),
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1c1c1c; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .75rem; border-bottom: 1px solid #ccc; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
img { max-width: 100%; }
pre { overflow-x: auto; background: #f3f3f3; padding: 1rem; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #181818; }
  pre { background: #262626; }
  th, td { border-color: #444; }
}
"""

Points = list[tuple[int, float]]


def write_report(folder: Path) -> Path:
    """Write the pictures and `report/index.html`, which opens from disk without any other file."""
    report = folder / REPORT_FOLDER
    report.mkdir(exist_ok=True)
    curves = RunFolder(folder).curves
    pictures = []
    for title, unit, patterns in _PICTURES:
        drawn = {
            name: points
            for pattern in patterns
            for name, points in curves.items()
            if fnmatchcase(name, pattern)
        }
        if drawn:
            path = report / f"{title.lower().replace(' ', '_')}.png"
            _draw(path, title, unit, drawn)
            pictures.append(path)
    page = report / "index.html"
    page.write_text(_page(folder, pictures), encoding="utf-8")
    return page


def _draw(path: Path, title: str, unit: str, curves: dict[str, Points]) -> None:
    figure = Figure(figsize=(5.5, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, label=name, marker="." if len(points) < 30 else None)
    axes.set(title=title, xlabel="optimiser step", ylabel=unit)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _page(folder: Path, pictures: Sequence[Path]) -> str:
    environment = json.loads((folder / "environment.json").read_text())
    title = f"Run {folder.name}"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        f"<p>commit {environment['git_commit'][:12]}, seed {environment['seed']}, "
        f"{html.escape(environment['device'])}</p>",
    ]
    metrics = folder / METRICS_FILE
    if metrics.exists():
        parts += ["<h2>Result</h2>", _metrics_table(json.loads(metrics.read_text()))]
    parts.append("<h2>Training</h2>")
    for picture in pictures:
        encoded = base64.b64encode(picture.read_bytes()).decode()
        parts.append(
            f"<figure><img alt='{picture.stem}' src='data:image/png;base64,{encoded}'></figure>"
        )
    for path in sorted(folder.glob("transcripts_*.tsv")):
        set_name = path.stem.removeprefix("transcripts_")
        parts += [f"<h2>Transcripts, {html.escape(set_name)}</h2>", _transcript_table(path)]
    setting = html.escape((folder / "config.yaml").read_text())
    parts += [f"<h2>Settings</h2><pre>{setting}</pre>", "</body></html>"]
    return "\n".join(parts)


def _metrics_table(metrics: dict[str, float | str | None]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>"
        f"<td class='number'>{html.escape(_formatted(value))}</td></tr>"
        for name, value in metrics.items()
    )
    return f"<table><tr><th>metric</th><th>value</th></tr>{rows}</table>"


def _formatted(value: float | str | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _transcript_table(path: Path) -> str:
    lines = path.read_text().splitlines()[1 : _NUM_TRANSCRIPTS + 1]
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line.split("\t")) + "</tr>"
        for line in lines
    )
    return f"<table><tr><th>key</th><th>reference</th><th>hypothesis</th></tr>{rows}</table>"
