#!/usr/bin/env bash
# Download the meta files and trial lists of VoxCeleb to $DATA_FOLDER/voxceleb_meta.
set -euo pipefail

usage="Usage: download_voxceleb_meta.sh

Downloads vox1_meta.csv, vox2_meta.csv, veri_test2.txt, list_test_all2.txt and list_test_hard2.txt
to \$DATA_FOLDER/voxceleb_meta. A file that is there already, also one brought by hand, is kept.

VOXCELEB_META_URL names a mirror (default: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta)."

for argument in "$@"; do
    case "$argument" in
        -h | --help) echo "$usage" && exit 0 ;;
        *) echo "Error: '$argument' is not an argument. --help lists them." >&2 && exit 1 ;;
    esac
done

. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
url="${VOXCELEB_META_URL:-https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta}"

is_list() { # FILE: no checksums are published, but a web page is easy to detect
    [ -s "$1" ] && ! head -c 200 "$1" | grep -qi '<html\|<!doctype'
}

check_file() { # PART FILE
    if ! is_list "$1"; then
        rm -f "$1"
        fail "$url returned something other than the list $(basename "$2"). Download it by hand into $(dirname "$2")."
    fi
}

for name in vox1_meta.csv vox2_meta.csv veri_test2.txt list_test_all2.txt list_test_hard2.txt; do
    file="$DATA_FOLDER/voxceleb_meta/$name"
    if ! [ -f "$file" ]; then
        download "${url%/}/$name" "$file"
    elif is_list "$file"; then
        echo "Exists: $file"
    else
        fail "$file is empty or a web page, not a list. Move it away and run this again."
    fi
done
