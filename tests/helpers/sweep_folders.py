"""Folders of sweeps as tests make them up."""

import json

import yaml

POOLING = "network.stat_pooling_type"
COMMON = ("+experiment=demo", "tag='<b>'")
COUNTED = {"test_wer_clean_num_words": 400, "test_wer_clean_low": 0.1, "test_wer_clean_high": 0.9}


def make_job(
    sweep, number, overrides, *, lr, metrics=None, curves=None, error=None, is_trained=True
):
    """What a job of a sweep leaves; `overrides` are those of all its command."""
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    (folder / "overrides").write_text("".join(f"{override}\n" for override in overrides))
    config = {"optim": {"algo": {"lr": lr}}, "fit_model": is_trained}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    if curves is not None:
        (folder / "metrics.csv").write_text(curves)
    if error is not None:
        (folder / "error.txt").write_text(error)


def result(*, score, wer, eer, test_wer, test_eer):
    return {
        "val_score": score,
        "val_wer_other": wer,
        "val_eer": eer,
        "test_wer_clean": test_wer,
        "test_eer_o": test_eer,
        "tested_step": 10,
        **COUNTED,
    }


def make_sweep(sweep):
    """Six jobs, of which two finished, one failed, one goes on and two have not begun."""
    make_job(
        sweep,
        0,
        [*COMMON, "optim.algo.lr=1e-05", f"{POOLING}=mean"],
        lr=1e-5,
        metrics=result(score=0.2, wer=0.125, eer=0.0625, test_wer=0.5, test_eer=0.25),
    )
    # Better than job 0 on all test data, and by the dev rate of words, but not by the dev score.
    make_job(
        sweep,
        1,
        [*COMMON, "optim.algo.lr=0.0001", f"{POOLING}=mean"],
        lr=1e-4,
        metrics=result(score=0.3, wer=0.1, eer=0.25, test_wer=0.01, test_eer=0.02),
    )
    make_job(
        sweep,
        2,
        [*COMMON, "optim.algo.lr=1e-05", f"{POOLING}=first+cls"],
        lr=1e-5,
        curves="epoch,step,val_score,val_wer_other,val_eer\n0,5,0.01,0.02,0.03\n",
        error="Traceback:\n  x\nValueError: <no> data\n",
    )
    make_job(
        sweep,
        3,
        [*COMMON, "optim.algo.lr=0.0001", f"{POOLING}=first+cls"],
        lr=1e-4,
        curves="epoch,step,train_loss_step,val_score,val_wer_other,val_eer\n"
        "0,4,2.0,,,\n0,5,,0.5,0.75,0.5\n0,9,,0.01,0.375,0.01\n",
    )
    typed = [*COMMON, f"{POOLING}=mean,first+cls,attentive", "optim.algo.lr=1e-05,0.0001"]
    plan = {"hydra": {"overrides": {"task": typed}}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump(plan))
