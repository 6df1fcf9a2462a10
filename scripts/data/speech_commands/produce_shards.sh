#!/usr/bin/env bash
# Turn an archive in $DATA_FOLDER/speech_commands into shards; --help shows the arguments.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m w2v2_mt prepare speech_commands "$@"
