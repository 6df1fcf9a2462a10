import pytest

from w2v2_mt.app.doctor import programs
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
def test_pythons_that_the_project_runs_on(version, state):
    assert programs.python(version).state is state


def test_packages_of_this_environment_are_those_that_the_project_asks_for():
    found = programs.packages()
    assert found.state is State.OK, found.found


def test_packages_that_lack_or_are_of_another_version_are_named():
    found = programs.packages(
        ["numpy<1", "no-such-package>=2", "pytest>=1", 'also-absent; python_version < "3"']
    )
    assert found.state is State.MISSING
    assert found.all_need_it
    assert "no no-such-package" in found.found
    assert "numpy" in found.found
    assert "<1" in found.found
    assert "pytest" not in found.found
    assert "also-absent" not in found.found
    assert found.commands == ("./scripts/setup_dependencies.sh",)


def test_ffmpeg_and_curl_are_looked_for_on_the_path(programs_on_path):
    programs_on_path(curl="true")
    assert programs.curl().state is State.OK
    assert programs.ffmpeg().state is State.MISSING
    assert programs.ffmpeg().commands == ("apt-get install ffmpeg",)


def test_no_gpu_is_no_fault(programs_on_path):
    programs_on_path()
    found = programs.gpus()
    assert (found.state, found.found) == (State.NOTE, "there is no nvidia-smi")


def test_a_driver_that_fails_is_told_in_its_words(programs_on_path):
    programs_on_path(nvidia_smi="echo could not talk to the driver >&2; exit 9")
    assert programs.gpus().found == "nvidia-smi failed: could not talk to the driver"


@pytest.mark.parametrize(("torch", "state"), [("2 12.8", State.OK), ("0 12.8", State.MISSING)])
def test_a_gpu_counts_where_torch_can_use_it(programs_on_path, monkeypatch, tmp_path, torch, state):
    programs_on_path(nvidia_smi="echo 'Large GPU, 81559 MiB'", python=f"echo {torch}")
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    found = programs.gpus()
    assert found.state is state
    assert "Large GPU, 81559 MiB" in found.found
    assert ("12.8" in found.found) is (state is State.MISSING)


def test_each_partition_of_slurm_has_a_line(programs_on_path):
    programs_on_path(
        sinfo="echo 'short*|up|1:00:00|2|16|64000|gpu:a100:2'; "
        "echo 'long|down|infinite|1|8|32000|(null)'"
    )
    short, long = programs.slurm()
    assert (short.state, long.state) == (State.OK, State.NOTE)
    assert short.found == (
        "partition short (default): 2 nodes of 16 cores, 64000 MB, gpu:a100:2, at most 1:00:00"
    )
    assert long.found == (
        "partition long, down: 1 nodes of 8 cores, 32000 MB, no GPU, at most infinite"
    )


def test_a_machine_without_slurm_is_told_how_to_sweep(programs_on_path):
    programs_on_path()
    (found,) = programs.slurm()
    assert found.state is State.NOTE
    assert found.found.startswith("there is no sinfo; hydra/launcher=submitit_local ")


def test_a_cluster_that_does_not_answer_is_not_waited_for(programs_on_path, monkeypatch):
    programs_on_path(sinfo="while :; do :; done")
    with pytest.raises(programs._NoAnswerError, match=r"sinfo did not answer in 0.1 s"):
        programs._output("sinfo", timeout_sec=0.1)
