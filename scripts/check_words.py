"""Report docstrings that open with a fragment, and words that the style of this project avoids.

Checks the docstrings, comments and messages of Python files, the comments of yaml files, and all
lines of shell scripts, page templates, documents and .env.example.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT_FOLDER = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "config", "scripts", "benchmarks", "docs")
FILES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", ".env.example")
SUFFIXES = (".py", ".yaml", ".sh", ".md", ".j2")

FRAGMENT_OPENINGS = {
    *("What", "How", "Whether", "Of", "Where", "Which", "Why", "Who", "By", "So", "Also", "As"),
    *("Beside", "Behind", "Besides", "Without", "True"),
}

AVOIDED_WORDS = {
    r"so many": "at most N, or the name of the number",
    r"(?<!there )(?:is|was) no (?!longer|more than|other)[a-z]+": "is not a",
    r"go(?:es)? on|going on|went on": "resume, continue",
    r"letter[- ](?:head|guided)": "CTC head, CTC-guided",
    r"by heart": "overfit",
    r"trackers?": "logger",
    r"thaw(?:s|ed)?": "unfrozen",
    r"facts?(?!:)": "metadata",
    r"tells?(?! (?:\w+ ){0,3}apart)|told(?! apart)": "log, report, return",
    r"stands?": "is",
    r"behind": "after, or padding",
    r"beside": "next to, in addition to",
    r"left out": "skipped",
    r"damaged": "corrupt",
    r"optimis(?:er|ers|ation|e|es|ed)": "optimizer",
    r"reading process(?:es)?": "DataLoader worker",
}
"""Avoided words as regular expressions, with the words to use instead."""

NOT_CHECKED = {Path(__file__).name, "glossary.md"}
"""Files that name the avoided words."""

ALLOWED = {("runs/folder_decision.py", "facts")}
"""Exceptions as (end of a path, word)."""

_ALTERNATIVES = "|".join(f"({words})" for words in AVOIDED_WORDS)
_AVOIDED = re.compile(rf"\b(?:{_ALTERNATIVES})\b", re.IGNORECASE)
_ADVICE = list(AVOIDED_WORDS.values())


@dataclass(frozen=True)
class Text:
    """A piece of prose in a file."""

    line: int
    text: str
    is_docstring: bool = False


def texts_of_python(source: str) -> Iterator[Text]:
    """Yield the docstrings, other strings and comments of a Python file."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for statement in body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    docstrings.add(statement.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(node.lineno, node.value, is_docstring=node in docstrings)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)


def texts_of_yaml(source: str) -> Iterator[Text]:
    """Yield the comments of a yaml file."""
    for number, line in enumerate(source.splitlines(), start=1):
        if "#" in line:
            yield Text(number, line[line.index("#") :])


def texts_of_lines(source: str) -> Iterator[Text]:
    """Yield every line of a file."""
    for number, line in enumerate(source.splitlines(), start=1):
        yield Text(number, line)


READERS = {".py": texts_of_python, ".yaml": texts_of_yaml}


def problems_of(text: Text) -> Iterator[str]:
    """Yield each problem of a piece of prose in words."""
    words = text.text.split()
    if text.is_docstring and words and words[0].strip(",") in FRAGMENT_OPENINGS:
        yield f"a docstring must not open with {words[0]!r}"
    for match in _AVOIDED.finditer(text.text):
        advice = _ADVICE[match.lastindex - 1] if match.lastindex else ""
        yield f"{match[0]!r}: use {advice}"


def check(path: Path) -> Iterator[str]:
    """Yield one line per problem of a file."""
    source = path.read_text(encoding="utf-8")
    for text in READERS.get(path.suffix, texts_of_lines)(source):
        for problem in problems_of(text):
            if not any(str(path).endswith(end) and word in problem for end, word in ALLOWED):
                yield f"{path.relative_to(PROJECT_FOLDER)}:{text.line}: {problem}"


def main() -> int:
    """Check all files, or those that are named, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files to check (default: all)")
    files = parser.parse_args().files or [
        *(PROJECT_FOLDER / name for name in FILES),
        *(
            path
            for folder in FOLDERS
            for path in sorted((PROJECT_FOLDER / folder).rglob("*"))
            if path.suffix in SUFFIXES and path.name not in NOT_CHECKED
        ),
    ]
    problems = [problem for path in files for problem in check(path.resolve())]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
