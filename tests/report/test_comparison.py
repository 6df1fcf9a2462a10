import json
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.file_sizes import no_file_above
from w2v2_mt.app.commands import main
from w2v2_mt.metrics.verification import equal_error_rate
from w2v2_mt.report import comparison
from w2v2_mt.report.comparison import compare_runs
from w2v2_mt.runs.run_folder import RunFolder
from w2v2_mt.settings.environment import PROJECT_FOLDER


def write_run(folder, *, transcripts=(), trials=()):
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "metrics.json").write_text('{"tested_step": 1}\n')
    if transcripts:
        rows = [("key", "reference", "hypothesis"), *transcripts]
        lines = "".join("\t".join(row) + "\n" for row in rows)
        (folder / "transcripts_other.tsv").write_text(lines)
    if trials:
        lines = "".join(" ".join(map(str, trial)) + "\n" for trial in trials)
        (folder / "scores_o.txt").write_text(lines)
    return folder


def of_speakers(hypotheses):
    return [
        (f"{speaker}/1/{number}", "A B C D", hypotheses[speaker % len(hypotheses)])
        for speaker in range(10)
        for number in range(3)
    ]


def scored(distance, *, seed):
    generator = np.random.default_rng(seed)
    keys = [f"id{speaker}/v/{number}" for speaker in range(8) for number in range(3)]
    return [
        (same, f"{distance * same + generator.normal():.6f}", left, right)
        for index, left in enumerate(keys)
        for right in keys[:index]
        for same in [int(left[:3] == right[:3])]
    ]


@pytest.fixture
def runs(tmp_path):
    return (
        write_run(
            tmp_path / "a", transcripts=of_speakers(["A B", "A B C"]), trials=scored(1, seed=0)
        ),
        write_run(tmp_path / "b", transcripts=of_speakers(["A B C D"]), trials=scored(3, seed=1)),
    )


def test_a_better_run_is_better_with_its_interval_below_zero(runs):
    words, trials = compare_runs(*map(RunFolder, runs))
    assert (words.metric, words.name, words.num_common) == ("wer", "other", 30)
    # Half of the speakers lack two of four words, half lack one.
    assert (words.a, words.b) == (0.375, 0)
    assert (trials.metric, trials.name, trials.num_common) == ("eer", "o", 24 * 23 / 2)
    for one in (words, trials):
        assert one.difference == one.b - one.a
        assert one.interval[0] < one.difference < one.interval[1] < 0
        assert one.p_value < 0.05


def test_a_run_does_not_differ_from_itself(runs):
    for one in compare_runs(RunFolder(runs[0]), RunFolder(runs[0])):
        assert (one.difference, one.interval, one.p_value) == (0, (0, 0), 1)


def test_only_items_that_both_were_tested_on_count_and_the_rest_is_reported(runs, tmp_path, capsys):
    fewer = write_run(
        tmp_path / "c",
        transcripts=[*of_speakers(["A B C D"])[:20], ("99/1/1", "X", "Y")],
        trials=scored(3, seed=1)[:200],
    )
    words, trials = compare_runs(RunFolder(runs[0]), RunFolder(fewer))
    assert (words.num_common, words.num_only_a, words.num_only_b) == (20, 10, 1)
    assert words.b == 0
    assert (trials.num_common, trials.num_only_a, trials.num_only_b) == (200, 76, 0)
    assert main(["compare", str(runs[0]), str(fewer)]) == 0
    out = capsys.readouterr().out
    assert "WER other: excluded 10 utterances of A alone and 1 of B alone." in out
    assert "EER o: excluded 76 trials of A alone and 0 of B alone." in out


def test_a_trial_that_a_list_repeats_counts_each_time(runs, tmp_path):
    trials = scored(1, seed=0)
    repeating = write_run(tmp_path / "c", trials=[*trials, *trials[:100]])
    (one,) = compare_runs(RunFolder(repeating), RunFolder(repeating))
    repeated = [*trials, *trials[:100]]
    labels, scores = [row[0] for row in repeated], [float(row[1]) for row in repeated]
    assert one.num_common == len(trials) + 100
    assert one.a == equal_error_rate(scores, labels)[0]
    (one,) = compare_runs(RunFolder(repeating), RunFolder(runs[1]))
    assert (one.num_common, one.num_only_a, one.num_only_b) == (len(trials), 100, 0)


