import pytest

from w2v2_mt.app.dev_metric import dev_metric, word_error_rates


def test_each_validation_set_has_its_word_error_rate_in_their_order():
    assert word_error_rates({"val_sets": ["other", "clean"]}) == ("val_wer_other", "val_wer_clean")


@pytest.mark.parametrize(
    ("val_sets", "metric"),
    [
        (["other", "clean"], "val_wer_other"),
        (["clean", "noisy"], "val_wer_noisy"),
        (["clean"], "val_wer_clean"),
    ],
)
def test_speech_is_judged_on_the_set_called_other_or_on_the_last(val_sets, metric):
    assert dev_metric("train_speech", {"val_sets": val_sets}) == metric


@pytest.mark.parametrize(
    ("config_name", "metric"),
    [("train_speaker", "val_eer"), ("train_mt_speaker_speech", "val_score")],
)
def test_the_other_runs_are_judged_by_one_metric(config_name, metric):
    assert dev_metric(config_name, {}) == metric
