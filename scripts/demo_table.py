"""The table at the end of the demo: how good the run of a folder is, and where to read more."""

import json
import sys
from pathlib import Path

from rich.table import Table

from w2v2_mt.core.console import plain_console, print_table
from w2v2_mt.core.errors import exit_with_sentence

METRICS = {
    "test_wer_clean": ("word error rate, test-clean", "100 %"),
    "test_wer_other": ("word error rate, test-other", "100 %"),
    "test_eer_o": ("equal error rate, unseen speakers", "50 %"),
}
"""Name in metrics.json: what the table calls it, and its value for a network that knows nothing."""

METRICS_OF_WORDS = {
    "test_wer_words": ("word error rate", "100 %"),
    "test_eer_words": ("equal error rate", "50 %"),
}
"""The same for the demo with real speech."""


def demo_table(folder: Path) -> Table:
    """Return the test results of a demo run; a run without them is a ValueError."""
    metrics = json.loads((folder / "metrics.json").read_text())
    expected = METRICS_OF_WORDS if METRICS_OF_WORDS.keys() & metrics.keys() else METRICS
    missing = [name for name in expected if name not in metrics]
    if missing:
        raise ValueError(
            f"{folder / 'metrics.json'} has no {missing[0]}; run the demo with eval_model=true."
        )
    table = Table("measured on voices not heard in training", title=f"Demo: {folder}")
    table.add_column("result", justify="right")
    table.add_column("untrained", justify="right")
    for name, (words, untrained) in expected.items():
        table.add_row(words, f"{100 * metrics[name]:.1f} %", untrained)
    return table


def duration(folder: Path) -> str:
    """Return the duration of the demo; the run may have been resumed."""
    path = folder / "demo_duration_sec"
    if not path.is_file():
        return "unknown"
    minutes, seconds = divmod(int(path.read_text()), 60)
    return f"{minutes} min {seconds:02d} s"


@exit_with_sentence()
def main(arguments: list[str]) -> int:
    """Print the table of a demo and return the exit code."""
    (folder,) = map(Path, arguments)
    console = plain_console()
    print_table(console, demo_table(folder))
    console.print(f"Report: {folder / 'report' / 'index.html'}", soft_wrap=True)
    console.print(f"Total time: {duration(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
