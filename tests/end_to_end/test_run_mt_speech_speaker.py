import pytest

from tests.helpers.documented_commands import documented_commands

EXPECTED = {
    "val_wer_other",
    "val_eer",
    "val_score",
    "test_wer_clean",
    "test_wer_other",
    "test_eer_o",
}


@pytest.mark.parametrize("command", documented_commands("run_mt_speech_speaker.py"), ids=str)
def test_a_documented_command_runs_to_its_end(command, run_smoke):
    for metrics in run_smoke(command):
        assert metrics.keys() >= EXPECTED
        score = 0.25 * (metrics["val_wer_clean"] + metrics["val_wer_other"])
        assert metrics["val_score"] == pytest.approx(score + 0.5 * metrics["val_eer"])
