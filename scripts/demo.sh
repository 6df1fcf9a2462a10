#!/usr/bin/env bash
# A complete multi-task run on the CPU: synthetic corpus, shards, training, table of results.
# Arguments are settings of the run, such as ./scripts/demo.sh seed=3; each choice has its own folder.
# Files that exist in the folder demo are reused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for argument in "$@"; do
    case "$argument" in
        -*)
            echo "Error: '$argument' is not a setting. Give settings such as seed=3, or none." >&2
            exit 1
            ;;
    esac
done

./scripts/setup_dependencies.sh
python=.venv/bin/python
settings="$*"
run="demo/run${settings:+_$(tr -c 'A-Za-z0-9.=_-' '_' <<<"${settings//+/}" | sed 's/_*$//')}"

if [ ! -d demo/data ]; then
    echo "Synthesizing a corpus and preparing its shards in demo/data."
    # Renamed when it is complete.
    unfinished="$PWD/demo/data.unfinished"
    rm -rf "$unfinished"
    $python -m w2v2_mt synthesise "$unfinished" >/dev/null
    DATA_FOLDER="$unfinished" ./scripts/data/librispeech/produce_librispeech_shards.sh
    # More validation data than the usual 1 %, which would choose a checkpoint by chance.
    DATA_FOLDER="$unfinished" ./scripts/data/voxceleb/produce_vox1_train_val_test.sh \
        --val_fraction 0.1 --num_val_trials 1000
    mv "$unfinished" demo/data
fi

if [ -f "$run/metrics.json" ]; then
    echo "This demo has run before; this is the result of $run. To train again, first run: rm -r '$run'"
else
    echo "Training and testing in $run. Each validation prints a table."
    DATA_FOLDER="$PWD/demo/data" LOG_FOLDER="$PWD/demo/logs" USE_WANDB=false \
        $python run_mt_speech_speaker.py +experiment=demo data=mt_vox1_libri \
        "hydra.run.dir='$run'" "$@"
    echo "$SECONDS" >"$run/demo_duration_sec"
fi
exec $python scripts/demo_table.py "$run"
