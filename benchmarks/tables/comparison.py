"""What results of systems on tables may claim: ranks, scaled scores, win rates, critical difference.

Losses are arrays (tables, systems), the smaller the better. Protocol and scaling follow the AutoML
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
_DIGITS = 9
"""Losses that agree in so many digits are tied: what differs there is the order of a sum."""


def rounded(losses: Floats) -> Floats:
    """To nine significant digits."""
    losses = np.asarray(losses, np.float64)
    scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.maximum(np.abs(losses), 1e-300))))
    return np.where(losses == 0, 0.0, np.round(losses * scale) / scale)


def ranks(losses: Floats) -> Floats:
    """(tables, systems), 1 the best of a table; ties share the mean of their ranks."""
    return np.asarray(rankdata(rounded(losses), axis=1), np.float64)


def scaled(losses: Floats, zero: Floats) -> Floats:
    """(tables, systems) 0 at the loss `zero` (tables,) and above it, 1 at the best of the table."""
    best = losses.min(1, keepdims=True)
    distance = zero[:, None] - best
    share = np.divide(zero[:, None] - losses, distance, np.zeros_like(losses), where=distance > 0)
    return np.where(losses == best, 1.0, np.clip(share, 0.0, 1.0))


@dataclass(frozen=True)
class Rate:
    """A share of tables won, ties halved, with both ends of its interval."""

    wins: int
    ties: int
    losses: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return (self.wins + self.ties / 2) / (self.wins + self.ties + self.losses)


def win_rate(ours: Floats, theirs: Floats, level: float = 0.95) -> Rate:
    """How often `ours` (tables,) is below `theirs`."""
    difference = np.sign(rounded(ours) - rounded(theirs))
    wins, ties, lost = (int((difference == sign).sum()) for sign in (-1, 0, 1))
    return Rate(wins, ties, lost, *wilson(wins + ties / 2, len(ours), level))


def wilson(wins: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Both ends of the score interval of a share (Wilson 1927)."""
    z = float(norm.ppf((1 + level) / 2))
    share = wins / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def friedman(losses: Floats) -> float:
    """p that all systems are alike, by their ranks (Friedman 1937); three systems or more."""
    return float(friedmanchisquare(*rounded(losses).T).pvalue)


def critical_difference(systems: int, tables: int, alpha: float = 0.05) -> float:
    """Mean ranks that are further apart differ (Nemenyi 1963): q sqrt(k (k + 1) / 6 N)."""
    q = float(studentized_range.ppf(1 - alpha, systems, np.inf)) / math.sqrt(2)
    return q * math.sqrt(systems * (systems + 1) / (6 * tables))


def cliques(sorted_ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The longest runs (first, last) of systems that are no further apart; single ones left out."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(sorted_ranks):
        last = max(i for i, other in enumerate(sorted_ranks) if other - rank <= difference)
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found
