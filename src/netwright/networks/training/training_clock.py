"""The share of a training that is over, by steps or by time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

_MIN_SECONDS = 1e-9
"""Avoids a division by 0 when the deadline has passed at the start."""


@dataclass(frozen=True)
class TrainingClock:
    """The share of a training that is over: by steps, or by time if there is a deadline.

    Args:
        deadline: In seconds of `time.monotonic()`; infinite for none.
        initial_progress: The share that was over when the clock started.
        start_time: In seconds of `time.monotonic()`.
    """

    deadline: float = math.inf
    initial_progress: float = 0.0
    start_time: float = field(default_factory=time.monotonic)

    def progress(self, step_progress: float) -> float:
        """Return the larger of the shares of steps and of time that are over; may exceed 1."""
        if math.isinf(self.deadline):  # without a deadline nothing may depend on the clock
            return step_progress
        duration = max(self.deadline - self.start_time, _MIN_SECONDS)
        time_share = (time.monotonic() - self.start_time) / duration
        time_progress = self.initial_progress + (1 - self.initial_progress) * time_share
        return max(step_progress, time_progress)
