"""The budget of a search: seconds, trials, limits to reach, and workers."""

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
    """Budget of a search in seconds, trials and scores, over all runs of its folder.

    Args:
        seconds: wall time in all, at least `MIN_SECONDS`; None for no time limit.
        trials: number of trials; None for no limit.
        until: limits such as ``"accuracy>=0.99"``; the search ends when a trial is within all.
        workers: number of parallel trials; 0 for one per core, as trials use one thread each.
        memory: bytes that a trial may take; 0 for its share of four fifths of the machine's memory.
        start_time: `time.monotonic()` from which `seconds` counts; None for the call that uses it.
    """

    seconds: float | None = None
    trials: int | None = None
    until: Sequence[str | Limit] = ()
    workers: int = 0
    memory: int = 0
    start_time: float | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not _is_valid_time(self.seconds):
            minimum = f"at least {MIN_SECONDS} (start-up and one short training)"
            rule = f"a finite number of seconds, {minimum}"
            raise InputError(expected("time", rule, self.seconds))
        if self.trials is not None:
            check_whole("trials", self.trials, 1)
        check_whole("workers", self.workers, 0, "Use 0 for one on each core.")

    @property
    def n_workers(self) -> int:
        """Number of parallel trials."""
        return self.workers or available_cores()

    def started(self) -> SearchBudget:
        """Return the budget with its clock running from now, unless it is running already."""
        return self if self.start_time is not None else replace(self, start_time=time.monotonic())

    @property
    def deadline(self) -> float:
        """`time.monotonic()` at the end of the time; infinite without a time limit or a start."""
        if self.seconds is None or self.start_time is None:
            return math.inf
        return self.start_time + self.seconds


def _is_valid_time(seconds: object) -> bool:
    """Return whether this is a number of at least `MIN_SECONDS`; NumPy's count, bools do not."""
    if not isinstance(seconds, Real) or isinstance(seconds, bool):
        return False
    return MIN_SECONDS <= float(seconds) < math.inf
