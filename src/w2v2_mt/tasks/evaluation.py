"""Results on evaluation sets, of one task and of all tasks of a run."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from statistics import mean
from typing import Any, Protocol, runtime_checkable

from w2v2_mt.settings.dev_metric import SCORE

Metrics = dict[str, float]
"""Values by their name in the log."""


@runtime_checkable
class Evaluation(Protocol):
    """The results of one task, collected a batch at a time in each process."""

    def reset(self) -> None:
        """Forget all results."""
        raise NotImplementedError

    def add_validated(self, output: Any, batch: Any) -> None:
        """Add a batch of a validation and the network's output for it."""
        raise NotImplementedError

    def add_tested(self, output: Any, batch: Any) -> None:
        """Add a batch of a test and the network's output for it."""
        raise NotImplementedError

    def gather(self) -> None:
        """Merge the results of all processes; every process calls it."""
        raise NotImplementedError

    def validation_names(self, *, is_only_task: bool) -> list[str]:
        """Return the names of the metrics of a validation, shorter for an only task."""
        raise NotImplementedError

    def validation_metrics(self, *, is_only_task: bool) -> Metrics:
        """Return the metrics of a validation, called as `validation_names` returns them."""
        raise NotImplementedError

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the share of this task in `val_score`, lower is better."""
        raise NotImplementedError

    def test_metrics(self) -> Metrics:
        """Return the metrics of a test."""
        raise NotImplementedError

    def test_files(self) -> dict[str, list[str]]:
        """Return the lines of each file that a test writes, by the file's name."""
        return {}

    def close(self) -> None:
        """End the processes that a test has started, also after an error."""
        return


def merge(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the entries of all parts."""
    return reduce(or_, parts, {})


class RunEvaluation:
    """The results of all tasks of a run, by the task's name."""

    def __init__(self, by_task: Mapping[str, Evaluation]):
        self.by_task = dict(by_task)
        self._is_only_task = len(self.by_task) == 1

    def reset(self) -> None:
        for evaluation in self.by_task.values():
            evaluation.reset()

    def validation_names(self) -> list[str]:
        names = [] if self._is_only_task else [SCORE]
        for evaluation in self.by_task.values():
            names += evaluation.validation_names(is_only_task=self._is_only_task)
        return names

    def validation_metrics(self) -> Metrics:
        """Merge the results of all processes and return the metrics of a validation.

        `val_score`, the mean of the scores of the tasks, is one of them if there are several.
        """
        metrics: Metrics = {}
        scores = []
        for evaluation in self.by_task.values():
            evaluation.gather()
            of_task = evaluation.validation_metrics(is_only_task=self._is_only_task)
            scores.append(evaluation.score(of_task))
            metrics |= of_task
        return metrics if self._is_only_task else {**metrics, SCORE: mean(scores)}

    def test_metrics(self) -> Metrics:
        """Merge the results of all processes and return the metrics of a test."""
        for evaluation in self.by_task.values():
            evaluation.gather()
        return merge(evaluation.test_metrics() for evaluation in self.by_task.values())

    def test_files(self) -> dict[str, list[str]]:
        return merge(evaluation.test_files() for evaluation in self.by_task.values())

    def close(self) -> None:
        """End the processes that a test has started."""
        for evaluation in self.by_task.values():
            evaluation.close()
