import math

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from tests.helpers.callback_trainer import trainer_with
from w2v2_mt.training.callbacks.early_stopping import StopWhenAllStalled


def stopper(**changes):
    settings = {
        "monitors": ["val_wer_other", "val_eer"],
        "patience": 2,
        "losses": ["val_loss_speaker"],
        "divergence_threshold": 10.0,
    }
    return StopWhenAllStalled(**settings | changes)


def stops_after(callback, word_error_rates, equal_error_rates, losses=None):
    """The number of the validation, from 1, that ends training; None when none does."""
    losses = losses or [1.0] * len(word_error_rates)
    values = zip(word_error_rates, equal_error_rates, losses, strict=True)
    for number, (word_error_rate, equal_error_rate, loss) in enumerate(values, start=1):
        trainer = trainer_with(
            {
                "val_wer_other": word_error_rate,
                "val_eer": equal_error_rate,
                "val_loss_speaker": loss,
            }
        )
        callback.on_validation_end(trainer, pl.LightningModule())
        if trainer.should_stop:
            return number
    return None


FALLING = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
CONSTANT = [0.5] * 6


def test_training_ends_only_when_both_tasks_have_stalled():
    assert stops_after(stopper(), FALLING, CONSTANT) is None
    assert stops_after(stopper(), CONSTANT, FALLING) is None
    assert stops_after(stopper(), CONSTANT, CONSTANT) == 3
    # One stalls from the second validation on, the other from the fourth.
    assert stops_after(stopper(), CONSTANT, [0.9, 0.8, 0.7, 0.7, 0.7, 0.7]) == 5


def test_a_task_that_improves_again_has_not_stalled():
    assert stops_after(stopper(), CONSTANT, [0.5, 0.5, 0.4, 0.4, 0.3, 0.3]) is None


def test_only_a_value_below_the_best_counts_as_better():
    assert stops_after(stopper(), CONSTANT, [0.3, 0.5, 0.4, 0.3, 0.3, 0.3]) == 3


def test_a_loss_above_the_threshold_ends_training_only_after_it_has_been_below():
    losses = [14.0, 12.0, 10.5, 9.0, 8.0, 7.0]
    assert stops_after(stopper(), FALLING, FALLING, losses) is None
    assert stops_after(stopper(), FALLING, FALLING, [14.0, 9.0, 10.0, 10.1, 9.0, 9.0]) == 4


def test_a_loss_that_is_not_a_number_ends_training_at_once():
    losses = [14.0, math.nan, 1.0, 1.0, 1.0, 1.0]
    assert stops_after(stopper(), FALLING, FALLING, losses) == 2


def test_a_validation_without_training_speakers_has_no_loss_to_diverge():
    trainer = trainer_with({"val_wer_other": 0.5, "val_eer": 0.5})
    callback = stopper()
    callback.on_validation_end(trainer, pl.LightningModule())
    assert not trainer.should_stop
    assert callback.has_been_below == {"val_loss_speaker": False}


def test_a_test_run_does_not_count_as_a_validation():
    callback = stopper(patience=1)
    trainer = trainer_with({}, fn=TrainerFn.VALIDATING)
    callback.on_validation_end(trainer, pl.LightningModule())
    assert not trainer.should_stop
    assert callback.best == {"val_wer_other": math.inf, "val_eer": math.inf}


def test_a_resumed_run_stops_where_an_uninterrupted_one_does():
    equal_error_rates, losses = [0.4] * 6, [12.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    callback = stopper(patience=4)
    assert stops_after(callback, CONSTANT[:3], equal_error_rates[:3], losses[:3]) is None
    resumed = stopper(patience=4)
    resumed.load_state_dict(callback.state_dict())
    assert resumed.state_dict() == callback.state_dict()
    assert stops_after(stopper(patience=4), CONSTANT, equal_error_rates, losses) == 5
    assert stops_after(resumed, CONSTANT[3:], equal_error_rates[3:], losses[3:]) == 2


def test_the_state_of_a_stopper_remembers_that_a_loss_has_been_below():
    callback = stopper()
    stops_after(callback, [0.9], [0.9], [9.0])
    resumed = stopper()
    resumed.load_state_dict(callback.state_dict())
    assert stops_after(resumed, [0.8], [0.8], [11.0]) == 1
    assert stops_after(stopper(), [0.8], [0.8], [11.0]) is None
