#!/usr/bin/env bash
# Download an archive of Speech Commands to $DATA_FOLDER/speech_commands and check its sha256 sum.
set -euo pipefail

usage="Usage: download_speech_commands.sh [--mini] [--accept_unknown_sha256]

Downloads Speech Commands v0.02 (2.3 GB: 35 words, 2,618 speakers) to
\$DATA_FOLDER/speech_commands/speech_commands_v0.02.tar.gz. A download that was stopped resumes. An
archive that exists, even one copied by hand, is only checked.

--mini downloads mini_speech_commands.zip (182 MB: 8,000 utterances of eight words) instead.
--accept_unknown_sha256 keeps an archive that is there already and is not the published one.

SPEECH_COMMANDS_URL names a mirror (default:
https://storage.googleapis.com/download.tensorflow.org/data)."

accept_unknown_sum=false
archive=speech_commands_v0.02.tar.gz
for argument in "$@"; do
    case "$argument" in
        -h | --help) echo "$usage" && exit 0 ;;
        --mini) archive=mini_speech_commands.zip ;;
        --accept_unknown_sha256) accept_unknown_sum=true ;;
        *) echo "Error: '$argument' is not an argument. --help lists them." >&2 && exit 1 ;;
    esac
done

. "$(dirname "${BASH_SOURCE[0]}")/archives.sh"
sums="$(dirname "${BASH_SOURCE[0]}")/speech_commands.sha256"
sum_kind=sha256
url="${SPEECH_COMMANDS_URL:-https://storage.googleapis.com/download.tensorflow.org/data}"

check_sum_command
get_archive "${url%/}/$archive" "$DATA_FOLDER/speech_commands/$archive"
