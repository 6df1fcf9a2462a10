"""An n-gram language model of words, read from a file in the ARPA format."""

import gzip
import math
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

Context = tuple[str, ...]

_SENTENCE_START, _SENTENCE_END, _UNKNOWN = "<s>", "</s>", "<unk>"
_COUNT = re.compile(r"ngram (\d+)\s*=\s*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")
_NEVER_LOG10 = -99.0
"""How the format writes the logarithm of zero."""


class NgramModel:
    """How likely a word is after the words before it, with back-off. Case counts.

    p(w | h) is the probability of the n-gram h w where the file has it, else the back-off weight of
    h (1 where there is none) times p(w | h without its first word). A word that the file does not
    have is its `<unk>`, and as good as impossible (1e-99) where it has none.

    A dictionary holds the n-grams: about 200 bytes each.

    Source: Katz, Estimation of probabilities from sparse data for the language model component of
    a speech recognizer, IEEE TASSP 35 (1987); the format as SRILM's manual page ngram-format.
    """

    def __init__(self, path: Path):
        """Read a file, which may be compressed with gzip.

        Raises ValueError for a file that is missing or is not in the ARPA format.
        """
        self._log10_probabilities: dict[Context, float] = {}
        self._log10_back_offs: dict[Context, float] = {}
        self.order = 0
        """How many words the longest n-gram has."""
        if not path.is_file():
            raise ValueError(f"there is no language model {path}; give the path of an ARPA file.")
        self._read(path)
        if (_SENTENCE_END,) not in self._log10_probabilities:
            raise ValueError(
                f"language model {path} has no {_SENTENCE_END}, but sentences end; use a model of "
                "sentences."
            )
        self.start = self._last((_SENTENCE_START,))
        """The context of the first word of a sentence."""

    def words(self) -> dict[str, float]:
        """ln p of each word without regard to the words before it, the marks excepted."""
        return {
            ngram[0]: log10 * math.log(10)
            for ngram, log10 in self._log10_probabilities.items()
            if len(ngram) == 1 and ngram[0] not in (_SENTENCE_START, _SENTENCE_END, _UNKNOWN)
        }

    def log_probability(self, word: str, context: Context) -> float:
        """ln p(word | context)."""
        word = self._known(word)
        back_off = 0.0
        while (found := self._log10_probabilities.get((*context, word))) is None:
            if not context:
                return (back_off + _NEVER_LOG10) * math.log(10)
            back_off += self._log10_back_offs.get(context, 0.0)
            context = context[1:]
        return (back_off + found) * math.log(10)

    def unknown_log_probability(self) -> float:
        """ln p of a word that the file does not have, without regard to the words before it."""
        return self.log_probability(_UNKNOWN, ())

    def end_log_probability(self, context: Context) -> float:
        """ln p of the end of the sentence."""
        return self.log_probability(_SENTENCE_END, context)

    def next_context(self, word: str, context: Context) -> Context:
        """The words by which the word after `word` is judged."""
        return self._last((*context, self._known(word)))

    def _known(self, word: str) -> str:
        return word if (word,) in self._log10_probabilities else _UNKNOWN

    def _last(self, words: Context) -> Context:
        return words[-(self.order - 1) :] if self.order > 1 else ()

    def _read(self, path: Path) -> None:
        counts: dict[int, int] = {}
        num_read: dict[int, int] = {}
        section: int | None = None
        """The length of the n-grams that are being read; 0 among their counts."""
        number = 0
        for number, line in _numbered_lines(path):
            if line == "\\end\\" and section is not None:
                break
            if line == "\\data\\":
                section = 0
            elif section is None:  # Anything may stand before the data.
                continue
            elif (match := _SECTION.fullmatch(line)) is not None:
                section = int(match[1])
                if section not in counts:
                    raise _malformed(path, number, f"no count announces {section}-grams")
                num_read[section] = 0
            elif section == 0:
                match = _COUNT.fullmatch(line)
                if match is None:
                    raise _malformed(path, number, f"'ngram 1=<count>' is due, not {line!r}")
                counts[int(match[1])] = int(match[2])
                self.order = max(counts)
            else:
                self._add(line, section, path, number)
                num_read[section] += 1
        else:
            what = (
                "no \\data\\ begins the model" if section is None else "no \\end\\ ends the model"
            )
            raise _malformed(path, number, what)
        for length, count in counts.items():
            if num_read.get(length, 0) != count:
                raise _malformed(
                    path, number, f"{count} {length}-grams are due, not {num_read.get(length, 0)}"
                )

    def _add(self, line: str, length: int, path: Path, number: int) -> None:
        fields = line.split()
        try:
            log10, *others = (float(fields[0]), *map(float, fields[length + 1 :]))
            is_allowed = log10 <= 0 and all(map(math.isfinite, others)) and len(others) <= 1
        except (ValueError, IndexError):
            is_allowed = False
        if not is_allowed or len(fields) < length + 1:
            raise _malformed(
                path,
                number,
                f"log10 of a probability, {length} word(s) and at most a back-off weight are due, "
                f"not {line!r}",
            )
        ngram = tuple(map(_mark_or_word, fields[1 : length + 1]))
        self._log10_probabilities[ngram] = max(log10, _NEVER_LOG10)
        if others and others[0] != 0:
            self._log10_back_offs[ngram] = others[0]


def _mark_or_word(field: str) -> str:
    """One object for equal words, to save memory. Some models write their marks in capitals."""
    return sys.intern(field.lower() if field in ("<S>", "</S>", "<UNK>") else field)


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with text, without white space around it. What cannot be read is a ValueError."""
    number = 0
    with path.open("rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if is_compressed else open)(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError, OSError, zlib.error) as error:
        raise _malformed(path, number + 1, f"the file cannot be read on ({error})") from error


def _malformed(path: Path, number: int, what: str) -> ValueError:
    return ValueError(
        f"language model {path}, line {number}: {what}; give a file in the ARPA format."
    )
