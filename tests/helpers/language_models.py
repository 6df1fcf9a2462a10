"""ARPA files for tests: written from n-grams, and estimated from sentences."""

from collections import Counter, defaultdict
from itertools import pairwise
from math import log10
from pathlib import Path

DISCOUNT = 0.5


def write_arpa(path: Path, ngrams: dict[tuple[str, ...], tuple[float, float | None]]) -> Path:
    """`ngrams`: the words of each, log10 of its probability and of its back-off weight."""
    lengths = sorted({len(ngram) for ngram in ngrams})
    lines = ["\\data\\"]
    lines += [f"ngram {n}={sum(len(ngram) == n for ngram in ngrams)}" for n in lengths]
    for n in lengths:
        lines += ["", f"\\{n}-grams:"]
        for ngram, (probability, back_off) in ngrams.items():
            if len(ngram) == n:
                fields = [f"{probability:.9f}", " ".join(ngram)]
                lines.append(
                    "\t".join(fields if back_off is None else [*fields, f"{back_off:.9f}"])
                )
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


def bigram_model(sentences: list[str]) -> dict[tuple[str, ...], tuple[float, float | None]]:
    """Bigrams with absolute discounting (Ney, Essen & Kneser 1994), interpolated with unigrams.

    One more unknown word than sentences have known ones makes `<unk>` likely once.
    """
    unigrams: Counter[str] = Counter({"<unk>": 1})
    bigrams: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        words = ["<s>", *sentence.split(), "</s>"]
        unigrams.update(words[1:])
        for first, second in pairwise(words):
            bigrams[first][second] += 1
    model: dict[tuple[str, ...], tuple[float, float | None]] = {}
    chance = {word: count / unigrams.total() for word, count in unigrams.items()}
    left_over = {
        first: DISCOUNT * len(seconds) / seconds.total() for first, seconds in bigrams.items()
    }
    for word in ("<s>", *chance):
        back_off = log10(left_over[word]) if word in left_over else None
        model[(word,)] = (log10(chance[word]) if word in chance else -99.0, back_off)
    for first, seconds in bigrams.items():
        for second, count in seconds.items():
            kept = (count - DISCOUNT) / seconds.total()
            model[first, second] = (log10(kept + left_over[first] * chance[second]), None)
    return model
