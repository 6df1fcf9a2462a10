#!/usr/bin/env bash
# Turn the LibriSpeech archives in $DATA_FOLDER/librispeech into shards; --help shows the arguments.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m w2v2_mt prepare librispeech "$@"
