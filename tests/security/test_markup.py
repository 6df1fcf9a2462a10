"""Names from the files of somebody else: shown as they are, on pages, pictures and terminals."""

import json
import logging
import re

import pytest
import yaml
from rich.table import Table

from tests.helpers.page_reading import Page
from w2v2_mt.app.loggers import _build_media
from w2v2_mt.app.predict import _as_json
from w2v2_mt.core.console import plain_console
from w2v2_mt.core.errors import exit_with_sentence
from w2v2_mt.core.terminal import VisibleFormatter, print_visible, visible
from w2v2_mt.export.huggingface_models import render_template
from w2v2_mt.report.pictures import draw_picture, series_style, slug
from w2v2_mt.report.run_report import write_report
from w2v2_mt.report.sweep_report import print_sweep_report, write_sweep_report
from w2v2_mt.runs.run_folder import RunFolder
from w2v2_mt.settings.environment import PROJECT_FOLDER

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\r\u202e"
NAMES: tuple[str, ...] = (
    '"><meta http-equiv=refresh content="0;url=http:evil.invalid">',
    r"a\1\g<0>\q",
    "$a_{$ and $\\frac{$",
    "[bold]x[link=http://evil.invalid]y",
    "</svg><script>alert(1)</script><svg>",
    ' id="x" ="#y url(#z) #1c1c1d',
    "_hidden",
    f"a{ESCAPES}b",
    "x" * 150,
    "Zuerich-ü",
)


@pytest.mark.parametrize("name", [*NAMES, "byte\udcff"])
def test_a_picture_shows_any_name(name):
    def draw(axes):
        axes.plot([0, 1], [0, 1], **series_style(0, name))
        axes.set(xlabel=name, ylabel=name)
        axes.legend()

    picture = draw_picture(name, name, draw)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{,120}", picture.name)
    page = Page(picture.svg)
    assert not {"meta", "script"} & set(page.tags)
    assert page.addresses
    assert all(address.startswith(f"#{picture.name}-") for address in page.addresses)
    shown = [text.strip() for text in page.texts]
    assert shown.count(visible(name, keep="")) + shown.count(f" {name}".strip()) >= 4


def test_different_names_have_different_files():
    names = ["a/b", "a_b", "a?b", "val_wer_dev_other", "", "..", "../x", "x" * 300, "x" * 301]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("val_wer_dev_other") == "val_wer_dev_other"
    assert all(len(slug(name)) <= 120 for name in names)
    assert not any("/" in slug(name) or slug(name).startswith(".") for name in names)


def test_axes_of_powers_have_readable_labels():
    def draw(axes):
        axes.plot([1e-5, 1e-2], [0, 1])
        axes.set_xscale("log")

    texts = [text.strip() for text in Page(draw_picture("a", "a", draw).svg).texts]
    assert {f"1e\N{MINUS SIGN}0{power}" for power in range(2, 6)} <= set(texts)
    assert not any("$" in text for text in texts)


@pytest.fixture
def hostile_run(tmp_path):
    """A run whose sets, metrics, texts and settings have all names; files cannot have slashes."""
    folder = tmp_path / "run"
    folder.mkdir()
    hostile = "".join(NAMES)
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": hostile, "tag": hostile}))
    (folder / "overrides").write_text("tag=" + NAMES[0] + "\n")
    environment = {"git_commit": hostile, "device": hostile, "packages": {hostile: hostile}}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "error.txt").write_text(f"ValueError: {NAMES[0]}{ESCAPES}\n")
    metrics = {f"{kind}_{name}": 0.5 for kind in ("test_wer", "val_wer") for name in NAMES}
    (folder / "metrics.json").write_text(json.dumps({**metrics, "tested_checkpoint": hostile}))
    curves = [json.dumps(f"val_wer_{name}").replace('\\"', '""') for name in NAMES[:4]]
    rows = ["step," + ",".join(curves), *(f"{step},1,2,3,4" for step in range(3))]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    for name in NAMES:
        name = name.replace("/", ":")
        words = name.replace("\r", "").replace("\t", "")
        lines = ["key\treference\thypothesis", f"{words}\t{words}\tA"]
        (folder / f"transcripts_{name}.tsv").write_text("\n".join(lines) + "\n")
        scores = "1 0.5 a b\n0 0.1 <b> \x1b[2J\n"
        (folder / f"scores_{name}.txt").write_text(scores)
    return folder


def test_a_page_holds_no_markup_of_others_and_no_control_character(hostile_run):
    report = write_report(hostile_run)
    text = report.path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("meta") == 3
    assert "script" not in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert any("[bold]x[link=http://evil.invalid]y" in part for part in page.texts)
    assert any(r"\x1b]0;title\x07" in part for part in page.texts)


