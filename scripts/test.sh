#!/usr/bin/env bash
# Run all tests in three processes, or those that the arguments of pytest select, such as `-m unit` or
# `tests/models`. COVERAGE=1 prints the branch coverage as well, which takes more time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/setup_dependencies.sh

# The networks of the tests are small; threads would cost more time than they save.
export OMP_NUM_THREADS=1
if [ $# -eq 0 ]; then
    # Three processes on two cores, since the tests of SLURM wait most of their time. A file stays
    # in one process, since its tests share fixtures. tests/conftest.py lets the long files start
    # first.
    set -- -n 3 --dist loadfile --no-loadscope-reorder
fi
if [ -n "${COVERAGE:-}" ]; then
    set -- "$@" --cov --cov-report=term
fi
# TEST_PATH, if set, is the PATH of the tests.
PATH="${TEST_PATH:-$PATH}" exec .venv/bin/python -m pytest "$@"
