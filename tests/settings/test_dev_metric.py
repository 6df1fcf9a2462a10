import pytest

from w2v2_mt.settings.dev_metric import dev_metric


@pytest.mark.parametrize(
    ("names", "metric"),
    [
        (["val_loss_other", "val_loss_clean", "val_wer_other", "val_wer_clean"], "val_wer_other"),
        (["val_loss_clean", "val_wer_clean", "val_wer_noisy", "test_wer_other"], "val_wer_noisy"),
        (["val_wer_clean", "val_loss_clean"], "val_wer_clean"),
    ],
)
def test_speech_is_judged_on_the_set_called_other_or_on_the_last(names, metric):
    assert dev_metric(names) == metric


def test_speakers_are_judged_by_the_equal_error_rate():
    assert dev_metric(["val_eer", "val_eer_threshold", "val_loss_speaker"]) == "val_eer"


def test_several_tasks_are_judged_by_their_score():
    assert dev_metric(["val_wer_other", "val_eer", "val_score"]) == "val_score"


def test_an_own_task_is_judged_by_its_last_metric():
    assert dev_metric(["val_loss_sex", "val_sex_error", "tested_step"]) == "val_sex_error"
