"""Commands whose folder another process uses."""

from w2v2_mt.runs.folder_lock import LOCK_FILE, locked


def test_a_run_in_the_folder_of_another_one_is_refused_before_it_writes(start_command, tmp_path):
    with locked(tmp_path / "run"):
        command = start_command(tmp_path / "run", "train_speaker")
        output, errors = command.communicate(timeout=300)
        assert command.returncode == 1, output + errors
        assert "is in use by process" in errors
        assert "Traceback" not in output + errors
        assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]


def test_a_sweep_in_the_folder_of_another_one_is_refused_before_it_writes(start_command, tmp_path):
    sweep = tmp_path / "sweep"
    with locked(sweep):
        command = start_command(sweep, "train_speaker", "seed=1,2", is_sweep=True)
        output, errors = command.communicate(timeout=300)
        assert command.returncode == 1, output + errors
        assert "is in use by process" in errors
        assert "Traceback" not in output + errors
        assert [path.name for path in sweep.iterdir()] == [LOCK_FILE]


def test_a_job_in_a_used_folder_is_refused_and_the_others_run(start_command, tmp_path):
    sweep = tmp_path / "sweep"
    with locked(sweep / "0"):
        command = start_command(sweep, "train_speaker", "seed=1,2", is_sweep=True)
        output, errors = command.communicate(timeout=300)
        assert command.returncode == 1, output + errors
        assert f"{sweep / '0'} is in use by process" in errors
    assert not (sweep / "0" / "config.yaml").exists()
    assert (sweep / "1" / "metrics.json").exists()
    assert not list(sweep.rglob(LOCK_FILE))
