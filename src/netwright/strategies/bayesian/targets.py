"""Targets of a surrogate: losses as ranks or log distances, about standard normal, high for good."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MIN_DISTANCE, _MAX_DISTANCE = 0.3, 20.0
"""Distances to the best loss, in median distances: differences well below the first hardly count,
distances above the second are equal."""


def rank_targets(losses: Array) -> Array:
    """Return targets (n,): the normal quantile of each rank, high for low losses, ties equal."""
    from scipy.special import ndtri

    return np.asarray(-ndtri((mean_ranks(losses) - 0.5) / len(losses)))


def log_distance_targets(losses: Array) -> Array:
    """Return targets (n,), standardised: minus the log distance to the best loss.

    Unlike ranks, they keep the size of differences, with a finer resolution near the best.
    """
    distances = losses - losses.min()
    positive = distances[(distances > 0) & np.isfinite(distances)]
    if not len(positive):  # all equal, or all others infinite
        return rank_targets(losses)
    median = float(np.median(positive))
    targets = -np.log(_MIN_DISTANCE * median + np.minimum(distances, _MAX_DISTANCE * median))
    return np.asarray((targets - targets.mean()) / targets.std())


def mean_ranks(values: Array) -> Array:
    """Return ranks (n,) from 1, tied values at their mean rank.

    Equals `scipy.stats.rankdata`, without the slow import of `scipy.stats`.
    """
    _, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts)  # (distinct values,)
    return np.asarray((last_ranks - (counts - 1) / 2)[indices])


def rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation; 0 if an array is constant."""
    x, y = mean_ranks(a), mean_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float(x @ y) / norm if norm > 0 else 0.0
