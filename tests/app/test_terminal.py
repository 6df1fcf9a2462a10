"""A run on a terminal of 80 columns."""

import os
import re
from contextlib import suppress

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RATES = r"[\d.e+]+ steps/s, \d:\d\d:\d\d left"
SPEED = r"\d+ s of audio/s, padding [\d.]+ %, loader wait [\d.]+ %, [\d.e-]+ TFLOP/s"


def test_a_bar_shows_progress_and_tables_show_validations_and_the_test(
    start_command, tmp_path, monkeypatch
):
    monkeypatch.setenv("TERM", "xterm")
    command = start_command(
        tmp_path,
        "train_mt_speaker_speech",
        "trainer.enable_progress_bar=true",
        "trainer.max_steps=4",
        columns=80,
        are_errors_apart=False,
    )
    written = b""
    with suppress(OSError):  # The terminal ends with the process.
        while part := os.read(command.stdout.fileno(), 4096):
            written += part
    assert command.wait(timeout=60) == 0, written.decode()
    lines = re.split("[\r\n]+", ESCAPES.sub("", written.decode()))
    assert max(len(line) for line in lines if "━" in line or "│" in line) <= 80
    bars = [line for line in lines if re.fullmatch(rf"step \d/4 [━╸╺]+ +{RATES} *", line)]
    assert bars
    below, speed = lines[lines.index(bars[0]) + 1 :][:2]
    assert re.fullmatch(r"loss [\d.]+, speaker_loss [\d.]+, speech_loss [\d.]+, lr .+", below)
    assert re.fullmatch(rf"{SPEED} *", speed)
    assert any(re.fullmatch(r"validation [━╸╺ ]+ set \w+, batch 1 *", line) for line in lines)
    text = "\n".join(lines)
    assert re.search(r"\nstep 2: validation *\n.*\n. dev metric +. +value . best so far .\n", text)
    assert re.search(r"\n. score +│ +[\d.]+ % │ +[\d.]+ % │\n", text)
    # The bar is gone before the table of the test is printed.
    end = text[text.index("error rate") :]
    assert re.search(r"\n│ WER clean +│ [ \d.]+ │ (?:[ \d.]+ to +[\d.]+| +-) │\n", end)
    assert re.search(r"\n│ EER o +│ [ \d.]+ │ (?:[ \d.]+ to +[\d.]+| +-) │\n", end)
    assert "steps/s" not in end
    assert f"Report: {tmp_path}/report/index.html" in end.replace("\n", "")