def test_one_speaker_has_a_difference_without_an_interval(tmp_path, capsys):
    runs = [
        write_run(tmp_path / name, transcripts=[("1/1/1", "A B", text)])
        for name, text in (("a", "A B"), ("b", "A"))
    ]
    (words,) = compare_runs(*map(RunFolder, runs))
    assert (words.difference, words.interval, words.p_value) == (0.5, None, None)
    assert main(["compare", *map(str, runs)]) == 0
    assert "one speaker" in capsys.readouterr().out


@pytest.mark.parametrize(("num_speakers", "is_warned"), [(7, True), (8, False)])
def test_fewer_than_eight_speakers_are_a_warning(tmp_path, capsys, num_speakers, is_warned):
    runs = [
        write_run(
            tmp_path / name,
            transcripts=[(f"{speaker}/1/1", "A B", text) for speaker in range(num_speakers)],
        )
        for name, text in (("a", "A B"), ("b", "A"))
    ]
    (words,) = compare_runs(*map(RunFolder, runs))
    assert words.num_speakers == num_speakers
    assert bool(words.warnings) == is_warned
    assert main(["compare", *map(str, runs)]) == 0
    warning = "WER other: The interval and p value rest on 7 speakers"
    assert (warning in capsys.readouterr().out) == is_warned


def test_after_moving_one_trial_interval_and_p_value_agree(tmp_path):
    trials = scored(3, seed=0)
    moved = list(trials)
    index = max(
        range(len(trials)), key=lambda number: (trials[number][0], float(trials[number][1]))
    )
    moved[index] = (1, "-9.0", *moved[index][2:])
    runs = [write_run(tmp_path / name, trials=of) for name, of in (("a", trials), ("b", moved))]
    (one,) = compare_runs(*map(RunFolder, runs))
    assert one.difference >= 0
    assert one.interval[0] < 0 < one.interval[1]
    assert one.p_value > 0.05


@pytest.mark.parametrize("name", ["run[lr_grid]", "x[/red]", "x:a:"])
def test_names_are_printed_as_they_are(tmp_path, capsys, name):
    """Those of folders and of sets, also in what is left out."""
    set_name = name.replace("/", "")
    (tmp_path / name).parent.mkdir(exist_ok=True)  # One of the names has a slash.
    keys = {"a": ("1/1/1", "1/1/2"), name: ("1/1/1",)}
    runs = []
    for folder, of_run in keys.items():
        run = write_run(tmp_path / folder, transcripts=[(key, "A B", "A") for key in of_run])
        (run / "transcripts_other.tsv").rename(run / f"transcripts_{set_name}.tsv")
        runs.append(str(run))
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"A: {runs[0]}\nB: {runs[1]}\n")
    assert f"│ WER {set_name}, % " in out
    assert f"WER {set_name}: excluded 1 utterance of A alone and 0 of B alone." in out


def test_the_script_prints_a_table_and_writes_the_numbers(runs, tmp_path):
    output = tmp_path / "numbers.json"
    command = [sys.executable, PROJECT_FOLDER / "scripts" / "compare_runs.py"]
    done = subprocess.run(
        [*command, *runs, "--output", output],  # type: ignore[list-item]
        check=True,
        capture_output=True,
        text=True,
    )
    assert "WER other, %" in done.stdout
    assert "-37.50" in done.stdout
    words, trials = json.loads(output.read_text())
    assert (words["metric"], words["difference"]) == ("wer", -0.375)
    assert trials["interval"][1] < 0


def test_ctrl_c_is_one_sentence(runs, monkeypatch, capsys):
    def interrupted(*runs):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "compare_runs", interrupted)
    assert main(["compare", *map(str, runs)]) == 130
    assert capsys.readouterr().err == "Stopped. Nothing was written.\n"


