"""The validation metric by which a run is judged."""

from collections.abc import Iterable, Sequence

SCORE = "val_score"
"""The mean of the scores of all tasks, where there are several."""

_PREFERRED_SET = "other"
PREFERRED_WORD_ERROR_RATE = f"val_wer_{_PREFERRED_SET}"

_PREFERRED = (SCORE, "val_eer", PREFERRED_WORD_ERROR_RATE)


def dev_metric(names: Iterable[str]) -> str:
    """Return the validation metric whose lowest value is the best checkpoint.

    Of several word error rates without the preferred one, it is the last; of an own task, its last
    metric. The order of the names is that of the validation.
    """
    measured = [name for name in names if name.startswith("val_")]
    for name in _PREFERRED:
        if name in measured:
            return name
    rates = [name for name in measured if name.startswith("val_wer_")]
    return (rates or measured)[-1]


def preferred_set(names: Sequence[str]) -> str:
    """Return the validation set of speech whose word error rate is preferred, otherwise the last.

    Without any names it is the preferred one.
    """
    return _PREFERRED_SET if _PREFERRED_SET in names or not names else names[-1]