def test_wandb_gets_plain_names_and_texts(hostile_run, monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "Table", lambda columns, data: (columns, data))
    monkeypatch.setattr(wandb, "Image", lambda path, caption: caption)
    media = _build_media(write_report(hostile_run), RunFolder(hostile_run))
    assert all(key.count("/") == 1 for key in media)
    assert "\x1b" not in repr(media).replace(r"\\x1b", "")
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(map(str, _texts_in(media))))


def _texts_in(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, str):
        yield value
    else:
        for each in value:
            yield from _texts_in(each)


def test_a_sweep_shows_any_name(tmp_path, capsys):
    for number in range(2):
        job = tmp_path / str(number)
        job.mkdir()
        config = {"optim": {"algo": {"lr": 10.0**-number}}}
        (job / "config.yaml").write_text(json.dumps(config))
        (job / "overrides").write_text(f"tag={number}[bold]x[/nothing]\x1b[2J$a_{{$\n")
        metrics = {f"val_wer_{name}": 0.5 for name in NAMES}
        (job / "metrics.json").write_text(json.dumps(metrics))
    report = write_sweep_report(tmp_path)
    assert len({picture.name for picture in report.pictures}) == len(NAMES)
    print_sweep_report(report)
    out = capsys.readouterr().out
    assert r"[bold]x[/nothing]\x1b[2J$a_{$" in out
    assert "\x1b" not in out
    assert "script" not in Page(report.path.read_text(encoding="utf-8")).tags


def test_control_characters_are_visible():
    assert visible("a\x1b[2J\x9b\x7f\r\u202eé\udcff\n\t") == (
        "a\\x1b[2J\\x9b\\x7f\\r\\u202eé\\udcff\n\t"
    )
    assert visible("a\nb", keep="") == r"a\nb"
    assert visible("Plain text, ü, 語") == "Plain text, ü, 語"


def test_messages_errors_and_logs_show_control_characters(capsys):
    print_visible(ESCAPES)
    with pytest.raises(SystemExit), exit_with_sentence():
        raise ValueError(f"file {ESCAPES}")
    with pytest.raises(SystemExit), exit_with_sentence():
        raise PermissionError(13, "denied", f"file {ESCAPES}")
    printed = capsys.readouterr()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", printed.out + printed.err)
    record = logging.LogRecord("a", logging.INFO, "a", 1, "of %s", (ESCAPES,), None)
    assert VisibleFormatter("%(message)s").format(record) == f"of {visible(ESCAPES)}"
    for name in ("job_logging", "hydra_logging"):
        settings = yaml.safe_load(
            (PROJECT_FOLDER / "config" / "hydra" / name / "plain.yaml").read_text()
        )
        path = settings["formatters"]["plain"]["class"]
        assert path == f"{VisibleFormatter.__module__}.VisibleFormatter"


def test_a_console_takes_no_name_for_markup(capsys):
    console = plain_console(width=200)
    table = Table(f"[red]{ESCAPES}", title=f"[bold]{ESCAPES}")
    table.add_row(f"[link=x]:a:{ESCAPES}")
    console.print(table)
    console.print(f"[bold]{ESCAPES}", soft_wrap=True)
    out = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)
    assert out.count("[bold]") == 2
    assert "[link=x]:a:" in out


def test_a_line_of_json_has_no_control_character_and_keeps_its_content():
    record = {"path": f"a{ESCAPES}\udcff", "transcript": "é"}
    line = _as_json(record)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]", line)
    assert "é" in line
    assert json.loads(line) == record


def test_a_model_card_shows_any_name():
    class Bag(dict):
        __getattr__ = dict.__getitem__

    trunk = Bag(architecture={"model_type": "wav2vec2"}, encoder=Bag(class_token=None))
    name = "_x_ <script>`[a](b)|\n---\n# y"
    trained = Bag(
        network=Bag(trunk=trunk),
        config={"experiment_name": name},
        step=1,
        metrics={"val_wer_dev_other": 0.5, f"val_{name}": 0.25},
    )
    card = render_template(
        "model_card.md.j2",
        trained=trained,
        tasks=["speech", "a: [b]\nlicense: x"],
        has_class_token=False,
        sees_padding=False,
        special_symbols=["```\n"],
    )
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "transformers",
        "tags": ["audio", "speech", "a: [b]\nlicense: x"],
    }
    assert "- speech\n" in header
    escaped = r"\_x\_ \<script\>\`\[a\](b)\|\\n---\\n# y"
    assert f"# {escaped}\n" in body
    assert "| val_wer_dev_other | 0.5000 |" in body
    assert f"| val_{escaped[1:]} | 0.2500 |" in body
