import pytest

from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.progress import print_summary
from w2v2_mt.prepare.shard_sets import ShardSet
from w2v2_mt.prepare.shard_writer import ShardReport


@pytest.mark.parametrize("num_columns", [40, 80, 200])
def test_the_table_fits_80_columns_with_its_numbers_complete(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, num_columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(num_columns))
    reports = [
        ShardReport(
            f"{shard}.tar",
            num_frames={f"{shard}-{number}/v/1": 4_000_000 for number in range(40)},
            speakers={f"{shard}-{number}/v/1": f"{shard}-{number}" for number in range(40)},
            num_converted=12_345,
            num_bytes_read=10**9,
        )
        for shard in range(1000)
    ]
    rejections = [Rejection("a", "b")] * 123_456
    print_summary("X", [ShardSet("train_other_500", reports, rejections)], duration_sec=1000)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line.split() for line in lines if line.startswith("train_other_500")]
    numbers = ["40000", "40000", "2777.78", "1000", "123456", "12345000"]
    assert row == ["train_other_500", *numbers]
    assert "1000000 MB of audio files, 1000.0 MB/s" in "".join(lines)
