"""How much a search may spend."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

from netwright.automl.time_allocation import MIN_SECONDS
from netwright.errors import InputError, check_whole, expected
from netwright.study.workers.executors import available_cores
from netwright.trials.objective import Limit


@dataclass(frozen=True)
class SearchBudget:
    """How much to spend: seconds of wall time in all, trials, or until limits are reached.

    Counted over all runs of the same folder. `workers` 0: one for each core. `memory` in bytes is
    the most that one trial may take; 0: its share of four fifths of the machine's.
    """

    seconds: float | None = None
    trials: int | None = None
    until: Sequence[str | Limit] = ()
    workers: int = 0
    memory: int = 0
    start_time: float | None = None
    """From when the time counts, in seconds of `time.monotonic()`; None: from the call that uses it."""

    def __post_init__(self) -> None:
        if self.seconds is not None and not _is_time(self.seconds):
            least = f"at least {MIN_SECONDS} (start-up and one short training)"
            rule = f"a finite number of seconds, {least}"
            raise InputError(expected("time", rule, self.seconds))
        if self.trials is not None:
            check_whole("trials", self.trials, 1)
        check_whole("workers", self.workers, 0, "Use 0 for one on each core.")

    @property
    def n_workers(self) -> int:
        """How many workers run side by side: one-thread trials share a machine best."""
        return self.workers or available_cores()

    def started(self) -> SearchBudget:
        """The same, whose time counts from now, unless it counts already."""
        return self if self.start_time is not None else replace(self, start_time=time.monotonic())

    @property
    def deadline(self) -> float:
        """When the whole has to be over; never, before it has started."""
        if self.seconds is None or self.start_time is None:
            return math.inf
        return self.start_time + self.seconds


def _is_time(seconds: object) -> bool:
    """Numbers of numpy count; true and false do not."""
    if not isinstance(seconds, Real) or isinstance(seconds, bool):
        return False
    return MIN_SECONDS <= float(seconds) < math.inf
