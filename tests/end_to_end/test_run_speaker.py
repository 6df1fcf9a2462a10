import pytest

from tests.helpers.documented_commands import documented_commands

EXPECTED = {
    "val_eer",
    *("test_eer_val", "test_mindcf_val", "test_cllr_val"),
    *("test_eer_o", "test_eer_o_low", "test_eer_o_high", "test_mindcf_o", "test_cllr_o"),
}
"""Of VoxCeleb1; there are two more tests of a network that was trained on VoxCeleb2."""


@pytest.mark.parametrize("command", documented_commands("run_speaker.py"), ids=str)
def test_a_documented_command_runs_to_its_end(command, run_smoke):
    expected = set(EXPECTED)
    if "data=voxceleb1" not in command.overrides:
        expected |= {"test_eer_e", "test_eer_h", "test_mindcf_e", "test_mindcf_h"}
    for metrics in run_smoke(command):
        assert metrics.keys() >= expected
