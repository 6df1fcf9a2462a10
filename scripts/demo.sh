#!/usr/bin/env bash
# A complete multi-task run on the CPU: corpus, shards, training, table of results.
#
#   ./scripts/demo.sh [SETTING...]                    a synthetic corpus, which is made here
#   ./scripts/demo.sh --real [ARCHIVE] [SETTING...]   spoken words: ARCHIVE of Speech Commands (.tar.gz or
#                                                     .zip) or, without one, the small one (182 MB), which
#                                                     is downloaded
#
# Settings are those of the run, such as seed=3; each choice has its own folder. Files that exist in the
# folder demo are reused.
set -euo pipefail
start="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

is_real=false
archive=""
if [ "${1:-}" = --real ]; then
    is_real=true
    shift
    case "${1:-}" in
        /*.tar.gz | /*.zip) archive="$1" ;;
        *.tar.gz | *.zip) archive="$start/$1" ;;
    esac
    if [ -n "$archive" ]; then
        shift
        if ! [ -f "$archive" ]; then
            echo "Error: the archive $archive must exist. Correct the path, or leave it out." >&2
            exit 1
        fi
    fi
fi
for argument in "$@"; do
    case "$argument" in
        -* | *.tar.gz | *.zip)
            echo "Error: '$argument' is not a setting. Give settings such as seed=3, or none." >&2
            exit 1
            ;;
    esac
done

./scripts/setup_dependencies.sh
python=.venv/bin/python
settings="$*"
suffix="${settings:+_$(tr -c 'A-Za-z0-9.=_-' '_' <<<"${settings//+/}" | sed 's/_*$//')}"

if [ "$is_real" = true ]; then
    data="$PWD/demo/real_data"
    run="demo/real_run$suffix"
    experiment=(+experiment=demo_real data=speech_commands_joint)
    if [ -z "$archive" ]; then
        archive="$data/speech_commands/mini_speech_commands.zip"
        # Shards that exist are used without their archive.
        [ -d "$data/speech_commands_shards" ] ||
            DATA_FOLDER="$data" ./scripts/download/download_speech_commands.sh --mini
    fi
    if [ -f "$archive" ]; then
        DATA_FOLDER="$data" ./scripts/data/speech_commands/produce_shards.sh --archive "$archive"
    fi
else
    data="$PWD/demo/data"
    run="demo/run$suffix"
    experiment=(+experiment=demo data=mt_vox1_libri)
    if [ ! -d "$data" ]; then
        echo "Synthesizing a corpus and preparing its shards in demo/data."
        # Renamed when it is complete.
        unfinished="$data.unfinished"
        rm -rf "$unfinished"
        $python -m w2v2_mt synthesise "$unfinished" >/dev/null
        DATA_FOLDER="$unfinished" ./scripts/data/librispeech/produce_librispeech_shards.sh
        # More validation data than the usual 1 %, which would choose a checkpoint by chance.
        DATA_FOLDER="$unfinished" ./scripts/data/voxceleb/produce_vox1_train_val_test.sh \
            --val_fraction 0.1 --num_val_trials 1000
        mv "$unfinished" "$data"
    fi
fi

if [ -f "$run/metrics.json" ]; then
    echo "This demo has run before; this is the result of $run. To train again, first run: rm -r '$run'"
else
    echo "Training and testing in $run. Each validation prints a table."
    DATA_FOLDER="$data" LOG_FOLDER="$PWD/demo/logs" USE_WANDB=false \
        $python run_mt_speech_speaker.py "${experiment[@]}" "hydra.run.dir='$run'" "$@"
    echo "$SECONDS" >"$run/demo_duration_sec"
fi
exec $python scripts/demo_table.py "$run"
