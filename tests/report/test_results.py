from w2v2_mt.report.results import error_rate_table, result_tables


def test_each_set_and_each_list_has_a_row_and_no_value_is_lost():
    metrics = {
        "val_eer": 0.25,
        "test_wer_clean": 0.5,
        "test_wer_clean_low": 0.25,
        "test_wer_clean_high": 0.75,
        "test_wer_other": 0.125,
        "test_wer_other_insertions": 3,
        "test_wer_other_num_words": 24,
        "test_cer_clean": 0.1,
        "test_cer_clean_deletions": 4,
        "test_eer_o": 0.05,
        "test_eer_o_2s": 0.1,
        "test_mindcf_o": 0.5,
        "test_mindcf_p01_o": 0.75,
        "test_unheard_of": 0.0123456,
        "tested_step": 7,
    }
    tables = result_tables(metrics)
    assert {table.title: [[*table.columns], *map(list, table.rows)] for table in tables} == {
        "Word errors, test": [
            ["set", "WER, %", "95 % interval", "insertions", "words"],
            ["clean", "50.00", "25.00 to 75.00", "-", "-"],
            ["other", "12.50", "-", "3", "24"],
        ],
        "Character errors, test": [
            ["set", "CER, %", "deletions"],
            ["clean", "10.00", "4"],
        ],
        "Speaker recognition, test": [
            ["trial list", "EER, %", "minDCF (.05)", "minDCF (.01)"],
            ["o", "5.00", "0.5", "0.75"],
            ["o_2s", "10.00", "-", "-"],
        ],
        "Dev data": [["name", "value"], ["val_eer, %", "25.00"]],
        "Further values": [
            ["name", "value"],
            ["test_unheard_of", "0.01235"],
            ["tested_step", "7"],
        ],
    }


def test_without_a_test_there_is_no_table():
    assert result_tables({}) == []


def test_values_that_are_not_finite_are_reported_as_such():
    metrics = {"test_cllr": float("inf"), "test_x": float("nan"), "val_eer": -float("inf")}
    cells = [row for table in result_tables(metrics) for row in table.rows]
    assert cells == [("val_eer, %", "-inf"), ("test_cllr", "inf"), ("test_x", "nan")]


def test_half_of_an_interval_and_texts_are_not_lost():
    metrics = {
        "test_wer_clean": 0.5,
        "test_wer_clean_low": 0.25,
        "test_wer_other": 0.5,
        "test_wer_other_low": 0.25,
        "test_wer_other_high": 0.75,
        "test_eer_o": "failed",
        "test_mindcf_o": 0.5,
        "test_cer_clean": 0.1,
        "test_cer_clean_high": 0.2,
    }
    cells = {table.title: [list(row) for row in table.rows] for table in result_tables(metrics)}
    assert cells == {
        "Word errors, test": [["clean", "50.00", "-"], ["other", "50.00", "25.00 to 75.00"]],
        "Character errors, test": [["clean", "10.00"]],
        "Speaker recognition, test": [["o", "-", "0.5"]],
        "Further values": [
            ["test_wer_clean_low", "0.25"],
            ["test_eer_o", "failed"],
            ["test_cer_clean_high", "0.2"],
        ],
    }


def test_an_interval_without_width_is_not_shown():
    metrics = {"test_wer_a": 0.25, "test_wer_a_low": 0.25, "test_wer_a_high": 0.25}
    (table,) = result_tables(metrics)
    assert [list(row) for row in table.rows] == [["a", "25.00"]]
    assert [list(row) for row in error_rate_table(metrics).rows] == [["WER a", "25.00", "-"]]


def test_error_rates_have_a_row_each_with_their_interval():
    metrics = {
        "val_eer": 0.5,
        "test_eer_o": 0.0312,
        "test_eer_o_low": 0.03,
        "test_eer_o_high": 0.04,
        "test_wer_clean": 0.05,
        "test_wer_clean_low": 0.04,
        "test_wer_clean_num_words": 100,
        "test_cer_clean": 0.02,
        "test_cer_clean_insertions": 3,
        "test_cllr_o": 0.2,
        "tested_step": 3,
    }
    assert [*error_rate_table(metrics).rows] == [
        ("WER clean", "5.00", "-"),
        ("CER clean", "2.00", "-"),
        ("EER o", "3.12", "3.00 to 4.00"),
    ]
