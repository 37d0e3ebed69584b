"""Number of threads of a training on the CPU, chosen again while it runs.

Threads that share a step wait for each other. On free cores they are faster than one thread; while
another program computes on these cores, each step waits for a thread that does not run, and one
thread alone is several times as fast.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_N_RECENT = 10
"""Steps of which the median is the present speed."""
_N_TRIED = 4
"""Steps with the other number of threads, besides a first one, which starts them."""
_MIN_GAIN = 0.05
"""Relative gain in speed for which the number of threads is changed."""
_MIN_SECONDS, _MAX_SECONDS = 3.0, 24.0
"""Seconds of steps until the other number is tried: doubled each time that it is slower."""
_DISTURBED = 2.0
"""Steps this many times as slow as the number's fastest were disturbed by another program: the other
number is tried as soon as `_MIN_SECONDS` have passed. A try this many times as slow ends at once."""


class AdaptiveThreads:
    """Chooses between all threads and one, by the time of steps.

    Args:
        n_available: number of threads, two or more.
        n_threads: of the first step, `n_available` or 1.

    Attributes:
        n_threads: number of threads for the next step.
    """

    def __init__(self, n_available: int, n_threads: int) -> None:
        self.n_threads = n_threads
        self._other = 1 if n_threads > 1 else n_available
        self._recent: deque[float] = deque(maxlen=_N_RECENT)
        self._fastest: dict[int, float] = {}
        """Number of threads -> the fastest median of its recent steps."""
        self._tried: list[float] | None = None
        """Seconds of the steps with the number that is tried; None between such tries."""
        self._interval, self._seconds = _MIN_SECONDS, 0.0
        """Seconds between two tries, and since the last one."""

    def add(self, seconds: float) -> None:
        """Take note of the seconds of a step with `n_threads` threads."""
        if self._tried is not None:
            self._tried.append(seconds)
            self._end_try_if_decided(self._tried[1:])
            return
        self._recent.append(seconds)
        self._seconds += seconds
        if len(self._recent) == _N_RECENT and self._is_try_due(median(self._recent)):
            self._tried = []
            self._swap()

    def _is_try_due(self, present: float) -> bool:
        fastest = min(self._fastest.get(self.n_threads, present), present)
        self._fastest[self.n_threads] = fastest
        is_disturbed = present > _DISTURBED * fastest
        return self._seconds >= (_MIN_SECONDS if is_disturbed else self._interval)

    def _end_try_if_decided(self, tried: list[float]) -> None:
        """Return to the former number, or stay with the other one, once the steps tell which."""
        present = median(self._recent)
        if tried and tried[0] > _DISTURBED * present:
            self._end_try(is_faster=False)
        elif len(tried) == _N_TRIED:
            self._end_try(is_faster=median(tried) < (1 - _MIN_GAIN) * present)

    def _end_try(self, *, is_faster: bool) -> None:
        if is_faster:
            self._interval = _MIN_SECONDS
        else:
            self._swap()
            self._interval = min(2 * self._interval, _MAX_SECONDS)
        self._recent.clear()
        self._tried, self._seconds = None, 0.0

    def _swap(self) -> None:
        self.n_threads, self._other = self._other, self.n_threads
