import re
import shutil

import pytest
import yaml

from tests.helpers.page_reading import Page
from tests.helpers.sweep_folders import COMMON, POOLING, make_job, make_sweep, result
from w2v2_mt.report.sweep_report import print_sweep_report, write_sweep_report
from w2v2_mt.runs.sweep_folder import read_sweep


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "2026-01-02_03-04-05"
    make_sweep(folder)
    return folder


def table_of(report, title):
    (table,) = [table for table in report.tables if table.title.startswith(title)]
    return table


def rows_of(report, title, *columns):
    table = table_of(report, title)
    chosen = [table.columns.index(column) for column in columns]
    return [tuple(row[column] for column in chosen) for row in table.rows]


def names_of_pictures(report):
    return [picture.name for picture in report.pictures]


def test_each_job_has_its_state_settings_and_rates_in_per_cent(sweep):
    table = table_of(write_sweep_report(sweep), "All jobs")
    # What all jobs share is left out, and so are intervals and counts.
    assert table.columns == (
        *("job", "state", "lr", "stat_pooling_type"),
        *("val_score", "val_wer_other", "val_eer", "test_wer_clean", "test_eer_o"),
    )
    assert table.rows == [
        ["0", "done", "1e-05", "mean", "20.00", "12.50", "6.25", "50.00", "25.00"],
        ["1", "done", "0.0001", "mean", "30.00", "10.00", "25.00", "1.00", "2.00"],
        ["2", "failed", "1e-05", "first+cls", "1.00", "2.00", "3.00", "-", "-"],
        ["3", "running or killed", "0.0001", "first+cls", "1.00", "37.50", "1.00", "-", "-"],
        ["4", "not started", "1e-05", "attentive", *"-----"],
        ["5", "not started", "0.0001", "attentive", *"-----"],
    ]


def test_the_best_job_is_a_finished_one_chosen_on_dev_data(sweep):
    report = write_sweep_report(sweep)
    # Job 1 has the lower rates on test data; jobs 2 and 3 the lower dev score, but no result.
    assert table_of(report, "Lowest dev metric").rows == [
        ["val_score", "0", "lr=1e-05, stat_pooling_type=mean", "20.00", "50.00", "25.00"],
        ["val_wer_other", "1", "lr=0.0001, stat_pooling_type=mean", "10.00", "1.00", "2.00"],
        ["val_eer", "0", "lr=1e-05, stat_pooling_type=mean", "6.25", "50.00", "25.00"],
    ]


def test_pictures_show_points_of_jobs_and_lines_of_variants(sweep):
    make_job(
        sweep,
        6,
        [*COMMON, "optim.algo.lr=0.01", f"{POOLING}=first+cls"],
        lr=1e-2,
        metrics=result(score=0.4, wer=0.5, eer=0.3, test_wer=0.1, test_eer=0.1),
    )
    report = write_sweep_report(sweep)
    lines = [f"val_{name}_by_learning_rate" for name in ("score", "wer_other", "eer")]
    assert names_of_pictures(report) == ["wer_against_eer", *lines]
    points = report.pictures[0].svg
    # Jobs 0 to 3 and 6 have both rates, the others none.
    assert [number for number in range(8) if f">#{number}</text>" in points] == [0, 1, 2, 3, 6]
    for text in ("val_wer_other, % of reference words", "val_eer, % of trials", "done"):
        assert f">{text}</text>" in points
    by_rate = report.pictures[1].svg
    for text in (
        "learning rate",
        "1e-05",
        "val_score, %",
        "stat_pooling_type=mean",
        "stat_pooling_type=first+cls",
    ):
        assert f">{text}</text>" in by_rate
    page = report.path.read_text(encoding="utf-8")
    for picture in report.pictures:
        assert picture.svg in page
        assert (report.path.parent / f"{picture.name}.png").exists()


def test_jobs_that_only_test_have_no_dev_metrics(tmp_path):
    """Those in their results came with the checkpoint, and would all be the same."""
    for number, decoder in enumerate(("greedy", "beam")):
        rates = result(score=0.2, wer=0.1, eer=0.1, test_wer=0.5 / (1 + number), test_eer=0.25)
        make_job(
            tmp_path,
            number,
            [f"evaluation.decoder={decoder}"],
            lr=1e-4,
            metrics=rates,
            is_trained=False,
        )
    report = write_sweep_report(tmp_path)
    (table,) = report.tables
    assert table.columns == ("job", "state", "decoder", "test_wer_clean", "test_eer_o")


