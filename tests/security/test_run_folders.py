"""The yaml and tables of a run or sweep folder; memory stays bounded, and nothing runs."""

import pytest

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
