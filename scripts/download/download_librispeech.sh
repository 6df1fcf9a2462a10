#!/usr/bin/env bash
# Download the LibriSpeech archives to $DATA_FOLDER/librispeech and check their md5 sums.
set -euo pipefail

usage="Usage: download_librispeech.sh [--accept_unknown_md5] [SUBSET...]

Downloads train-clean-100, train-clean-360, train-other-500, dev-clean, dev-other, test-clean and
test-other, or the subsets that are named, to \$DATA_FOLDER/librispeech. A download that was stopped
resumes. An archive that exists, even one copied by hand, is only checked.

--accept_unknown_md5 keeps an archive that is there already and is not the published one.

LIBRISPEECH_URL names a mirror (default: https://www.openslr.org/resources/12)."

accept_unknown_md5=false
subsets=()
for argument in "$@"; do
    case "$argument" in
        -h | --help) echo "$usage" && exit 0 ;;
        --accept_unknown_md5) accept_unknown_md5=true ;;
        *) subsets+=("$argument") ;;
    esac
done
if [ ${#subsets[@]} -eq 0 ]; then
    subsets=(train-clean-100 train-clean-360 train-other-500)
    subsets+=(dev-clean dev-other test-clean test-other)
fi

. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
sums="$(dirname "${BASH_SOURCE[0]}")/librispeech.md5"
url="${LIBRISPEECH_URL:-https://www.openslr.org/resources/12}"

published_md5() { # NAME
    awk -v name="$1" '$2 == name { print $1 }' "$sums"
}

md5_problem() { # FILE NAME: prints nothing if FILE is what is published under NAME
    local found expected
    found="$(md5sum <"$1")" || return 1
    found="${found%% *}"
    expected="$(published_md5 "$2")"
    [ "$found" = "$expected" ] || echo "$1 has the md5 sum $found, the published $2 $expected"
}

check_file() { # PART FILE
    local problem
    problem="$(md5_problem "$1" "$(basename "$2")")"
    [ -z "$problem" ] || fail "$problem; remove it and run this again."
}

for subset in "${subsets[@]}"; do
    [ -n "$(published_md5 "$subset.tar.gz")" ] ||
        fail "'$subset' is not a subset of LibriSpeech. --help lists them."
done
command -v md5sum >/dev/null || fail "md5sum is not installed; install it (GNU coreutils)."

for subset in "${subsets[@]}"; do
    file="$DATA_FOLDER/librispeech/$subset.tar.gz"
    if ! [ -f "$file" ]; then
        download "${url%/}/$subset.tar.gz" "$file"
        continue
    fi
    problem="$(md5_problem "$file" "$subset.tar.gz")"
    if [ -z "$problem" ]; then
        echo "Exists: $file"
    elif [ "$accept_unknown_md5" = true ]; then
        echo "Kept: $problem."
    else
        fail "$problem; move it away and run this again," \
            "or pass --accept_unknown_md5 to keep it."
    fi
done
