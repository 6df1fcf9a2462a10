import re

import pytest
from rich.table import Table

from w2v2_mt.core.console import plain_console, print_table, table_width

HEADINGS = [f"test_wer_of_a_set_with_a_long_name_{number}" for number in range(12)]


def printed(table, capsys, width):
    print_table(plain_console(width=width), table)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 200, 1000])
def test_figures_stay_whole_at_any_width(width, capsys):
    table = Table("job", "settings", title="All jobs")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    figures = [[f"{10 * row + column}.{column:02d}" for column in range(12)] for row in range(3)]
    for row, cells in enumerate(figures):
        table.add_row(str(row), "x" * 70 + f"end_{row}", *cells)
    out = printed(table, capsys, width)
    assert max(map(len, out.splitlines())) <= width
    assert sorted(re.findall(r"\d+\.\d\d", out)) == sorted(cell for row in figures for cell in row)
    assert "…" not in out
    # The names are there as well, in parts.
    lines = [re.split("[│┃]", line)[1:-1] for line in out.splitlines()]
    names = "".join(line[1].strip() for line in lines if len(line) > 1)
    assert names.count("x") == 210


def test_each_part_repeats_the_first_column(capsys):
    table = Table("rate")
    for number in range(6):
        table.add_column(f"{number}", justify="right")
    table.add_row("WER", *(f"{number}.12345678" for number in range(6)))
    out = printed(table, capsys, 40)
    assert out.count("WER") == 3
    assert re.findall(r"\d\.12345678", out) == [f"{number}.12345678" for number in range(6)]


def test_a_table_that_fits_is_printed_in_one_piece(capsys):
    table = Table("rate", title="one")
    table.add_column("A", justify="right")
    table.add_row("WER of a set", "12.34")
    out = printed(table, capsys, table_width(table))
    assert "│ WER of a set │ 12.34 │" in out
    assert max(map(len, out.splitlines())) == table_width(table)
