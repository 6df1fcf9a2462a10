"""The index of a shard from somebody else: it is ignored, whatever it holds."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.shard_files import librispeech_utterances, write_shard
from w2v2_mt.core.shard_index import index_of, read_index
from w2v2_mt.data.shards import read_shard

GB = 1 << 30


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.tar"
    write_shard(path, librispeech_utterances(num_utterances=3, first_reader=84, seed=0))
    list(read_shard(path))
    return path


def _changed(change: Callable[[Any], Any]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return apply


def _row(number: int, column: int, value: Any) -> Callable[[str], str]:
    return _changed(lambda content: content["utterances"][number].__setitem__(column, value))


CONTENTS: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: "",
    "truncated": lambda text: text[:-20],
    "no object": lambda text: "[1]",
    "depth": lambda text: "[" * 100_000,
    "a pickle": lambda text: "cos\nsystem\n(S'touch exploded'\ntR.",
    "another version": lambda text: text.replace("index 1", "index 2"),
    "no utterances": _changed(lambda content: content.pop("utterances")),
    "a number of utterances": _changed(lambda content: content.update(utterances=7)),
    "short rows": _changed(lambda content: content.update(utterances=[[]])),
    "a key that is not a text": _row(1, 0, 7),
    "a place that is no number": _row(1, 1, ["0", "9"]),
    "a place of three numbers": _row(1, 1, [512, 1024, 2]),
    "a place before the beginning": _row(0, 1, [-512, 100]),
    "a place in the first header": _row(0, 1, [0, 100]),
    "a place after the end": _row(1, 1, [512, 10**12]),
    "a place that ends before it begins": _row(1, 2, [1024, 512]),
    "a fraction": _row(1, 2, [512.5, 1024]),
    "a wrong place of the first": _row(0, 1, [1024, 1536]),
    "a wrong checksum of the last": _row(2, 3, 1),
    "metadata that are no object": _row(1, 4, [1]),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_malformed_index_is_ignored_and_made_again(shard, kind):
    text = index_of(shard).read_text()
    expected = list(read_shard(shard))
    index_of(shard).write_text(CONTENTS[kind](text))
    with shard.open("rb") as stream:
        assert read_index(shard, stream) is None
    assert list(read_shard(shard)) == expected
    assert index_of(shard).read_text() == text


@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_wrong_place_in_the_middle_is_refused_where_it_is_read(shard, column):
    row = json.loads(index_of(shard).read_text())["utterances"][0][column]
    index_of(shard).write_text(_row(1, column, row)(index_of(shard).read_text()))
    with pytest.raises(ValueError, match=r"a\.tar must have utterance .* remove .*a\.tar\.index"):
        list(read_shard(shard))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_not_a_file_is_not_opened(shard, make):
    expected = list(read_shard(shard))
    index_of(shard).unlink()
    make(index_of(shard))
    assert list(read_shard(shard)) == expected


def test_a_link_is_replaced_and_not_followed(shard, tmp_path):
    (tmp_path / "diary").write_text("mine")
    index_of(shard).unlink()
    index_of(shard).symlink_to(tmp_path / "diary")
    list(read_shard(shard))
    assert (tmp_path / "diary").read_text() == "mine"
    assert not index_of(shard).is_symlink()


def test_a_huge_index_is_not_read(shard):
    with index_of(shard).open("r+") as file:
        file.truncate(GB)
    with shard.open("rb") as stream:
        assert read_index(shard, stream) is None
