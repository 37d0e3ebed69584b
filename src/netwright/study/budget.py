"""How much a study may spend, and when it has to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.errors import InputError, RunError, check_whole, expected, plural
from netwright.study.storage.run_manifest import resume_hint
from netwright.trials.objective import Limit
from netwright.trials.trial import Status, Trial

FAILURES_IN_A_ROW = 5
"""So many failed trials one after the other stop the study: the code is at fault."""
FAILURES = 50
"""So many failed trials in one run stop the study."""


@dataclass(frozen=True)
class Budget:
    """Trials and seconds count over all runs of the folder; whatever is reached first ends it.

    `until`: a finished trial of full fidelity that keeps all of these ends it, too.
    """

    trials: int | None = None
    seconds: float | None = None
    until: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        if self.trials is None and self.seconds is None and not self.until:
            raise InputError("a budget must have trials, seconds or until, got none of them.")
        if self.trials is not None:
            check_whole("trials", self.trials, 0)
        if self.seconds is not None and not (
            isinstance(self.seconds, int | float) and self.seconds >= 0
        ):
            raise InputError(expected("seconds", "0 or more", self.seconds))

    def seconds_left(self, used: float) -> float:
        """Infinite when seconds are not budgeted."""
        return math.inf if self.seconds is None else self.seconds - used

    def trials_left(self, started: int) -> float:
        """Infinite when trials are not budgeted."""
        return math.inf if self.trials is None else max(0, self.trials - started)

    def too_late(self, used: float, quickest: float) -> bool:
        """Whether there is no time for even the quickest trial yet: a new one would be cut off."""
        left = self.seconds_left(used)
        return left <= 0 or left < quickest

    def reached(self, trials: Sequence[Trial]) -> bool:
        """Whether one of these trials is all that was asked for."""
        return bool(self.until) and any(
            trial.status is Status.DONE
            and trial.proposal.fidelity == 1
            and all(limit.keeps(trial.metrics) for limit in self.until)
            for trial in trials
        )


class Failures:
    """Counts the failed trials of one run, since mending the code lets the next run go on."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._in_all = 0

    def count(self, trial: Trial) -> None:
        """RunError, quoting the trial's error, when there have been too many."""
        if trial.status is not Status.FAILED:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self._in_all += 1
        if self._in_a_row < FAILURES_IN_A_ROW and self._in_all < FAILURES:
            return
        in_a_row = self._in_a_row >= FAILURES_IN_A_ROW
        count = plural(self._in_a_row if in_a_row else self._in_all, "trial")
        count += " in a row" if in_a_row else ""
        raise RunError(
            f"{count} failed, the last one (trial {trial.id}) with {trial.error!r}. "
            f"Nothing that finished is lost: mend it, and {resume_hint()}."
        )