class TestRefused:
    def sentence(self, capsys, *folders):
        assert main(["compare", *map(str, folders)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    def test_a_run_that_was_not_tested(self, runs, capsys):
        (runs[1] / "metrics.json").unlink()
        assert "/b has no metrics.json, which a run writes" in self.sentence(capsys, *runs)

    def test_a_folder_of_no_run(self, runs, tmp_path, capsys):
        assert "is not a run folder" in self.sentence(capsys, runs[0], tmp_path)

    def test_runs_with_nothing_in_common(self, tmp_path, capsys):
        speech = write_run(tmp_path / "a", transcripts=of_speakers(["A"]))
        speaker = write_run(tmp_path / "b", trials=scored(1, seed=0))
        assert "no set or trial list in common" in self.sentence(capsys, speech, speaker)

    def test_a_set_without_an_utterance_in_common(self, tmp_path, capsys):
        one = write_run(tmp_path / "a", transcripts=[("1/1/1", "A", "A")])
        other = write_run(tmp_path / "b", transcripts=[("1/1/2", "A", "A")])
        assert "no utterance of set other is in both" in self.sentence(capsys, one, other)

    def test_another_reference(self, tmp_path, capsys):
        one = write_run(tmp_path / "a", transcripts=[("1/1/1", "A", "A")])
        other = write_run(tmp_path / "b", transcripts=[("1/1/1", "B", "A")])
        assert "utterance 1/1/1 of set other has another ref" in self.sentence(capsys, one, other)

    @pytest.mark.parametrize("name", ["metrics.json", "transcripts_other.tsv"])
    def test_an_output_that_is_there(self, runs, capsys, monkeypatch, name):
        output = runs[0] / name
        before = output.read_bytes()
        monkeypatch.setattr(comparison, "compare_runs", None)  # It is told before that.
        assert self.sentence(capsys, *runs, "--output", output) == (
            f"Error: {output} exists already. Name a new file, or move this one away.\n"
        )
        assert output.read_bytes() == before

    def test_an_output_that_does_not_fit_on_the_disk(self, runs, tmp_path, capsys):
        output = tmp_path / "numbers.json"
        with no_file_above(10):
            assert "cannot be written" in self.sentence(capsys, *runs, "--output", output)
        assert sorted(tmp_path.iterdir()) == sorted(runs)

    def test_an_output_that_cannot_be_written(self, runs, tmp_path, capsys, monkeypatch):
        above = runs[0] / "metrics.json"
        monkeypatch.setattr(comparison, "compare_runs", None)
        assert f"cannot be written, as {above} is not a folder" in self.sentence(
            capsys, *runs, "--output", above / "numbers.json"
        )


def seed_runs(tmp_path, distances, *, side):
    return [
        write_run(tmp_path / f"{side}{number}", trials=scored(distance, seed=number))
        for number, distance in enumerate(distances)
    ]


def test_groups_of_seeds_compare_mean_rates_over_speakers_and_seeds(tmp_path, capsys):
    first = seed_runs(tmp_path, [1, 1.3], side="a")
    second = seed_runs(tmp_path, [3, 2.4, 2.7], side="b")
    (one,) = compare_runs([RunFolder(run) for run in first], [RunFolder(run) for run in second])
    singles = [compare_runs(RunFolder(run), RunFolder(run))[0].a for run in (*first, *second)]
    assert one.a == pytest.approx(sum(singles[:2]) / 2)
    assert one.b == pytest.approx(sum(singles[2:]) / 3)
    assert one.difference < 0
    output = tmp_path / "numbers.json"
    command = ["compare", *map(str, first), "--with", *map(str, second), "--output", str(output)]
    assert main(command) == 0
    assert f"B: {second[0]}, {second[1]}, {second[2]}\n" in capsys.readouterr().out
    assert json.loads(output.read_text())[0]["interval"] == pytest.approx(list(one.interval))


def test_seeds_that_differ_widen_the_interval(tmp_path):
    runs = [RunFolder(run) for run in seed_runs(tmp_path, [1, 1, 4, 4], side="a")]
    (alike,) = compare_runs(runs[:1], runs[1:2])
    (mixed,) = compare_runs([runs[0], runs[2]], [runs[1], runs[3]])
    width, wider = (one.interval[1] - one.interval[0] for one in (alike, mixed))
    assert wider > width


@pytest.mark.parametrize(
    "runs", [["a"], ["a", "b", "c"], ["a", "--with"], ["a", "b", "--wiht", "c"]]
)
def test_runs_that_are_not_two_groups_are_a_wrong_command_line(runs, capsys):
    assert main(["compare", *runs]) == 2
