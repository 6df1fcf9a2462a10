from pathlib import Path

import pytest

from w2v2_mt.manifests.rejections import Rejection, RejectionAccount, write_rejections


def test_the_list_is_sorted_and_each_reason_is_one_line(tmp_path: Path) -> None:
    rejections = [Rejection("b.wav", "It is\nempty."), Rejection("a.wav", "It is\ta text.")]
    write_rejections(tmp_path / "rejected.tsv", rejections)
    assert (tmp_path / "rejected.tsv").read_text() == (
        "file\treason\na.wav\tIt is a text.\nb.wav\tIt is empty.\n"
    )


def test_control_characters_of_names_are_shown(tmp_path: Path) -> None:
    write_rejections(tmp_path / "rejected.tsv", [Rejection("a\t\x1b.wav", "\x1b[2J is odd.")])
    assert (tmp_path / "rejected.tsv").read_text() == (
        "file\treason\na\\t\\x1b.wav\t\\x1b[2J is odd.\n"
    )


def test_one_more_than_the_allowed_number_stops_the_run(tmp_path: Path) -> None:
    account = RejectionAccount(num_files=1000, max_share=0.002, folder=tmp_path)
    account.add([Rejection("a.wav", "it is empty.")])
    account.add([Rejection("b.wav", "it is empty.")])
    assert not list(tmp_path.iterdir())
    with pytest.raises(
        ValueError, match=r"^3 of 1000 files .* more than --max_rejected allows .0\.002"
    ):
        account.add([Rejection("c.wav", "it is empty.")])
    assert len((tmp_path / "rejected.tsv").read_text().splitlines()) == 4


def test_not_a_single_one_is_allowed_when_the_share_is_zero(tmp_path: Path) -> None:
    account = RejectionAccount(num_files=1000, max_share=0, folder=tmp_path)
    account.add([])
    with pytest.raises(ValueError, match=r"the first being a\.wav \(it is empty\.\)"):
        account.add([Rejection("a.wav", "it is empty.")])
