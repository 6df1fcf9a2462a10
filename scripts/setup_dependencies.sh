#!/usr/bin/env bash
# Make .venv and install requirements.txt and this project into it, unless nothing has changed since the
# last installation. PYTHON=<interpreter> chooses the Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv_python=.venv/bin/python
stamp=.venv/installed

fail() {
    echo "Error: $*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_supported() {
    case "$(version_of "$1")" in
        3.10 | 3.11 | 3.12 | 3.13) ;;
        *) return 1 ;;
    esac
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

chosen_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_supported "$PYTHON" ||
            fail "PYTHON=$PYTHON is not a Python 3.10 to 3.13. Name one that is, or unset PYTHON."
        can_make_environments "$PYTHON" ||
            fail "PYTHON=$PYTHON has no module venv or ensurepip; install its package for venv."
        echo "$PYTHON"
        return
    fi
    # Each candidate is started, since a command may exist without a Python, such as a shim of pyenv.
    for candidate in python3.13 python3.12 python3.11 python3.10 python3 python; do
        if is_supported "$candidate" && can_make_environments "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "PATH has no Python 3.10 to 3.13 with venv. Install one, or set PYTHON to it."
}

state() {
    # The folder is included, since an environment and an editable install do not survive a move.
    echo "$(cat requirements.txt pyproject.toml | cksum) $PWD"
}

is_usable() {
    is_supported "$venv_python" || return 1
    "$venv_python" -m pip --version >/dev/null 2>&1 || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$venv_python")" ]
}

if [ -z "${PYTHON:-}" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(state)" ]; then
    exit
fi
if ! is_usable; then
    python="$(chosen_python)"
    echo "Making .venv with Python $(version_of "$python") ($python)."
    "$python" -m venv --clear .venv
fi
if [ "$(cat "$stamp" 2>/dev/null)" != "$(state)" ]; then
    rm -f "$stamp"
    echo "Installing requirements.txt into .venv; the first time takes some minutes."
    quiet=--quiet
    [ ! -t 1 ] || quiet=
    pip="$venv_python -m pip --disable-pip-version-check --no-input install $quiet"
    $pip -r requirements.txt
    $pip --no-deps -e .
    state >"$stamp"
    echo "Done. Start the environment with: source .venv/bin/activate"
fi