def test_one_learning_rate_makes_no_line(sweep):
    shutil.rmtree(sweep / "1")
    assert names_of_pictures(write_sweep_report(sweep)) == ["wer_against_eer"]


def test_seeds_are_points_around_a_mean_and_not_variants(tmp_path):
    for number, (seed, lr) in enumerate((seed, lr) for seed in (1, 2) for lr in (1e-5, 1e-4)):
        make_job(
            tmp_path,
            number,
            [f"seed={seed}", f"optim.algo.lr={lr}"],
            lr=lr,
            metrics={"val_eer": 0.1 * seed},
        )
    (picture,) = write_sweep_report(tmp_path).pictures
    assert picture.svg.count(">all jobs</text>") == 1
    assert "seed" not in picture.svg


@pytest.mark.parametrize(
    ("dev", "test"), [("val_wer_dev", "test_wer_clean"), ("val_eer", "test_eer_o")]
)
def test_a_sweep_of_one_task_has_its_own_metrics_only(tmp_path, dev, test):
    for number, lr in enumerate((1e-5, 1e-4)):
        metrics = {dev: 0.5 - 0.1 * number, test: 0.25, "tested_step": 10}
        make_job(tmp_path, number, [f"optim.algo.lr={lr}"], lr=lr, metrics=metrics)
    report = write_sweep_report(tmp_path)
    assert table_of(report, "All jobs").columns[3:] == (dev, test)
    assert table_of(report, "Lowest dev metric").rows == [[dev, "1", "lr=0.0001", "40.00", "25.00"]]
    assert names_of_pictures(report) == [f"{dev}_by_learning_rate"]


def test_the_page_fetches_nothing_and_takes_no_text_for_html(sweep):
    text = write_sweep_report(sweep).path.read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith("#") for address in page.addresses)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.findall(r"url\((?!#)", text)
    assert "Job 2: ValueError: <no> data" in page.texts
    assert page.headings == ["Best on dev data", "Pictures", "Jobs", "Failures"]
    (opening,) = [each for each in page.texts if each.startswith("6 jobs: ")]
    assert opening.startswith("6 jobs: 2 done, 1 failed, 1 running or killed, 2 not started. ")


def test_reports_of_jobs_are_linked(sweep):
    (sweep / "1" / "report").mkdir()
    (sweep / "1" / "report" / "index.html").write_text("")
    page = Page(write_sweep_report(sweep).path.read_text(encoding="utf-8"))
    assert [each for each in page.addresses if not each.startswith("#")] == [
        "../1/report/index.html"
    ]


def test_jobs_in_folders_with_names_are_found_by_the_table_also_after_a_move(sweep, tmp_path):
    before = [job.metrics for job in read_sweep(sweep)]
    (sweep / "1" / "report").mkdir()
    (sweep / "1" / "report" / "index.html").write_text("")
    lines = ["number\tjob\tfolder\tlog\toverrides"]
    for job in read_sweep(sweep):
        name = f"lr={job.number},x=#{job.number}"
        if job.folder is not None:
            job.folder.rename(sweep / name)
        settings = " ".join(f"{key}={value}" for key, value in job.settings.items())
        lines.append(f"{job.number}\t7\t/elsewhere/sweep/{name}\t\t{settings}")
    (sweep / "jobs.tsv").write_text("\n".join([*lines, ""]))
    moved = sweep.rename(tmp_path / "moved")
    assert [job.metrics for job in read_sweep(moved)] == before
    page = Page(write_sweep_report(moved).path.read_text(encoding="utf-8"))
    assert "../lr%3D1%2Cx%3D%231/report/index.html" in page.addresses


def test_a_table_that_names_folders_outside_of_the_sweep_is_not_followed(sweep, tmp_path):
    (tmp_path / "outside").mkdir()
    for name in (f"{tmp_path}/sweep/../outside", f"{tmp_path}/outside"):
        table = f"number\tjob\tfolder\tlog\toverrides\n9\t7\t{name}\t\tseed=1\n"
        (sweep / "jobs.tsv").write_text(table)
        assert read_sweep(sweep)[-1].folder is None


def test_a_sweep_that_has_just_begun_has_a_report(tmp_path):
    plan = {"hydra": {"overrides": {"task": ["seed=1,2", "hydra/launcher=submitit_local"]}}}
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump(plan))
    (tmp_path / "0").mkdir()
    report = write_sweep_report(tmp_path)
    assert rows_of(report, "All jobs", "job", "state", "seed") == [
        ("0", "running or killed", "1"),
        ("1", "not started", "2"),
    ]
    assert len(report.tables) == 1
    assert report.pictures == []


