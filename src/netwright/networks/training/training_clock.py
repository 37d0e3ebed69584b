"""How much of a training is over, by steps or by time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainingClock:
    """The share of a training that is over: by steps, or by time where there is a deadline.

    Args:
        deadline: in seconds of `time.monotonic()`.
        before: the share that was over when the clock started.
        begun: when it started.
    """

    deadline: float = math.inf
    initial_progress: float = 0.0
    start_time: float = field(default_factory=time.monotonic)

    def progress(self, step_progress: float) -> float:
        """The larger of the share of the steps and of the time."""
        if math.isinf(self.deadline):  # no decision looks at a clock when trials are counted
            return step_progress
        length = max(self.deadline - self.start_time, 1e-9)
        share = (time.monotonic() - self.start_time) / length
        return max(step_progress, self.initial_progress + (1 - self.initial_progress) * share)
