"""Schedules of the learning rate and of the strength of regularisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

_MIN_FACTOR = 1e-3
"""A step at factor 0 would cost its time and change nothing."""


class Schedule(Protocol):
    """A factor that changes during training."""

    def factor(self, progress: float) -> float:
        """Return the factor.

        Args:
            progress: The share of the training that is over, in [0, 1].
        """
        ...


@dataclass(frozen=True)
class Constant(Schedule):
    """The factor 1 from start to end."""

    def factor(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """Cosine annealing to 0 after a linear warm-up (1608.03983).

    Args:
        warmup: Share of the training, in [0, 1).
    """

    warmup: float = 0.05

    def factor(self, progress: float) -> float:
        if progress < self.warmup:
            return max(progress / self.warmup, 0.01)
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """Linear to 0 after a linear warm-up, the usual schedule of fast trainings (2404.00498).

    Args:
        warmup: Share of the training, in [0, 1).
    """

    warmup: float = 0.2

    def factor(self, progress: float) -> float:
        if progress < self.warmup:
            return max(progress / self.warmup, _MIN_FACTOR)
        return max((1 - progress) / (1 - self.warmup), _MIN_FACTOR)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """The 1cycle policy: from 1/25 up to 1, then down to 1e-4, both as cosines (1708.07120).

    Args:
        peak: The share of the training at which the factor is 1, in (0, 1).
    """

    peak: float = 0.3

    def factor(self, progress: float) -> float:
        if progress < self.peak:
            rise = 0.5 * (1 - math.cos(math.pi * progress / self.peak))
            return 0.04 + 0.96 * rise
        fall = 0.5 * (1 + math.cos(math.pi * (progress - self.peak) / (1 - self.peak)))
        return 1e-4 + (1 - 1e-4) * fall


@dataclass(frozen=True)
class CosLog4(Schedule):
    """RealMLP's four cosine waves, each twice as long as the one before.

    (1 - cos(2 pi log2(1 + 15 t))) / 2 (Holzmueller et al. 2024, 2407.04491, appendix A).
    """

    def factor(self, progress: float) -> float:
        return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress)))


@dataclass(frozen=True)
class FlatCosine(Schedule):
    """The factor 1, then half a cosine down to 0: for dropout and weight decay.

    Args:
        flat: The share of the training at which the factor starts to fall.
    """

    flat: float = 0.5

    def factor(self, progress: float) -> float:
        if progress < self.flat or self.flat >= 1:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (progress - self.flat) / (1 - self.flat)))
