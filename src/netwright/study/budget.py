"""Budget of a study, and when it has to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.errors import InputError, RunError, check_whole, expected, plural
from netwright.study.storage.run_manifest import resume_hint
from netwright.trials.objective import Limit
from netwright.trials.trial import Status, Trial

MAX_CONSECUTIVE_FAILURES = 5
"""So many failed trials in a row stop the study: the code is at fault, not a candidate."""
MAX_FAILURES = 50
"""So many failed trials in one run stop the study."""


@dataclass(frozen=True)
class Budget:
    """The budget of a study, counted over all runs of its folder; whatever is used up first ends it.

    Args:
        trials: number of trials, or None.
        seconds: wall time, or None.
        until: end with the first finished trial of full fidelity within all of these limits.

    Raises:
        InputError: all three are missing, or one is negative.
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

    def seconds_left(self, used_seconds: float) -> float:
        """Return the seconds left; infinity without a budget of seconds."""
        return math.inf if self.seconds is None else self.seconds - used_seconds

    def trials_left(self, n_started: int) -> float:
        """Return the number of trials left; infinity without a budget of trials."""
        return math.inf if self.trials is None else max(0, self.trials - n_started)

    def is_too_late(self, used_seconds: float, shortest_trial_seconds: float) -> bool:
        """Return whether even the shortest trial so far would not fit into the time left."""
        seconds_left = self.seconds_left(used_seconds)
        return seconds_left <= 0 or seconds_left < shortest_trial_seconds

    def is_target_reached(self, trials: Sequence[Trial]) -> bool:
        """Return whether a finished trial of full fidelity is within all limits in `until`."""
        return bool(self.until) and any(
            trial.status is Status.DONE
            and trial.proposal.fidelity == 1
            and all(limit.keeps(trial.metrics) for limit in self.until)
            for trial in trials
        )


class FailureCounter:
    """Counts the failed trials of one run; the next run starts at 0, as the code may be fixed."""

    def __init__(self) -> None:
        self._n_consecutive = 0
        self._n_total = 0

    def count(self, trial: Trial) -> None:
        """Count a trial that ended.

        Raises:
            RunError: too many have failed; it quotes the last error.
        """
        if trial.status is not Status.FAILED:
            self._n_consecutive = 0
            return
        self._n_consecutive += 1
        self._n_total += 1
        if self._n_consecutive < MAX_CONSECUTIVE_FAILURES and self._n_total < MAX_FAILURES:
            return
        in_a_row = self._n_consecutive >= MAX_CONSECUTIVE_FAILURES
        failures = plural(self._n_consecutive if in_a_row else self._n_total, "trial")
        failures += " in a row" if in_a_row else ""
        raise RunError(
            f"{failures} failed, the last one (trial {trial.id}) with {trial.error!r}. "
            f"Finished trials are kept. Fix the cause, then {resume_hint()}."
        )
