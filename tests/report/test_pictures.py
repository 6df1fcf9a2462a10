import numpy as np

from w2v2_mt.report.pictures import MAX_POINTS, SERIES, draw_picture, series_style, thin_out


def test_a_picture_takes_the_colours_of_its_page():
    def draw(axes):
        axes.plot([0, 1], [0, 1], **series_style(1, None))
        axes.set(xlabel="x & y")

    drawn = draw_picture("a_line", "A <line>", draw)
    assert "var(--series-1)" in drawn.svg
    assert "currentColor" in drawn.svg
    assert not any(light in drawn.svg for light, _ in SERIES)
    # Text is text, and what belongs to a file of its own is gone.
    assert "x &amp; y" in drawn.svg
    assert drawn.svg.startswith('<svg viewBox="0 0 ')
    assert "http" not in drawn.svg
    assert drawn == draw_picture("a_line", "A <line>", draw)


def test_no_two_of_24_lines_look_the_same():
    styles = [tuple(series_style(number, "x").values()) for number in range(24)]
    assert len(set(styles)) == 24


def test_a_short_line_keeps_every_point():
    assert thin_out([1, 2], [3.0, 4.0]) == ([1, 2], [3.0, 4.0])


def test_a_long_line_keeps_its_order_and_its_extremes():
    values = np.sin(np.arange(100_000) / 1000).tolist()
    values[70_123] = 9.0
    values[31_000] = -9.0
    values[5] = float("nan")
    x, y = thin_out(range(100_000), values)
    assert len(x) <= MAX_POINTS
    assert x == sorted(x)
    points = list(zip(x, y, strict=True))
    assert all(values[int(step)] == value for step, value in points)
    assert (70_123, 9.0) in points
    assert (31_000, -9.0) in points
