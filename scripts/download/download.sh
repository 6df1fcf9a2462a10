# Sourced by the scripts beside it: `download URL FILE` fetches a file, or goes on where it stopped.
# The file gets its name when it is complete and `check_file`, a function of the caller, accepts it.

. "$(dirname "${BASH_SOURCE[0]}")/../data/environment.sh"

fail() {
    echo "Error: $*" >&2
    exit 1
}

download() {
    local url="$1" file="$2" progress=--progress-bar code=0 status
    command -v curl >/dev/null || fail "curl is not installed; install it, or get $file by hand."
    mkdir -p "$(dirname "$file")" 2>/dev/null ||
        fail "$(dirname "$file") cannot be made; set DATA_FOLDER to a folder that can be written."
    # A log has no use for a moving bar.
    [ -t 2 ] || progress=--silent
    echo "Downloading $url"
    status="$(curl "$progress" --fail --location --continue-at - --retry 3 --connect-timeout 30 \
        --speed-limit 1 --speed-time 60 --write-out '%{http_code}' --output "$file.part" "$url")" ||
        code=$?
    # 416: there is nothing after the part; the check below tells whether it is complete.
    if [ "$code $status" = "22 416" ]; then code=0; fi
    case "$code" in
        0) ;;
        6 | 7 | 28)
            fail "$url cannot be reached (curl says $code); check the network or name a mirror" \
                "(--help)."
            ;;
        22)
            fail "$url cannot be had (HTTP status $status); name a mirror (--help), or get $file" \
                "by hand."
            ;;
        23) fail "$file.part cannot be written; is the disk full? The same command goes on then." ;;
        33)
            echo "The server cannot go on with a part; starting again."
            rm -f "$file.part"
            download "$url" "$file"
            return
            ;;
        *) fail "$url cannot be had (curl says $code); the same command goes on then." ;;
    esac
    check_file "$file.part" "$file"
    mv "$file.part" "$file"
}