@pytest.mark.parametrize("is_submitted", [False, True])
def test_quotes_that_hydra_adds_do_not_make_settings_differ(tmp_path, is_submitted):
    typed = ["tag=[a b,'c d']", "optim.algo.lr=1E-4", "seed=1,2,3"]
    given = [["tag=[a\\ b,'c d']", "optim.algo.lr=0.0001", f"seed={seed}"] for seed in (1, 2, 3)]
    (tmp_path / "multirun.yaml").write_text(
        yaml.safe_dump({"hydra": {"overrides": {"task": typed}}})
    )
    if is_submitted:
        rows = [f"{n}\t7_{n}\t/x/{n}\t/x/log\t{' '.join(job)}\n" for n, job in enumerate(given)]
        (tmp_path / "jobs.tsv").write_text("number\tjob\tfolder\tlog\toverrides\n" + "".join(rows))
    make_job(tmp_path, 0, given[0], lr=1e-4, metrics={"val_eer": 0.5})
    (tmp_path / "1").mkdir()
    table = table_of(write_sweep_report(tmp_path), "All jobs")
    assert table.columns == ("job", "state", "seed", "val_eer")
    assert [row[2] for row in table.rows] == ["1", "2", "3"]


def test_a_job_that_could_not_write_its_error_has_that_of_the_launcher(tmp_path):
    (tmp_path / "jobs.tsv").write_text(
        "number\tjob\tfolder\tlog\toverrides\n"
        "0\t7_0\t/x/0\t/x/log\tseed=1 tag=[a,b]\n1\t7_1\t/x/1\t/x/log\tseed=2 tag=[a,b]\n"
    )
    (tmp_path / "errors.txt").write_text(
        "== #1: seed=2 tag=[a,b]\nfolder: /x/1\nit ended without a result (SLURM: TIMEOUT)\n"
        "-- the end of /x/log\nsomething\n"
    )
    report = write_sweep_report(tmp_path)
    assert rows_of(report, "All jobs", "state", "seed") == [("not started", "1"), ("failed", "2")]
    text = report.path.read_text(encoding="utf-8")
    assert "Job 1: it ended without a result (SLURM: TIMEOUT)" in text


def test_a_job_that_was_done_since_the_launcher_gave_it_up_is_done(tmp_path):
    make_job(tmp_path, 0, ["seed=1"], lr=1.0, metrics={"val_eer": 0.5})
    (tmp_path / "errors.txt").write_text("== #0: seed=1\nfolder: /x/0\nOSError: no disk\n")
    assert rows_of(write_sweep_report(tmp_path), "All jobs", "state") == [("done",)]


def test_a_metric_that_is_not_a_number_is_neither_best_nor_drawn(tmp_path):
    for number, eer in enumerate((float("nan"), 0.5)):
        lr = 10.0**-number
        metrics = {"val_eer": eer, "tested_step": 1}
        make_job(tmp_path, number, [f"optim.algo.lr={lr}"], lr=lr, metrics=metrics)
    report = write_sweep_report(tmp_path)
    assert rows_of(report, "All jobs", "job", "val_eer") == [("0", "-"), ("1", "50.00")]
    assert rows_of(report, "Lowest dev metric", "job") == [("1",)]
    assert report.pictures == []


@pytest.mark.parametrize("made", ["nothing", "empty", "run", "file"])
def test_a_folder_that_is_not_a_sweep_is_refused(tmp_path, made):
    folder = tmp_path / "x"
    if made == "file":
        folder.write_text("")
    elif made != "nothing":
        folder.mkdir()
    if made == "run":
        (folder / "config.yaml").write_text("seed: 1\n")
        (folder / "7").mkdir()
    with pytest.raises(ValueError, match=r"x is not a sweep folder, which holds a folder for"):
        write_sweep_report(folder)
    assert not (folder / "report").exists()


def test_a_plan_that_hydra_did_not_write_is_refused(tmp_path):
    (tmp_path / "multirun.yaml").write_text("hydra: 3\n")
    with pytest.raises(ValueError, match=r"multirun\.yaml is not as Hydra writes it \(TypeError\)"):
        write_sweep_report(tmp_path)


