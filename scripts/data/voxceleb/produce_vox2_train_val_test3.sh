#!/usr/bin/env bash
# Turn the VoxCeleb2 archives in $DATA_FOLDER/voxceleb_archives into shards; --help shows the arguments.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m w2v2_mt prepare voxceleb2 "$@"
