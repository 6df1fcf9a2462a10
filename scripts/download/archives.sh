# Sourced by the scripts next to it: `get_archive URL FILE` downloads an archive, or checks one that is
# there, by its published sum. The caller sets `sums`, the file of sums, `sum_kind`, such as md5, and
# `accept_unknown_sum`, true to keep an archive that is there and is not the published one.

. "$(dirname "${BASH_SOURCE[0]}")/download.sh"

check_sum_command() {
    command -v "${sum_kind}sum" >/dev/null ||
        fail "${sum_kind}sum is not installed; install it (GNU coreutils)."
}

published_sum() { # NAME
    awk -v name="$1" '$2 == name { print $1 }' "$sums"
}

sum_problem() { # FILE NAME: prints nothing if FILE is what is published under NAME
    local found expected
    found="$("${sum_kind}sum" <"$1")" || return 1
    found="${found%% *}"
    expected="$(published_sum "$2")"
    [ "$found" = "$expected" ] ||
        echo "$1 has the $sum_kind sum $found, the published $2 $expected"
}

check_file() { # PART FILE
    local problem
    problem="$(sum_problem "$1" "$(basename "$2")")"
    [ -z "$problem" ] || fail "$problem; remove it and run this again."
}

get_archive() { # URL FILE
    local url="$1" file="$2" problem
    if ! [ -f "$file" ]; then
        download "$url" "$file"
        return
    fi
    problem="$(sum_problem "$file" "$(basename "$file")")"
    if [ -z "$problem" ]; then
        echo "Exists: $file"
    elif [ "$accept_unknown_sum" = true ]; then
        echo "Kept: $problem."
    else
        fail "$problem; move it away and run this again," \
            "or pass --accept_unknown_$sum_kind to keep it."
    fi
}
