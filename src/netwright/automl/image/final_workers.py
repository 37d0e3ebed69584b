"""The workers of the final training, and how many networks they train."""

from __future__ import annotations

from netwright.automl.finished_search import OpenedSearch
from netwright.automl.image.final_candidate import epochs_of_one
from netwright.automl.time_allocation import (
    FINALS_SIDE_BY_SIDE,
    SHORT_IMAGE_SECONDS,
    final_seconds,
    n_finals,
)
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.trial import Trial

_FIRST_TRIAL = 1
"""Id of the default's trial."""
_WARM_UP = "netwright.evaluators.training.train_and_validate:warm_up"


class FinalWorkers:
    """The workers of the final training, which share all cores and memory.

    How many networks are trained depends on how fast the default trains. It is decided once: when the
    workers are started early, or when they are first asked for.

    Args:
        opened: the search.
        seconds: of the whole run; None without a time limit.
        n_workers: number of parallel trials of the search.
    """

    def __init__(self, opened: OpenedSearch, seconds: float | None, n_workers: int) -> None:
        self._opened, self._seconds, self._n_workers = opened, seconds, n_workers
        self._decided: tuple[int, Executor] | None = None

    @property
    def n_members(self) -> int:
        """Number of networks to train."""
        return self._members_and_executor()[0]

    @property
    def executor(self) -> Executor:
        """Trains as many networks at a time as it has slots."""
        return self._members_and_executor()[1]

    def start_early(self, default: Trial | None) -> None:
        """Start the workers while the search runs, unless they have started.

        Args:
            default: the default's trial, which the study lists only later; None if it has not ended.
        """
        if self._decided is None:
            self._decided = self._decide(default)
            if isinstance(self.executor, Supervised):
                self.executor.start(_WARM_UP)

    def close(self) -> None:
        """Stop the workers."""
        if self._decided is not None:
            self.executor.close()

    def _members_and_executor(self) -> tuple[int, Executor]:
        if self._decided is None:
            trials = {trial.id: trial for trial in self._opened.study.trials}
            self._decided = self._decide(trials.get(_FIRST_TRIAL))
        return self._decided

    def _decide(self, default: Trial | None) -> tuple[int, Executor]:
        epochs = 0.0
        if default is not None and self._seconds is not None:
            seconds = final_seconds(self._seconds)
            epochs = epochs_of_one(self._opened.task, default, seconds, self._n_workers)
        n_members = n_finals(self._seconds, self._n_workers, epochs)
        executor = self._opened.study.executor
        if isinstance(executor, Supervised):
            n_workers = min(n_members, FINALS_SIDE_BY_SIDE)
            executor = executor.divided(n_workers, owns_cores=self._may_own_cores)
        return n_members, executor

    @property
    def _may_own_cores(self) -> bool:
        """Whether the training is long enough to give way to other programs, and has a clock for it."""
        return self._seconds is not None and self._seconds >= SHORT_IMAGE_SECONDS