def test_printed_tables_do_not_interpret_names(tmp_path, capsys):
    sweep = tmp_path / "sw[best]:a:"
    for number, tag in enumerate(("[red]", "[/red]")):
        make_job(sweep, number, [f"tag={tag}"], lr=1.0, metrics={"val_eer": 0.5})
    report = write_sweep_report(sweep)
    print_sweep_report(report)
    lines = capsys.readouterr().out.splitlines()
    cells = [re.split("[│┃]", line)[1:-1] for line in lines]
    rows = [[cell.strip() for cell in row] for row in cells if row]
    for table in report.tables:
        assert table.title in [line.strip() for line in lines]
        for row in (table.columns, *table.rows):
            assert list(row) in rows
    assert [row[2] for row in table_of(report, "All jobs").rows] == ["[red]", "[/red]"]
    assert lines[-1] == f"Report: {sweep}/report/index.html"


@pytest.mark.parametrize("name", ["metrics.json", "config.yaml"])
def test_a_corrupt_file_of_one_job_leaves_the_others_in_the_report(sweep, name):
    before = rows_of(write_sweep_report(sweep), "All jobs", "job", "state")
    done = next(number for number, state in before if state == "done")
    (sweep / done / name).write_text("{")
    after = rows_of(write_sweep_report(sweep), "All jobs", "job", "state")
    assert after == [(number, "failed" if number == done else state) for number, state in before]
    assert f"{name} is no" in (sweep / "report" / "index.html").read_text()


def make_seeds(sweep, rates):
    """A job for each seed of each variant, with its dev rate and, as far off, its test rate."""
    number = 0
    for variant, of_seeds in rates.items():
        for seed, rate in enumerate(of_seeds):
            metrics = {"val_eer": rate, "test_eer_o": rate + 0.1}
            overrides = [f"{POOLING}={variant}", f"seed={seed}"]
            make_job(sweep, number, overrides, lr=1e-4, metrics=metrics)
            number += 1


def test_the_best_variant_has_the_lowest_mean_and_not_the_luckiest_seed(tmp_path, capsys):
    make_seeds(tmp_path, {"mean": [0.10, 0.30, 0.32], "first": [0.2, 0.2, 0.23]})
    report = write_sweep_report(tmp_path)
    assert table_of(report, "Variants").rows == [
        ["stat_pooling_type=mean", "0, 1, 2", "3", "24.00 ± 12.17", "34.00 ± 12.17"],
        ["stat_pooling_type=first", "3, 4, 5", "3", "21.00 ± 1.73", "31.00 ± 1.73"],
    ]
    best = table_of(report, "Lowest dev metric")
    assert best.columns == ("dev metric", "jobs", "settings", "n", "dev", "test_eer_o")
    assert best.rows == [
        ["val_eer", "3, 4, 5", "stat_pooling_type=first", "3", "21.00 ± 1.73", "31.00 ± 1.73"]
    ]
    assert "24.00 ± 12.17" in report.path.read_text(encoding="utf-8")
    print_sweep_report(report)
    assert "21.00 ± 1.73" in capsys.readouterr().out


def test_variants_that_are_equally_good_are_both_named(tmp_path):
    make_seeds(tmp_path, {"mean": [0.1, 0.3], "first": [0.3, 0.1], "last": [0.3, 0.3]})
    rows = rows_of(write_sweep_report(tmp_path), "Lowest dev metric", "jobs", "settings")
    assert rows == [
        ("0, 1", "stat_pooling_type=mean (tied)"),
        ("2, 3", "stat_pooling_type=first (tied)"),
    ]


def test_jobs_that_are_equally_good_are_both_named(tmp_path):
    make_seeds(tmp_path, {"mean": [0.1], "first": [0.1]})
    rows = rows_of(write_sweep_report(tmp_path), "Lowest dev metric", "job", "settings")
    assert rows == [
        ("0", "stat_pooling_type=mean (tied)"),
        ("1", "stat_pooling_type=first (tied)"),
    ]


def test_a_seed_that_failed_is_not_in_the_mean(tmp_path):
    make_seeds(tmp_path, {"mean": [0.1, 0.3], "first": [0.4, 0.4]})
    (tmp_path / "1" / "error.txt").write_text("ValueError: x\n")
    rows = rows_of(write_sweep_report(tmp_path), "Variants", "jobs", "n", "val_eer")
    assert rows == [("0, 1", "1", "10.00"), ("2, 3", "2", "40.00 ± 0.00")]
