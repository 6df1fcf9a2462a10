# ruff: noqa: RUF001 (characters of other scripts are what is tested)
"""Corpora in German and Chinese, from a table to the tokens of a network."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2_mt.app.commands import main
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.decoding.subwords import SubwordTokenizer
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.metrics.word_error_rate import character_edits, error_rate, word_error_rate

GERMAN = [
    "Die Straße ist naß & kalt.",
    "„Schön“, sagte Käthe – ganz leise.",
    "Über den Fluß führt die größte Brücke!",
    "Wie geht's dir heute?",
    "Zu\u0308rich liegt an der Limmat.",
    "Er zählt: eins, zwei, drei…",
]
CHINESE = [
    "今天天气很好，我们去公园。",
    "“你好！”他说。",
    "北京是中国的首都。",
    "我喜欢喝茶、看书。",
    "ＯＫ，明天见！",
    "她在学习汉语。",
]


def write_corpus(folder: Path, texts: list[str]) -> Path:
    rng = np.random.default_rng(0)
    path = folder / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "text"])
        for number, text in enumerate(4 * texts):
            soundfile.write(folder / f"{number}.wav", 0.1 * rng.normal(size=1600), 16_000)
            writer.writerow([f"{number}.wav", text])
    return path


def prepare(folder: Path, texts: list[str], *options: str) -> tuple[Path, dict[str, str]]:
    """The folder of the shards, and all transcripts by key."""
    manifest = write_corpus(folder, texts)
    command = ["prepare", "manifest", str(manifest), "--name", "mine", "--num_workers", "0"]
    assert main([*command, "--data_folder", str(folder), *options]) == 0
    shards_folder = folder / "mine_shards"
    shards = [
        shard
        for name in ("train", "val", "test")
        for shard in find_shards(shards_folder / name, producer="")
    ]
    return shards_folder, {
        sample.key: sample.metadata["transcription"]
        for each in shards
        for sample in read_shard(each)
    }


def test_german_in_lower_case_with_its_own_letters(tmp_path: Path) -> None:
    (tmp_path / "german.tsv").write_text("&\t und \nß\tss\n", encoding="utf-8")
    folder, transcripts = prepare(
        tmp_path, GERMAN, "--case", "lower", "--replacements", str(tmp_path / "german.tsv")
    )
    assert [transcripts[str(number)] for number in range(6)] == [
        "die strasse ist nass und kalt",
        "schön sagte käthe ganz leise",
        "über den fluss führt die grösste brücke",
        "wie geht's dir heute",
        "zürich liegt an der limmat",
        "er zählt eins zwei drei",
    ]
    symbols = list(json.loads((folder / "vocabulary.json").read_text()))
    assert symbols[:4] == ["<pad>", "<unk>", "|", "'"]
    assert symbols[-3:] == ["ä", "ö", "ü"]
    assert "ß" not in symbols
    tokenizer = LetterTokenizer(vocabulary_path=str(folder / "vocabulary.json"))
    assert all(len(tokenizer.encode(text)) == len(text) for text in transcripts.values())


def test_german_in_subwords(tmp_path: Path) -> None:
    folder, transcripts = prepare(tmp_path, GERMAN, "--case", "lower", "--bpe", "60")
    tokenizer = SubwordTokenizer(vocabulary_path=str(folder / "vocabulary.json"))
    assert tokenizer.num_tokens == 60
    lengths = [(len(tokenizer.encode(text)), len(text)) for text in transcripts.values()]
    assert all(num_tokens < num_letters for num_tokens, num_letters in lengths)


@pytest.mark.parametrize("bpe", [None, 60])
def test_chinese_has_characters_as_tokens_and_no_spaces(tmp_path: Path, bpe: int | None) -> None:
    options = [] if bpe is None else ["--bpe", str(bpe)]
    folder, transcripts = prepare(tmp_path, CHINESE, "--case", "keep", *options)
    assert [transcripts[str(number)] for number in range(6)] == [
        "今天天气很好我们去公园",
        "你好他说",
        "北京是中国的首都",
        "我喜欢喝茶看书",
        "OK 明天见",
        "她在学习汉语",
    ]
    kind = LetterTokenizer if bpe is None else SubwordTokenizer
    tokenizer = kind(vocabulary_path=str(folder / "vocabulary.json"))
    assert {"今", "汉", "O"} <= set(tokenizer.symbols)
    assert tokenizer.encode("今天").tolist()
    # A text without spaces is one word: its word error rate is that of sentences.
    references, hypotheses = ["今天天气很好", "她在学习汉语"], ["今天天汽很好", "她在学习汉语"]
    assert word_error_rate(references, hypotheses) == 0.5
    assert error_rate(character_edits(references, hypotheses)) == pytest.approx(1 / 12)
