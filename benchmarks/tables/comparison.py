"""Statistics of systems on many tables: ranks, scaled scores, win rates, critical difference.

Losses are arrays (tables, systems), lower is better. Protocol and scaling follow the AutoML
benchmark (Gijsbers et al. 2024), the tests Demšar (2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, norm, rankdata, studentized_range

Floats = NDArray[np.float64]
_SIGNIFICANT_DIGITS = 9
"""Losses that agree in this many digits are tied: other differences come from the order of sums."""


def rounded(losses: Floats) -> Floats:
    """Round losses to nine significant digits."""
    losses = np.asarray(losses, np.float64)
    scale = 10.0 ** (
        _SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.maximum(np.abs(losses), 1e-300)))
    )
    return np.where(losses == 0, 0.0, np.round(losses * scale) / scale)


def ranks(losses: Floats) -> Floats:
    """Return ranks (tables, systems), 1 for the best on a table; ties get their mean rank."""
    return np.asarray(rankdata(rounded(losses), axis=1), np.float64)


def scaled(losses: Floats, zero: Floats) -> Floats:
    """Scale losses to 1 for the best on a table and 0 for losses of `zero` (tables,) or more."""
    best = losses.min(1, keepdims=True)
    distance = zero[:, None] - best
    share = np.divide(zero[:, None] - losses, distance, np.zeros_like(losses), where=distance > 0)
    return np.where(losses == best, 1.0, np.clip(share, 0.0, 1.0))


@dataclass(frozen=True)
class Rate:
    """A win rate over tables, ties counted half, with its confidence interval."""

    wins: int
    ties: int
    losses: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return (self.wins + self.ties / 2) / (self.wins + self.ties + self.losses)


def win_rate(ours: Floats, theirs: Floats, level: float = 0.95) -> Rate:
    """Return how often losses `ours` (tables,) are below `theirs`."""
    difference = np.sign(rounded(ours) - rounded(theirs))
    wins, ties, losses = (int((difference == sign).sum()) for sign in (-1, 0, 1))
    return Rate(wins, ties, losses, *wilson(wins + ties / 2, len(ours), level))


def wilson(wins: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927)."""
    z = float(norm.ppf((1 + level) / 2))
    share = wins / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def friedman(losses: Floats) -> float:
    """Return the p-value that all systems are equal (Friedman 1937); three systems or more."""
    return float(friedmanchisquare(*rounded(losses).T).pvalue)


def critical_difference(systems: int, tables: int, alpha: float = 0.05) -> float:
    """Return the critical difference of mean ranks (Nemenyi 1963): q sqrt(k (k + 1) / 6 N)."""
    q = float(studentized_range.ppf(1 - alpha, systems, np.inf)) / math.sqrt(2)
    return q * math.sqrt(systems * (systems + 1) / (6 * tables))


def cliques(sorted_ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the maximal runs (first, last) of at least two systems within the difference."""
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(sorted_ranks):
        last = max(i for i, other in enumerate(sorted_ranks) if other - rank <= difference)
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs
