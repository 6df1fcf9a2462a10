#!/usr/bin/env bash
# Check format, style, docstrings, types, direction of imports, documents and syntax of the scripts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/setup_dependencies.sh || exit

failed=""

check() {
    local name="$1"
    shift
    echo "== $name"
    "$@" || failed="$failed${failed:+, }$name"
}

# A docstring may document some of the arguments only, or only Raises. What it documents must agree with
# the signature.
docstrings_agree() {
    local found
    found="$(.venv/bin/pydoclint --quiet --show-filenames-in-every-violation-message True src 2>&1 |
        grep -E 'DOC[0-9]+' | grep -vE 'DOC(101|201|402): ' |
        grep -E 'in the docstring but not in the function signature|DOC(0|102|104|105|106|2|3|4|5|6)')"
    [ -z "$found" ] || { echo "$found"; return 1; }
}

documents_build() {
    local site status=0
    site="$(mktemp -d)"
    NO_MKDOCS_2_WARNING=true .venv/bin/mkdocs build --quiet --strict --site-dir "$site" || status=1
    rm -rf "$site"
    return $status
}

scripts_parse() {
    local script status=0
    while read -r script; do
        bash -n "$script" || status=1
    done < <(find scripts .ci/run -type f \( -name '*.sh' -o -name run \))
    return $status
}

check format .venv/bin/ruff format --check .
check style .venv/bin/ruff check .
check docstrings docstrings_agree
check words .venv/bin/python scripts/check_words.py
check types .venv/bin/mypy src tests benchmarks
check documents documents_build
check imports .venv/bin/lint-imports --no-logo
check scripts scripts_parse

if [ -n "$failed" ]; then
    echo "Failed: $failed." >&2
    exit 1
fi
