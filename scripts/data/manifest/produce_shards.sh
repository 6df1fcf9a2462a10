#!/usr/bin/env bash
# Turn the recordings of a manifest into shards in $DATA_FOLDER; --help shows the arguments.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m w2v2_mt prepare manifest "$@"
