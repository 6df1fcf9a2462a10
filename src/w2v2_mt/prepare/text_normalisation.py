"""Normalise transcripts: Unicode forms, replacements, case, punctuation and white space."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from w2v2_mt.core.text_files import read_text, split_lines

Case = Literal["upper", "lower", "keep"]
Punctuation = Literal["remove", "keep"]

_APOSTROPHES = "'\u2019\u2018\u02bc`\u00b4"
"""Characters that are written for an apostrophe inside a word."""
_WIDTH_FORMS = re.compile("[\u3000\uff01-\uffee]+")
"""The ideographic space, and full-width and half-width forms of other characters."""
_INVISIBLE = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Variation selectors, which are combining marks for Unicode."""
_WITHOUT_SPACES = (
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Chinese characters and kana, between which punctuation separates no words."""
_LOST = re.compile("[\ufffd\ud800-\udfff]")
_GAP = "\n"
"""A removed character, until it is known whether a space remains of it."""


@dataclass(frozen=True, kw_only=True)
class TextNormalisation:
    """The rules that turn a transcript of a corpus into the text that a network learns.

    A text passes these steps:

    1. It is composed (Unicode NFC); full-width and half-width forms become plain characters.
    2. Each key of `replacements` becomes its value, the longest key first. What was inserted is not
       replaced again, but passes the steps below. Case counts, and a key may be a part of a word.
    3. Control and format characters, such as a zero-width space or joiner, a byte-order mark or a
       soft hyphen, and variation selectors are dropped.
    4. Case is changed by Unicode's rules, which know no language: upper case of `ß` is `SS`, of `i`
       is `I`; lower case of `I` is `i`. Replacements before this step write another language.
    5. Letters, combining marks, digits and `kept_characters` stay. An apostrophe inside a word
       stays too, written `'`. Every other character becomes a space, or nothing between Chinese
       characters or kana. With `punctuation` "keep", only `|` becomes a space, since it is the
       boundary of words in a vocabulary.
    6. One space separates words.

    Args:
        case: The case of the result.
        punctuation: Removal of punctuation and symbols.
        kept_characters: Characters that are not punctuation here, such as "-".
        replacements: Texts by what they replace, as `read_replacements` reads them.
    """

    case: Case
    punctuation: Punctuation = "remove"
    kept_characters: str = ""
    replacements: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse the boundary of words as a character of words."""
        if wrong := [each for each in self.kept_characters if each == "|" or each.isspace()]:
            raise ValueError(
                f"kept_characters ({self.kept_characters!r}) must not have {wrong[0]!r}, which "
                "separates words. Leave it out."
            )

    def __call__(self, text: str) -> str:
        """Return the normalised text, which has at least one word.

        Raises:
            ValueError: No word is left, or characters were lost before (U+FFFD, a lone surrogate).
        """
        if lost := _LOST.search(text):
            raise ValueError(
                f"its text {text!a} has U+{ord(lost[0]):04X}, which is written for a "
                "character that could not be decoded."
            )
        result = _INVISIBLE.sub("", self._replace(_compose(text)))
        if self.case != "keep":
            result = result.upper() if self.case == "upper" else result.lower()
        # What was between two characters may have kept them from being composed.
        result = unicodedata.normalize("NFC", self._remove_punctuation(result))
        if not result:
            cause = "is empty" if not text.strip() else f"({text!r}) is empty after normalisation"
            raise ValueError(f"its text {cause}; every utterance needs a word.")
        return result

    def metadata(self) -> dict[str, object]:
        """Return what decides the result, for the record of a preparation."""
        return {
            "case": self.case,
            "punctuation": self.punctuation,
            "kept_characters": self.kept_characters,
            "replacements": dict(sorted(self.replacements.items())),
        }

    @cached_property
    def _composed_replacements(self) -> dict[str, str]:
        return {_compose(old): new for old, new in self.replacements.items()}

    @cached_property
    def _replaced(self) -> re.Pattern[str]:
        longest_first = sorted(self._composed_replacements, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    def _replace(self, text: str) -> str:
        if not self.replacements:
            return text
        replaced = self._replaced.sub(lambda found: self._composed_replacements[found[0]], text)
        return _compose(replaced)

    @cached_property
    def _table(self) -> "_CharacterTable":
        return _CharacterTable(self.kept_characters, keeps_all=self.punctuation == "keep")

    def _remove_punctuation(self, text: str) -> str:
        text = text.translate(self._table)
        if self.punctuation == "remove":
            if "'" not in self.kept_characters:
                text = re.sub(r"(?<![^\s'])'|'(?![^\s'])", _GAP, text)
            text = re.sub(rf"(?<=[{_WITHOUT_SPACES}]){_GAP}+(?=[{_WITHOUT_SPACES}])", "", text)
        return " ".join(text.split())


class _CharacterTable(dict[int, str | None]):
    """A table for `str.translate` that decides on each character when it first occurs."""

    def __init__(self, kept_characters: str, *, keeps_all: bool) -> None:
        super().__init__()
        self._kept_characters = kept_characters
        self._keeps_all = keeps_all

    def __missing__(self, code: int) -> str | None:
        self[code] = result = self._translate(chr(code))
        return result

    def _translate(self, character: str) -> str | None:
        category = unicodedata.category(character)
        if character.isspace():
            return " "
        if category in ("Cc", "Cf"):
            return None
        if character in self._kept_characters:
            return character
        if self._keeps_all:
            return " " if character == "|" else character
        if character in _APOSTROPHES:
            return "'"
        return character if category[0] in "LN" or category in ("Mn", "Mc") else _GAP


def _compose(text: str) -> str:
    """Return a text in NFC, without full-width and half-width forms."""
    if text.isascii():
        return text
    narrowed = _WIDTH_FORMS.sub(lambda form: unicodedata.normalize("NFKC", form[0]), text)
    return unicodedata.normalize("NFC", narrowed)


def read_replacements(path: Path) -> dict[str, str]:
    r"""Read a mapping file for `TextNormalisation`: a line is a text, a tab, and what replaces it.

    Spaces count, so that "&" may become " and ". The second text may be empty. Empty lines are
    skipped.

    Raises:
        ValueError: The file is not UTF-8, a line does not have two columns, or a text has two
            replacements.
    """
    if not path.is_file():
        raise ValueError(f"--replacements ({path}) must be a file. Correct the path.")
    try:
        lines = split_lines(read_text(path))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be in UTF-8 ({error.reason} at byte {error.start}). Save it in this "
            "encoding."
        ) from error
    replacements: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        old, *new = line.split("\t")
        if len(new) != 1 or not old:
            raise ValueError(
                f"{path}, line {number} ({line!r}) must be a text, one tab, and what replaces it. "
                "Correct the line."
            )
        if replacements.setdefault(old, new[0]) != new[0]:
            raise ValueError(
                f"{path}, line {number}: {old!r} must have one replacement, but has "
                f"{replacements[old]!r} and {new[0]!r}. Remove one of the lines."
            )
    return replacements
