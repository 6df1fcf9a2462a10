"""The pages of a run and of a sweep in a browser: wide and narrow, light and dark."""

import pytest

from tests.helpers.browser import seen, what_is_missing
from tests.helpers.sweep_folders import make_sweep
from w2v2_mt.report.run_report import write_report
from w2v2_mt.report.sweep_report import write_sweep_report

WIDTHS = (1280, 400)

LEAST_OF_TEXT = 4.5
LEAST_OF_SHAPES = 3.0
"""Contrast, by WCAG 2.1, success criteria 1.4.3 and 1.4.11."""
LEAST_OF_AREAS = 1.4
"""Of translucent ones, below an outline."""

SPOILT = """<!doctype html><html><style>
:root { color-scheme: light dark; --pale: #777; }
body { background: #888; color: #888; }
</style><body>
<p>not to be told from its background</p>
<div style="width: 2000px; color: black">too wide</div>
<svg viewBox="0 0 100 100" width="100"><text x="90" y="50" style="fill: black">cut off</text>
<path d="M0 0 L9 9" style="stroke: var(--pale)"/><path d="M0 0 L9 9" style="stroke: var(--no)"/>
</svg>
<img src="http://example.invalid/x.png"><script>nothing.here();</script></body></html>
"""


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def is_dark(request):
    problem = what_is_missing()
    if problem is not None:
        pytest.skip(problem)
    return request.param


def least_of(shape):
    return LEAST_OF_AREAS if shape["isTranslucent"] else LEAST_OF_SHAPES


def test_pages_are_readable_at_any_width_and_ask_for_nothing(run_folder, tmp_path, is_dark):
    sweep = tmp_path / "sweep"
    make_sweep(sweep)
    pages = [write_report(run_folder).path, write_sweep_report(sweep).path]
    frames = [(page, width) for page in pages for width in WIDTHS]
    shown = seen(frames, is_dark=is_dark, profile=tmp_path / "profile")
    assert shown.console == []
    for (page, width), frame in zip(frames, shown.frames, strict=True):
        where = f"{page} at {width}"
        assert frame["isDark"] == is_dark, where
        assert width - 20 <= frame["width"] <= width, where
        assert frame["scrollWidth"] <= frame["width"], where
        assert frame["requests"] == [], where
        texts, shapes = frame["texts"], frame["shapes"]
        assert any(text["drawn"] for text in texts)
        assert any(not text["drawn"] for text in texts)
        assert shapes, where
        assert [text for text in texts if text["contrast"] < LEAST_OF_TEXT] == [], where
        assert [text for text in texts if text["clipped"]] == [], where
        pale = [shape for shape in shapes if shape["contrast"] < least_of(shape)]
        assert pale == [], where


def test_what_is_wrong_with_a_page_is_seen(tmp_path, is_dark):
    page = tmp_path / "spoilt.html"
    page.write_text(SPOILT)
    shown = seen([(page, 400)], is_dark=is_dark, profile=tmp_path / "profile")
    (frame,) = shown.frames
    assert frame["scrollWidth"] > 2000
    assert frame["requests"] == ["http://example.invalid/x.png"]
    assert any("nothing is not defined" in line for line in shown.console)
    contrasts = {text["text"]: text["contrast"] for text in frame["texts"]}
    assert contrasts["not to be told from its background"] == pytest.approx(1)
    # Black on #888: (0.2462 + 0.05) / 0.05
    assert contrasts["too wide"] == pytest.approx(5.92, abs=0.01)
    assert [text["text"] for text in frame["texts"] if text["clipped"]] == ["cut off"]
    # #777 on #888: (0.2462 + 0.05) / (0.1845 + 0.05); a colour that is not defined paints nothing.
    assert [shape["contrast"] for shape in frame["shapes"]] == pytest.approx([1.26, 1], abs=0.01)
