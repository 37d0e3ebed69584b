"""What a comparison may claim: intervals, paired tests, and times to a goal that not all reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCK = 1024
"""Points of a curve that are resampled at once."""


def bootstrap_interval(
    values: Floats, rng: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> tuple[Floats, Floats]:
    """Both ends of the percentile bootstrap interval of the mean over seeds (Efron & Tibshirani 1993).

    `values` (seeds, points) -> (points,), (points,). Whole runs are drawn, so that a curve's
    points are drawn together.
    """
    seeds, points = values.shape
    draws = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)  # (resamples, seeds)
    ends = np.empty((2, points))
    for first in range(0, points, _BLOCK):  # all means at once are resamples times the memory
        means = draws @ values[:, first : first + _BLOCK] / seeds  # (resamples, block)
        quantiles = [(1 - level) / 2, (1 + level) / 2]
        ends[:, first : first + _BLOCK] = np.quantile(means, quantiles, axis=0)
    return ends[0], ends[1]


@dataclass(frozen=True)
class TimeToTarget:
    """How soon runs reach a goal, those that never did counted as what they are: censored.

    `share` of the runs; `expected` running time (ERT): what all runs spent, by the runs that
    reached it (Hansen et al. 2009), which is the mean where all did; infinite where none did.
    `median` and `p90`: of the Kaplan-Meier curve, infinite where it does not fall that far.
    """

    share: float
    expected: float
    median: float
    p90: float


def time_to_target(spent: Floats, reached: NDArray[np.bool_]) -> TimeToTarget:
    """`spent` (runs,): until the goal, or in all where it was not `reached` (runs,)."""
    share = float(reached.mean())
    expected = float(spent.sum() / reached.sum()) if reached.any() else math.inf
    median, p90 = (kaplan_meier_quantile(spent, reached, share=goal) for goal in (0.5, 0.9))
    return TimeToTarget(share, expected, median, p90)


def kaplan_meier_quantile(spent: Floats, reached: NDArray[np.bool_], share: float) -> float:
    """When that share of runs has reached the goal, by the product-limit estimate (1958).

    Infinite where the estimate never comes to it.
    """
    from scipy.stats import CensoredData, ecdf

    if not reached.any():
        return math.inf
    left = ecdf(CensoredData(spent[reached], right=spent[~reached])).sf  # the share that has not
    there = np.flatnonzero(left.probabilities <= 1 - share + 1e-12)
    return float(left.quantiles[there[0]]) if len(there) else math.inf


def wilcoxon_p(below: Floats, above: Floats) -> float:
    """p of the one-sided Wilcoxon signed-rank test (1945) that `below` (seeds,) lies below `above`.

    Seeds where both are equal say nothing and are left out; 1 where all are.
    """
    from scipy.stats import wilcoxon

    differences = np.asarray(above - below)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    return float(wilcoxon(differences, alternative="greater").pvalue)


def holm_correction(p: Mapping[str, float]) -> dict[str, float]:
    """p-values as they are after asking several questions at once (Holm 1979)."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}


def first_reaching(curve: Floats, grid: Floats, goal: float) -> float:
    """Where on the grid a curve (points,) first falls to the goal; infinite where it does not."""
    there = np.flatnonzero(curve <= goal + 1e-12)
    return float(grid[there[0]]) if len(there) else math.inf


def resample(
    spent: Sequence[float] | Floats, values: Sequence[float] | Floats, grid: Floats
) -> Floats:
    """(points,) the latest value at each point of the grid; NaN before the first."""
    place = np.searchsorted(np.asarray(spent), grid + 1e-9, side="right") - 1
    return np.where(place >= 0, np.asarray(values, float)[np.maximum(place, 0)], np.nan)
