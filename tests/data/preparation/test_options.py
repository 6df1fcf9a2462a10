import argparse
from pathlib import Path

import pytest

from tests.data.preparation.archive_files import options
from w2v2_mt.data.preparation.options import add_arguments, options_from


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"samples_per_shard": 0}, "--samples_per_shard is 0; it must be at least 1"),
        ({"num_workers": -1}, "--num_workers is -1; it must be at least 0"),
        ({"limit": 0}, "--limit is 0; it must be at least 1"),
        ({"max_rejected": 1.5}, "--max_rejected is 1.5; it must be from 0 to 1"),
        ({"limit": 5, "delete_originals": True}, "would remove what --limit leaves out"),
    ],
)
def test_impossible_values_are_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        options(Path("data"), **changes)


def test_the_command_line_sets_every_option() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    line = "--data_folder d --seed 3 --samples_per_shard 9 --audio_format flac --strict"
    line += " --max_rejected 0.5 --num_workers 0 --overwrite --delete_originals"
    assert options_from(parser.parse_args("--data_folder d --limit 4".split())).limit == 4
    assert options_from(parser.parse_args(line.split())) == options(
        Path("d"),
        seed=3,
        samples_per_shard=9,
        audio_format="flac",
        strict=True,
        max_rejected=0.5,
        overwrite=True,
        delete_originals=True,
    )


def test_only_what_decides_the_bytes_is_a_fact() -> None:
    first = options(Path("a"))
    assert first.facts() == options(Path("b"), num_workers=3, max_rejected=1.0).facts()
    for change in ({"seed": 2}, {"audio_format": "flac"}, {"limit": 3}, {"strict": True}):
        assert first.facts() != options(Path("a"), **change).facts()
