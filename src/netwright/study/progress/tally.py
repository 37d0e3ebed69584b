"""Count the trials that have ended, keep the best, estimate the time left."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.study.budget import Budget
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import CONSTANT, Status, Trial


class Tally:
    """Number of trials of all runs that have ended, and the best of them."""

    def __init__(
        self,
        trials: Sequence[Trial],
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        budget: Budget,
    ) -> None:
        self._objective, self._limits, self._budget = objectives[0], limits, budget
        self.best: Trial | None = None
        self.n_ended = 0
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> bool:
        """Count a trial that has ended; return whether it is the best so far."""
        if trial.status is Status.RUNNING:
            return False
        self.n_ended += 1
        is_within_limits = all(limit.keeps(trial.metrics) for limit in self._limits)
        is_constant = trial.proposal.origin == CONSTANT  # never worth announcing as the best
        if trial.status is not Status.DONE or not is_within_limits or is_constant:
            return False
        if self.best is not None and self._rank(trial) >= self._rank(self.best):
            return False
        self.best = trial
        return True

    def _rank(self, trial: Trial) -> tuple[bool, float]:
        """Return a sort key, smaller is better: scores below full fidelity are not comparable."""
        return trial.proposal.fidelity < 1, self._objective.loss(trial.metrics)

    def seconds_left(
        self, used_seconds: float, n_budgeted_trials: int, n_running: int
    ) -> float | None:
        """Return the seconds until the search ends, or None if unknown.

        With a budget of trials it is estimated from the mean seconds per ended trial.

        Args:
            used_seconds: by all runs of the folder.
            n_budgeted_trials: trials that the budget counts, running ones included.
            n_running: trials that have not ended.
        """
        if self._budget.seconds is not None:
            return max(0.0, self._budget.seconds_left(used_seconds))
        if self._budget.trials is None or not self.n_ended:
            return None
        n_left = self._budget.trials_left(n_budgeted_trials) + n_running
        return used_seconds / self.n_ended * n_left
