"""The files of a run or sweep folder; memory stays bounded, and nothing runs or waits."""

import os

import pytest

from tests.security.conftest import PAYLOADS
from w2v2_mt.app.commands import main

BILLIONS = "a: &a {b: 1}\nk0: &k0 {" + ", ".join(f"x{j}: *a" for j in range(10)) + "}\n"
for number in range(1, 12):
    references = ", ".join(f"x{j}: *k{number - 1}" for j in range(10))
    BILLIONS += f"k{number}: &k{number} {{{references}}}\n"

YAML = {
    "billions of values": BILLIONS,
    "a value in itself": "a: &a\n  b: *a\n",
    "a list": "[1]",
    "a call": "!!python/object/apply:os.system ['touch ran']",
    "depth": "a: " + "[" * 5_000 + "]" * 5_000,
}


@pytest.mark.parametrize("name", YAML)
def test_settings_of_a_run_that_are_not_settings_are_a_sentence(name, tmp_path, refusal):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(YAML[name])
    (tmp_path / "run" / "metrics.json").write_text('{"test_eer_o": 0.5}')
    refusal("report", "run", tmp_path / "run")
    refusal("compare", tmp_path / "run", tmp_path / "run")


TABLES = {
    "no number": ("jobs.tsv", "number\toverrides\nx\tseed=1\n"),
    "no columns": ("jobs.tsv", "x\n1\n"),
    **{f"plan: {name}": ("multirun.yaml", text) for name, text in YAML.items()},
    **{
        f"overrides: {overrides}": (
            "multirun.yaml", f"hydra: {{overrides: {{task: {overrides}}}}}",
        )
        for overrides in ("['seed=range(1,1000000000000)']", "[1, 2]", "{a: 1}", "7")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_plan_of_a_sweep_that_is_none_is_a_sentence(name, tmp_path, refusal):
    file, text = TABLES[name]
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / file).write_text(text)
    assert file in refusal("report", "sweep", tmp_path / "sweep")


FILES = (
    "config.yaml overrides environment.json metrics.json metrics.csv lr_range.json error.txt "
    "transcripts_a.tsv scores_a.txt errors_by_speaker_a.tsv errors_by_duration_a.tsv"
).split()


@pytest.mark.usefixtures("within_a_minute")
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_run_is_read_or_named_in_one_sentence(name, tmp_path, watched, capfd):
    for number, (kind, write) in enumerate(PAYLOADS.items()):
        run = tmp_path / str(number) / "run"
        run.mkdir(parents=True)
        if name != "config.yaml":
            (run / "config.yaml").write_text("seed: 1\n")
        write(run / name)
        (run.parent / "1").mkdir()
        (run.parent / "1" / "config.yaml").write_text("seed: 1\n")
        for command, folder in (("run", run), ("sweep", run.parent)):
            if command == "sweep":
                run.rename(run.parent / "0")
            capfd.readouterr()
            with watched():
                code = main(["report", command, str(folder)])
            sentence = capfd.readouterr().err
            if code != 0:
                assert sentence.startswith("Error: "), (kind, sentence)
                assert len(sentence.splitlines()) == 1, (kind, sentence)
                assert name in sentence, (kind, sentence)


@pytest.mark.usefixtures("within_a_minute")
def test_a_lock_that_is_a_pipe_is_not_waited_for(tmp_path):
    run = tmp_path / "run"
    (run / "report").mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 1\n")
    os.mkfifo(run / "report" / ".lock")
    os.utime(run / "report" / ".lock", (0, 0))
    assert main(["report", "run", str(run)]) == 0


def test_a_score_that_is_not_a_number_is_said_of_its_run(tmp_path, refusal):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 1\n")
    (run / "metrics.json").write_text('{"test_eer_o": 0.5}')
    (run / "scores_o.txt").write_text("1 nan a/b/c d/e/f\n0 0.5 a/b/c d/e/f\n")
    assert f"The trial list o of {run}: score number 0 is nan" in refusal("compare", run, run)
