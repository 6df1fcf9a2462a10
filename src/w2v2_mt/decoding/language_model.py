"""Read an n-gram language model of words from a file in the ARPA format."""

import codecs
import gzip
import math
import re
import sys
import zlib
from collections import Counter
from pathlib import Path

from w2v2_mt.core.text_files import split_fields
from w2v2_mt.core.units import count

Context = tuple[str, ...]

SENTENCE_START, SENTENCE_END, UNKNOWN = "<s>", "</s>", "<unk>"
MAX_LINE_BYTES = 1 << 16
"""The longest line that is read; n-grams of words have less than a hundredth of it."""

_COUNT = re.compile(r"ngram (\d+)\s*=\s*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")
_NEVER_LOG10 = -99.0
"""Logarithm of zero in the format."""


class NgramModel:
    """The probability of a word after the words before it, with back-off. Case counts.

    p(w | h) is the probability of the n-gram h w if the file has it, else the back-off weight of h
    (1 if there is none) times p(w | h without its first word). A word that the file does not have
    counts as its `<unk>`; if it has none, the probability is 1e-99.

    A dictionary holds the n-grams, with about 200 bytes each.

    Args:
        path: The file, which may be compressed with gzip.

    Raises:
        ValueError: The file does not exist or is not in the ARPA format.

    Source: Katz, Estimation of probabilities from sparse data for the language model component of
    a speech recognizer, IEEE TASSP 35 (1987); the format as SRILM's manual page ngram-format.
    """

    def __init__(self, path: Path):
        self._log10_probabilities: dict[Context, float] = {}
        self._log10_back_offs: dict[Context, float] = {}
        self.order = 0
        """The number of words of the longest n-gram."""
        if not path.is_file():
            raise ValueError(f"Language model {path} must exist. Give the path of an ARPA file.")
        self._read(path)
        if (SENTENCE_END,) not in self._log10_probabilities:
            raise ValueError(
                f"Language model {path} must have {SENTENCE_END}. Use a model of sentences."
            )
        self.start = self._last((SENTENCE_START,))
        """The context of the first word of a sentence."""

    @property
    def has_unknown(self) -> bool:
        """Return True if words that the file does not have are likelier than 1e-99."""
        return self._log10_probabilities.get((UNKNOWN,), _NEVER_LOG10) > _NEVER_LOG10

    def words(self) -> dict[str, float]:
        """Return ln p of each word, but the special ones, without regard to the words before it."""
        return {
            ngram[0]: log10 * math.log(10)
            for ngram, log10 in self._log10_probabilities.items()
            if len(ngram) == 1 and ngram[0] not in (SENTENCE_START, SENTENCE_END, UNKNOWN)
        }

    def log_probability(self, word: str, context: Context) -> float:
        """Return ln p(word | context), for example of `SENTENCE_END`."""
        word = self._word_or_unknown(word)
        back_off = 0.0
        while (found := self._log10_probabilities.get((*context, word))) is None:
            if not context:
                return (back_off + _NEVER_LOG10) * math.log(10)
            back_off += self._log10_back_offs.get(context, 0.0)
            context = context[1:]
        return (back_off + found) * math.log(10)

    def next_context(self, word: str, context: Context) -> Context:
        """Return the context of the word after `word`."""
        return self._last((*context, self._word_or_unknown(word)))

    def _word_or_unknown(self, word: str) -> str:
        return word if (word,) in self._log10_probabilities else UNKNOWN

    def _last(self, words: Context) -> Context:
        return words[-(self.order - 1) :] if self.order > 1 else ()

    def _read(self, path: Path) -> None:
        counts: dict[int, int] = {}
        num_read: Counter[int] = Counter()
        section: int | None = None
        """The length of the n-grams of the current section, 0 in the section of their counts."""
        number = 0
        with path.open("rb") as file:
            open_file = gzip.open if file.read(2) == b"\x1f\x8b" else open
        try:
            with open_file(path, "rb") as file:
                lines = iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")
                for position, content in enumerate(lines, start=1):
                    if content.strip() or len(content) > MAX_LINE_BYTES:
                        number = position
                    if len(content) > MAX_LINE_BYTES:
                        raise ValueError(f"a line must not have more than {MAX_LINE_BYTES} bytes")
                    if position == 1:
                        content = content.removeprefix(codecs.BOM_UTF8)
                    line = content.decode().strip(" \t\r\n")
                    if not line:
                        continue
                    if line == "\\end\\" and section is not None:
                        break
                    if line == "\\data\\":
                        section = 0
                    elif section is None:  # Any text may precede the data.
                        continue
                    elif match := _SECTION.fullmatch(line):
                        section = int(match[1])
                        if section not in counts:
                            raise ValueError(f"no count announces {section}-grams")
                    elif section > 0:
                        if num_read[section] == counts[section]:
                            raise ValueError(f"more than {counts[section]} {section}-grams follow")
                        self._add(line, section)
                        num_read[section] += 1
                    elif match := _COUNT.fullmatch(line):
                        counts[int(match[1])] = int(match[2])
                        self.order = max(counts)
                    else:
                        raise ValueError(f"'ngram 1=<count>' is due, not {line!r}")
                else:
                    missing = "\\data\\ begins" if section is None else "\\end\\ ends"
                    raise ValueError(f"no {missing} the model")
            for length, count in counts.items():
                if num_read[length] != count:
                    raise ValueError(f"{count} {length}-grams are due, not {num_read[length]}")
        except (EOFError, OSError, zlib.error) as error:
            raise _arpa_error(path, number + 1, f"the rest is not readable ({error})") from error
        except UnicodeDecodeError as error:
            raise _arpa_error(path, number, f"it is not UTF-8 text ({error})") from error
        except ValueError as error:
            raise _arpa_error(path, number, str(error)) from error

    def _add(self, line: str, length: int) -> None:
        fields = split_fields(line)
        words = fields[1 : length + 1]
        try:
            log10, *back_offs = map(float, [fields[0], *fields[length + 1 :]])
        except ValueError:
            log10, back_offs = math.nan, []
        is_allowed = log10 <= 0 and len(back_offs) <= 1 and all(map(math.isfinite, back_offs))
        if not is_allowed or len(words) < length:
            raise ValueError(
                f"log10 of a probability, {count(length, 'word')} and at most a back-off weight "
                f"are due, not {line!r}"
            )
        # Some models write the special words in capitals. Interning saves memory.
        special = {"<S>": SENTENCE_START, "</S>": SENTENCE_END, "<UNK>": UNKNOWN}
        ngram = tuple(sys.intern(special.get(word, word)) for word in words)
        self._log10_probabilities[ngram] = max(log10, _NEVER_LOG10)
        if back_offs and back_offs[0] != 0:
            self._log10_back_offs[ngram] = back_offs[0]


def _arpa_error(path: Path, number: int, problem: str) -> ValueError:
    return ValueError(
        f"Language model {path}, line {number}: {problem}. Give a file in the ARPA format."
    )
