#!/usr/bin/env bash
# Run tests: all of them in two processes, or what the arguments, which are pytest's, ask for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/setup_dependencies.sh

# The networks of the tests are small: threads would cost more than they save.
export OMP_NUM_THREADS=1
if [ $# -eq 0 ]; then
    # A file stays in one process, since its tests share what its fixtures make; files start in
    # their order, for the long ones of end_to_end would otherwise come last.
    set -- -n 2 --dist loadfile --no-loadscope-reorder
fi
exec .venv/bin/python -m pytest "$@"
