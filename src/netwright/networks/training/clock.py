"""How much of a training is over, by steps or by time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Clock:
    """The share of a training that is over: by steps, or by time where there is a deadline.

    Args:
        deadline: in seconds of `time.monotonic()`.
        before: the share that was over when the clock started.
        begun: when it started.
    """

    deadline: float = math.inf
    before: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    def progress(self, by_steps: float) -> float:
        """The larger of the share of the steps and of the time."""
        if math.isinf(self.deadline):  # no decision looks at a clock when trials are counted
            return by_steps
        length = max(self.deadline - self.begun, 1e-9)
        share = (time.monotonic() - self.begun) / length
        return max(by_steps, self.before + (1 - self.before) * share)
