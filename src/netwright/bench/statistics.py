"""Statistics of a comparison: bootstrap intervals, paired tests, censored times to a target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_POINTS_PER_BLOCK = 1024
"""Points of a curve that are resampled at once: memory is resamples times this."""
_ROUNDING_ERROR = 1e-12


def bootstrap_interval(
    values: Floats, rng: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the mean over seeds (Efron & Tibshirani, 1993).

    Whole runs are resampled, so that the points of a curve are drawn together.

    Args:
        values: (seeds, points).
        rng: the generator of the resamples.
        level: coverage of the interval.
        resamples: number of bootstrap samples.

    Returns:
        Lower and upper end, (points,) each.
    """
    seeds, points = values.shape
    draws = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)  # (resamples, seeds)
    ends = np.empty((2, points))
    for first in range(0, points, _POINTS_PER_BLOCK):
        block = slice(first, first + _POINTS_PER_BLOCK)
        means = draws @ values[:, block] / seeds  # (resamples, block)
        quantiles = [(1 - level) / 2, (1 + level) / 2]
        ends[:, block] = np.quantile(means, quantiles, axis=0)
    return ends[0], ends[1]


@dataclass(frozen=True)
class TimeToTarget:
    """Summary of how soon runs reach a target; unsuccessful runs are censored, not dropped.

    Args:
        share: the share of runs that reached it.
        expected: expected running time (ERT; Hansen et al., 2009): what all runs spent, divided by
            the number that reached the target; infinite if none did.
        median: of the Kaplan-Meier estimate; infinite if that does not reach one half.
        p90: its 90 % quantile, likewise.
    """

    share: float
    expected: float
    median: float
    p90: float


def time_to_target(spent: Floats, reached: NDArray[np.bool_]) -> TimeToTarget:
    """Summarise how soon runs reach a target.

    Args:
        spent: (runs,) until the target, or in all if it was not reached.
        reached: (runs,) whether the target was reached.
    """
    share = float(reached.mean())
    expected = float(spent.sum() / reached.sum()) if reached.any() else math.inf
    median, p90 = (kaplan_meier_quantile(spent, reached, share=quantile) for quantile in (0.5, 0.9))
    return TimeToTarget(share, expected, median, p90)


def kaplan_meier_quantile(spent: Floats, reached: NDArray[np.bool_], share: float) -> float:
    """Return the time by which a share of the runs has reached the target (Kaplan & Meier, 1958).

    Infinite if the product-limit estimate never does.
    """
    from scipy.stats import CensoredData, ecdf

    if not reached.any():
        return math.inf
    survival = ecdf(CensoredData(spent[reached], right=spent[~reached])).sf
    times = np.flatnonzero(survival.probabilities <= 1 - share + _ROUNDING_ERROR)
    return float(survival.quantiles[times[0]]) if len(times) else math.inf


def wilcoxon_p(below: Floats, above: Floats) -> float:
    """Return p of the one-sided Wilcoxon signed-rank test (1945) that `below` is less than `above`.

    Both (seeds,). Pairs that are equal are left out; p is 1 if all are.
    """
    from scipy.stats import wilcoxon

    differences = np.asarray(above - below)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    return float(wilcoxon(differences, alternative="greater").pvalue)


def holm_correction(p: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for multiple tests (Holm, 1979)."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}


def first_reaching(curve: Floats, grid: Floats, target: float) -> float:
    """Return the first grid point at which a curve (points,) reaches the target; infinity if none."""
    reaching = np.flatnonzero(curve <= target + _ROUNDING_ERROR)
    return float(grid[reaching[0]]) if len(reaching) else math.inf


def resample(
    spent: Sequence[float] | Floats, values: Sequence[float] | Floats, grid: Floats
) -> Floats:
    """Return the latest value at each grid point (points,), NaN before the first."""
    index = np.searchsorted(np.asarray(spent), grid + 1e-9, side="right") - 1
    return np.where(index >= 0, np.asarray(values, float)[np.maximum(index, 0)], np.nan)
