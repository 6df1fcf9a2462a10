#!/usr/bin/env bash
# Check format, style, types, the direction of imports and the syntax of the scripts.
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

scripts_parse() {
    local script status=0
    while read -r script; do
        bash -n "$script" || status=1
    done < <(find scripts .ci/run -type f \( -name '*.sh' -o -name run \))
    return $status
}

check format .venv/bin/ruff format --check .
check style .venv/bin/ruff check .
check types .venv/bin/mypy src
check imports .venv/bin/lint-imports --no-logo
check scripts scripts_parse

if [ -n "$failed" ]; then
    echo "Failed: $failed." >&2
    exit 1
fi
