# Sourced by the scripts beside it: `download URL FILE` fetches a file, or goes on where it stopped.
# The file gets its name when it is complete and `check_file`, a function of the caller, accepts it.

. "$(dirname "${BASH_SOURCE[0]}")/../data/environment.sh"

fail() {
    echo "Error: $1" >&2
    exit 1
}

download() {
    local url="$1" file="$2" code=0
    command -v curl >/dev/null || fail "curl is not installed; install it, or get $file by hand."
    mkdir -p "$(dirname "$file")" || fail "$(dirname "$file") cannot be made; set DATA_FOLDER."
    echo "Downloading $url"
    curl --fail --location --continue-at - --retry 3 --output "$file.part" "$url" || code=$?
    case "$code" in
        0) ;;
        # 416 for a file that is there completely; the check below tells.
        22) [ -s "$file.part" ] || fail "$url cannot be had; get $file by hand." ;;
        33) fail "the server of $url cannot go on with a part; remove $file.part and try again." ;;
        23) fail "$file.part cannot be written; is the disk full? The same command goes on then." ;;
        *) fail "$url cannot be had (curl says $code); the same command goes on where it stopped." ;;
    esac
    check_file "$file.part" "$file"
    mv "$file.part" "$file"
}
