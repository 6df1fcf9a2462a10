# Sourced by the scripts next to it: `download URL FILE` downloads a file, or resumes a download. The file
# gets its name when it is complete and `check_file`, a function of the caller, accepts it.

. "$(dirname "${BASH_SOURCE[0]}")/../data/environment.sh"

fail() {
    echo "Error: $*" >&2
    exit 1
}

download() {
    local url="$1" file="$2" progress=--progress-bar code=0 status
    command -v curl >/dev/null || fail "curl is not installed; install it, or get $file by hand."
    mkdir -p "$(dirname "$file")" 2>/dev/null ||
        fail "$(dirname "$file") cannot be created. Set DATA_FOLDER to a writable folder."
    # A moving bar does not belong in a log file.
    [ -t 2 ] || progress=--silent
    echo "Downloading $url"
    status="$(curl "$progress" --fail --location --continue-at - --retry 3 --connect-timeout 30 \
        --speed-limit 1 --speed-time 60 --write-out '%{http_code}' --output "$file.part" "$url")" ||
        code=$?
    # 416: nothing follows the partial file; the check below decides whether it is complete.
    if [ "$code $status" = "22 416" ]; then code=0; fi
    case "$code" in
        0) ;;
        6 | 7 | 28)
            fail "$url cannot be reached (curl exit code $code). Check the network or name a mirror" \
                "(--help)."
            ;;
        22)
            fail "$url cannot be downloaded (HTTP status $status). Name a mirror (--help), or get $file" \
                "by hand."
            ;;
        23) fail "$file.part cannot be written. Is the disk full? The same command then resumes." ;;
        33)
            echo "The server cannot resume a partial download; starting again."
            rm -f "$file.part"
            download "$url" "$file"
            return
            ;;
        *) fail "$url cannot be downloaded (curl exit code $code). The same command resumes." ;;
    esac
    check_file "$file.part" "$file"
    mv "$file.part" "$file"
}
