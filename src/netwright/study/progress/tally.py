"""How a search stands, for those who watch it: trials ended, the best of them, the time left."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.study.budget import Budget
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import CONSTANT, Status, Trial


class Tally:
    """Counts the trials of all runs that have ended, and keeps the best."""

    def __init__(
        self, trials: Sequence[Trial], objectives: Sequence[Objective], limits: Sequence[Limit],
        budget: Budget,
    ) -> None:  # fmt: skip
        self._objective, self._limits, self._budget = objectives[0], limits, budget
        self.best: Trial | None = None
        self.n_ended = 0
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> bool:
        """Count a trial that has ended; whether it is the best so far."""
        if trial.status is Status.RUNNING:
            return False
        self.n_ended += 1
        within = all(limit.keeps(trial.metrics) for limit in self._limits)
        is_constant = trial.proposal.origin == CONSTANT  # whatever finishes is better news
        if trial.status is not Status.DONE or not within or is_constant:
            return False
        if self.best is not None and self._rank(trial) >= self._rank(self.best):
            return False
        self.best = trial
        return True

    def _rank(self, trial: Trial) -> tuple[bool, float]:
        """Less is better: full fidelity first, whose scores alone are comparable."""
        return trial.proposal.fidelity < 1, self._objective.loss(trial.metrics)

    def seconds_left(self, used: float, counted: int, running: int) -> float | None:
        """Until the search ends; where trials are counted, as long as those before them took.

        Args:
            used: seconds of all runs of the folder.
            counted: trials that the budget counts, those that run included.
            running: trials that have not ended.
        """
        if self._budget.seconds is not None:
            return max(0.0, self._budget.seconds_left(used))
        if self._budget.trials is None or not self.n_ended:
            return None
        return used / self.n_ended * (self._budget.trials_left(counted) + running)
