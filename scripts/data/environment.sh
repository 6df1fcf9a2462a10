# Sourced by the scripts in the subfolders: sets PYTHON and exports DATA_FOLDER. The environment of the
# caller has precedence over .env, and .env over the default.

project_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

if [ -x "$project_root/.venv/bin/python" ]; then
    PYTHON="$project_root/.venv/bin/python"
else
    PYTHON=python
fi

caller_data_folder="${DATA_FOLDER:-}"
if [ -f "$project_root/.env" ]; then
    if [ "$PYTHON" != python ]; then
        # A line that Python would read differently is one sentence.
        check="from w2v2_mt.settings.environment import Path, check_env_file; check_env_file(Path('.env'))"
        (cd "$project_root" && "$PYTHON" -c "$check") || exit 1
    fi
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
fi
case "$DATA_FOLDER" in
    "~"*)
        echo "Error: DATA_FOLDER ($DATA_FOLDER) must not begin with ~. Write \${HOME} for it." >&2
        exit 1
        ;;
esac
if [ -z "$caller_data_folder" ]; then
    case "$DATA_FOLDER" in
        /*) ;;
        *) DATA_FOLDER="$project_root/$DATA_FOLDER" ;;
    esac
fi
export DATA_FOLDER
