import numpy as np
import pytest

from w2v2_mt.runs.run_record import write_metrics, write_setting

METRICS = {
    "val_wer_other": 0.25,
    "val_eer": 0.125,
    "test_wer_clean": 0.123456,
    "test_wer_clean_low": 0.1,
    "test_wer_clean_high": 0.15,
    "test_cer_clean": 0.0625,
    "test_eer_o": 0.05,
    "test_eer_o_low": 0.04,
    "test_eer_o_high": 0.0625,
    "test_mindcf_o": 0.5,
    "test_eer_o_2s": 0.1,
    "tested_checkpoint": None,
    "tested_step": 2000,
}


@pytest.fixture
def run_folder(tmp_path):
    """What a run leaves before its report is made, with texts that html would take for its own."""
    folder = tmp_path / "swift-owl-0001"
    config = {"seed": 5, "gpus": 0, "tag": "<script>alert(1)</script>"}
    write_setting(folder, config=config, overrides=["tag='<b>x</b>'", "optim.algo.lr=1e-4"])
    steps = range(0, 4000, 2)
    rows = [f"0,{step},{4 / (1 + step)},{2 / (1 + step)},,,1e-5" for step in steps]
    rows += [f"0,{step},,,0.75,0.25," for step in (1999, 3999)]
    header = "epoch,step,train_loss_step,train_speech_loss,val_wer_other,val_eer,lr-Adam"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    write_metrics(folder, METRICS)
    transcripts = [f"84/1/{number}\tA & B\tA & <B>" for number in range(30)]
    (folder / "transcripts_clean.tsv").write_text(
        "\n".join(["key\treference\thypothesis", *transcripts]) + "\n"
    )
    generator = np.random.default_rng(0)
    for name, gap in (("o", 3), ("e", 1)):
        labels = generator.integers(2, size=20_000)
        scores = generator.normal(gap * labels, 1) / 10
        pairs = zip(labels, scores, strict=True)
        trials = [f"{label} {score:.6f} a/b/c d/e/f" for label, score in pairs]
        (folder / f"scores_{name}.txt").write_text("\n".join(trials) + "\n")
    counts = (
        "num_utterances num_words word_substitutions word_deletions word_insertions wer "
        "num_characters character_substitutions character_deletions character_insertions cer"
    )
    by_speaker = f"""\
        speaker {counts}
        84 2 8 1 0 0 0.125 40 1 1 0 0.05
        85 2 8 2 1 1 0.5 40 0 0 8 0.2"""
    by_duration = f"""\
        duration_from_sec duration_to_sec {counts}
        0 2 3 12 1 0 0 0.083 60 1 1 1 0.05
        2 5 1 4 2 1 1 1.0 20 0 0 7 0.35"""
    for name, table in (("speaker", by_speaker), ("duration", by_duration)):
        rows = ["\t".join(line.split()) for line in table.splitlines()]
        (folder / f"errors_by_{name}_clean.tsv").write_text("\n".join(rows) + "\n")
    return folder
