"""Schedules of the learning rate, and of what else changes while a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """The learning rate's factor at `progress`, the share in [0, 1] of the training that is over."""

    def factor(self, progress: float) -> float: ...


@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate as given, from start to end."""

    def factor(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """Rises linearly over the share `warmup`, then falls to 0 along half a cosine (1608.03983)."""

    warmup: float = 0.05

    def factor(self, progress: float) -> float:
        if progress < self.warmup:
            return max(progress / self.warmup, 0.01)
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From 1/25 up to the full rate at `peak`, then down to about 0, both as cosines (1708.07120)."""

    peak: float = 0.3

    def factor(self, progress: float) -> float:
        if progress < self.peak:
            rise = 0.5 * (1 - math.cos(math.pi * progress / self.peak))
            return 0.04 + 0.96 * rise
        fall = 0.5 * (1 + math.cos(math.pi * (progress - self.peak) / (1 - self.peak)))
        return 1e-4 + (1 - 1e-4) * fall


@dataclass(frozen=True)
class CosLog4(Schedule):
    """Four cosine waves, each twice as long as the one before: (1 - cos(2 pi log2(1 + 15 t))) / 2.

    That of RealMLP (Holzmueller et al. 2024, 2407.04491, appendix A).
    """

    def factor(self, progress: float) -> float:
        return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress)))


@dataclass(frozen=True)
class FlatCosine(Schedule):
    """1 over the share `flat`, then half a cosine down to 0: for dropout and weight decay."""

    flat: float = 0.5

    def factor(self, progress: float) -> float:
        if progress < self.flat or self.flat >= 1:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (progress - self.flat) / (1 - self.flat)))
