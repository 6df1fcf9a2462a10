import pytest

from tests.helpers.documented_commands import documented_commands

EXPECTED = {"val_wer_clean", "val_wer_other", "test_wer_clean", "test_wer_other", "test_cer_other"}


@pytest.mark.parametrize("command", documented_commands("run_speech.py"), ids=str)
def test_a_documented_command_runs_to_its_end(command, run_smoke):
    for metrics in run_smoke(command):
        assert metrics.keys() >= EXPECTED
