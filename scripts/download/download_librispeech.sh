#!/usr/bin/env bash
# Download the LibriSpeech archives to $DATA_FOLDER/librispeech and check their md5 sums.
set -euo pipefail

usage="Usage: download_librispeech.sh [--accept_unknown_md5] [SUBSET...]

Downloads train-clean-100, train-clean-360, train-other-500, dev-clean, dev-other, test-clean and
test-other, or the subsets that are named, to \$DATA_FOLDER/librispeech. A download that was stopped
resumes. An archive that exists, even one copied by hand, is only checked.

train-clean-5 (332 MB) and dev-clean-2 (126 MB), Mini LibriSpeech, are downloaded only if named.

--accept_unknown_md5 keeps an archive that is there already and is not the published one.

LIBRISPEECH_URL names a mirror (default: https://www.openslr.org/resources/12). Where it ends in /12,
Mini LibriSpeech is in /31 there."

accept_unknown_sum=false
subsets=()
for argument in "$@"; do
    case "$argument" in
        -h | --help) echo "$usage" && exit 0 ;;
        --accept_unknown_md5) accept_unknown_sum=true ;;
        *) subsets+=("$argument") ;;
    esac
done
if [ ${#subsets[@]} -eq 0 ]; then
    subsets=(train-clean-100 train-clean-360 train-other-500)
    subsets+=(dev-clean dev-other test-clean test-other)
fi

. "$(dirname "${BASH_SOURCE[0]}")/archives.sh"
sums="$(dirname "${BASH_SOURCE[0]}")/librispeech.md5"
sum_kind=md5
url="${LIBRISPEECH_URL:-https://www.openslr.org/resources/12}"
url="${url%/}"

for subset in "${subsets[@]}"; do
    [ -n "$(published_sum "$subset.tar.gz")" ] ||
        fail "'$subset' is not a subset of LibriSpeech. --help lists them."
done
check_sum_command

for subset in "${subsets[@]}"; do
    case "$subset" in
        train-clean-5 | dev-clean-2) folder="${url/%\/12//31}" ;;
        *) folder="$url" ;;
    esac
    get_archive "$folder/$subset.tar.gz" "$DATA_FOLDER/librispeech/$subset.tar.gz"
done
