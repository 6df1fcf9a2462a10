import pytest

from w2v2_mt.app.doctor import machine
from w2v2_mt.app.doctor.finding import State


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ((3, 9, 18), State.MISSING),
        ((3, 10, 0), State.OK),
        ((3, 13, 7), State.OK),
        ((3, 14, 0), State.MISSING),
    ],
)
def test_supported_versions_of_python(version, state):
    assert machine.check_python(version).state is state


def test_the_packages_of_this_environment_meet_the_requirements():
    found = machine.check_packages()
    assert found.state is State.OK, found.found


def test_missing_packages_and_wrong_versions_are_named():
    found = machine.check_packages(
        ["numpy<1", "no-such-package>=2", "pytest>=1", 'also-absent; python_version < "3"']
    )
    assert found.state is State.MISSING
    assert found.is_required
    assert "no no-such-package" in found.found
    assert "numpy" in found.found
    assert "<1" in found.found
    assert "pytest" not in found.found
    assert "also-absent" not in found.found
    assert found.commands == ["./scripts/setup_dependencies.sh"]


def test_a_machine_without_gpu_is_a_note(programs_on_path):
    programs_on_path()
    found = machine.check_gpus()
    assert (found.state, found.found) == (State.NOTE, "there is no nvidia-smi")


def test_the_message_of_a_failing_driver_is_reported(programs_on_path):
    programs_on_path(nvidia_smi="echo could not talk to the driver >&2; exit 9")
    assert machine.check_gpus().found == "nvidia-smi failed: could not talk to the driver"


@pytest.mark.parametrize(("torch", "state"), [("2 12.8", State.OK), ("0 12.8", State.MISSING)])
def test_a_gpu_counts_where_torch_can_use_it(programs_on_path, monkeypatch, tmp_path, torch, state):
    programs_on_path(nvidia_smi="echo 'Large GPU, 81559 MiB'", python=f"echo {torch}")
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    found = machine.check_gpus()
    assert found.state is state
    assert "Large GPU, 81559 MiB" in found.found
    assert ("12.8" in found.found) is (state is State.MISSING)


def test_each_partition_of_slurm_has_a_line(programs_on_path):
    programs_on_path(
        sinfo="echo 'short* (up): 2 nodes of 16 cores, 64000 MB, gpu:a100:2, at most 1:00:00'; "
        "echo 'long (down): 1 nodes of 8 cores, 32000 MB, (null), at most infinite'"
    )
    short, long = machine.check_slurm()
    assert (short.state, long.state) == (State.OK, State.NOTE)
    assert short.found == (
        "partition short* (up): 2 nodes of 16 cores, 64000 MB, gpu:a100:2, at most 1:00:00"
    )
    assert long.found == (
        "partition long (down): 1 nodes of 8 cores, 32000 MB, no GPU, at most infinite"
    )


def test_a_machine_without_slurm_can_sweep_locally(programs_on_path):
    programs_on_path()
    (found,) = machine.check_slurm()
    assert found.state is State.NOTE
    assert found.found.startswith("there is no sinfo; hydra/launcher=local ")


def test_a_cluster_that_does_not_answer_times_out(programs_on_path, monkeypatch):
    programs_on_path(sinfo="while :; do :; done")
    answer = machine.run_program("sinfo", timeout_sec=0.1)
    assert answer == (False, "sinfo did not answer in 0.1 s")
