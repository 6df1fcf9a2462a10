#!/usr/bin/env bash
# Download the LibriSpeech archives to $DATA_FOLDER/librispeech and check their md5 sums.
set -euo pipefail

usage="Usage: download_librispeech.sh [SUBSET...]

Downloads train-clean-100, train-clean-360, train-other-500, dev-clean, dev-other, test-clean and
test-other, or the subsets that are named, to \$DATA_FOLDER/librispeech. A download that was stopped
goes on where it was. An archive that is there already, also one brought by hand, is only checked.

LIBRISPEECH_URL names a mirror (default: https://www.openslr.org/resources/12)."

for argument in "$@"; do
    case "$argument" in -h | --help) echo "$usage" && exit 0 ;; esac
done

. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
sums="$(dirname "${BASH_SOURCE[0]}")/librispeech.md5"
url="${LIBRISPEECH_URL:-https://www.openslr.org/resources/12}"

if [ $# -eq 0 ]; then
    set -- train-clean-100 train-clean-360 train-other-500 dev-clean dev-other test-clean test-other
fi
for subset in "$@"; do
    grep -q " $subset.tar.gz\$" "$sums" || fail "'$subset' is no subset of LibriSpeech; --help names them."
done

check_file() { # FILE NAME: is FILE what is published under the name of NAME?
    local expected found
    expected="$(grep " $(basename "$2")\$" "$sums" | cut -d ' ' -f 1)"
    found="$(md5sum "$1" | cut -d ' ' -f 1)"
    [ "$found" = "$expected" ] ||
        fail "$1 has the md5 sum $found, the published archive $expected; move it away and run this again."
}

for subset in "$@"; do
    file="$DATA_FOLDER/librispeech/$subset.tar.gz"
    if [ -f "$file" ]; then
        check_file "$file" "$file"
        echo "There already: $file"
    else
        download "$url/$subset.tar.gz" "$file"
    fi
done
