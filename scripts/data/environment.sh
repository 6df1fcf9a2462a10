# Sourced by the scripts in the folders beside it: sets PYTHON and exports DATA_FOLDER.
# What the caller has set comes before what .env says, and that before the default.

project_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

caller_data_folder="${DATA_FOLDER:-}"
if [ -f "$project_root/.env" ]; then
    pushd "$project_root" >/dev/null
    set -a
    # shellcheck disable=SC1091
    . ./.env
    set +a
    popd >/dev/null
fi
if [ -n "$caller_data_folder" ]; then
    DATA_FOLDER="$caller_data_folder"
else
    DATA_FOLDER="${DATA_FOLDER:-data}"
    case "$DATA_FOLDER" in
        /*) ;;
        *) DATA_FOLDER="$project_root/$DATA_FOLDER" ;;
    esac
fi
export DATA_FOLDER

if [ -x "$project_root/.venv/bin/python" ]; then
    PYTHON="$project_root/.venv/bin/python"
else
    PYTHON=python
fi
