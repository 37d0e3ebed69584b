"""Schedules of RealMLP (Holzmueller et al. 2024, 2407.04491, appendix A)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.networks.training import Schedule


@dataclass(frozen=True)
class CosLog4(Schedule):
    """Four cosine waves, each twice as long as the one before: (1 - cos(2 pi log2(1 + 15 t))) / 2."""

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
