"""Selection operators of evolutionary search: tournaments, constrained ranks, crowding.

Trials within the limits come before those outside, which are ordered by their violation (constrained
domination; Deb et al. 2002, NSGA-II, section VI). All losses are minimised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import losses, ranks
from netwright.trials.trial import Metrics, Trial


def violation(trial: Trial, limits: Sequence[Limit]) -> float:
    """Return a trial's total constraint violation, relative to the bounds; 0 within all limits."""
    return constraint_violation(trial.metrics, limits)


def constraint_violation(metrics: Metrics, limits: Sequence[Limit]) -> float:
    """Return the total constraint violation of metrics; infinite if a limited one is missing."""
    total = 0.0
    for limit in limits:
        bound = limit.at_most if limit.at_most < math.inf else limit.at_least
        total += limit.excess(metrics) / (abs(bound) or 1.0)
    return total


def winner(
    sample: Sequence[Trial], objectives: Sequence[Objective], limits: Sequence[Limit] = ()
) -> Trial:
    """Return the winner of a tournament: lowest violation, then rank, then first in the sample."""
    return sample[int(np.argmin(constrained_ranks(sample, objectives, limits)))]


def better(
    trial: Trial, other: Trial, objectives: Sequence[Objective], limits: Sequence[Limit] = ()
) -> bool:
    """Return whether `trial` dominates `other`; equal and incomparable trials are not better."""
    return winner([other, trial], objectives, limits) is trial


def constrained_ranks(
    trials: Sequence[Trial], objectives: Sequence[Objective], limits: Sequence[Limit] = ()
) -> NDArray[np.int64]:
    """Return (n,) ranks from 0: the fronts of trials within the limits, then the others by violation."""
    excess = np.array([violation(trial, limits) for trial in trials])
    rank_of = np.zeros(len(trials), np.int64)
    within = np.flatnonzero(excess == 0)
    values = losses([trials[int(i)].metrics for i in within], objectives)  # (within, objectives)
    if len(objectives) == 1:  # the same, without comparing each with each
        rank_of[within] = np.unique(values[:, 0], return_inverse=True)[1]
    else:
        rank_of[within] = ranks(values)
    behind = rank_of[within].max(initial=-1) + 1
    levels = np.unique(excess[excess > 0], return_inverse=True)[1]
    rank_of[excess > 0] = behind + levels
    return rank_of


def crowding(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the crowding distances (n,) of losses (n, m): the size of the gap around each.

    Deb et al. 2002, section III-B: the two ends of each objective are infinitely far.
    """
    n, m = values.shape
    distance = np.zeros(n)
    for k in range(m):
        order = np.argsort(values[:, k], kind="stable")
        column = values[order, k]
        distance[order[[0, -1]]] = np.inf
        width = column[-1] - column[0]
        if width > 0 and np.isfinite(width):
            distance[order[1:-1]] += (column[2:] - column[:-2]) / width
    return distance


def crowded_order(
    trials: Sequence[Trial], objectives: Sequence[Objective], limits: Sequence[Limit] = ()
) -> list[int]:
    """Return the indices of the trials, best first: by rank, then least crowded first.

    The crowded-comparison operator of Deb et al. 2002, section III-B.
    """
    rank = constrained_ranks(trials, objectives, limits)
    values = losses([trial.metrics for trial in trials], objectives)
    order = np.argsort(rank, kind="stable")
    end = 0
    for size in np.bincount(rank):
        start, end = end, end + int(size)
        if size > 2:  # of two, both are infinitely far
            front = order[start:end]
            order[start:end] = front[np.argsort(-crowding(values[front]), kind="stable")]
    return [int(i) for i in order]
