"""Pareto fronts, non-dominated ranks and hypervolume; every loss is minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import CONSTANT, Metrics, Status, Trial


def losses(metrics: Sequence[Metrics], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return (n, m) losses of n trials' metrics under m objectives; a missing metric is infinite."""
    rows = [[objective.loss(row) for objective in objectives] for row in metrics]
    return np.array(rows, dtype=np.float64).reshape(len(metrics), len(objectives))


def dominates(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (n, n): whether row i dominates row j, that is, is nowhere worse and somewhere better."""
    a, b = losses[:, None, :], losses[None, :, :]  # (n, 1, m), (1, n, m)
    return np.asarray((a <= b).all(2) & (a < b).any(2))


def ranks(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (n,) non-dominated ranks, 0 for the front (Deb et al. 2002, fast non-dominated sort)."""
    beats = dominates(losses)
    rank_of = np.full(len(losses), -1, dtype=np.int64)
    rank = 0
    while (unranked := rank_of < 0).any():
        front = unranked & ~(beats & unranked[:, None]).any(0)
        rank_of[front] = rank
        rank += 1
    return rank_of


def pareto_front(
    trials: Sequence[Trial], objectives: Sequence[Objective], limits: Sequence[Limit] = ()
) -> list[Trial]:
    """Return the Pareto front of the trials done at full fidelity within the limits.

    Args:
        trials: in the order of their ends. Of trials with equal losses the earliest stays. The
            constant prediction, which costs nothing, is on the front only if it is the only trial.
        objectives: the metrics to trade off.
        limits: bounds that trials on the front keep.

    Returns:
        The trials that no other dominates, best first objective first.
    """
    feasible = [
        trial
        for trial in trials
        if trial.status is Status.DONE
        and trial.proposal.fidelity == 1
        and all(limit.keeps(trial.metrics) for limit in limits)
        and all(np.isfinite(objective.loss(trial.metrics)) for objective in objectives)
    ]
    feasible = [t for t in feasible if t.proposal.origin != CONSTANT] or feasible
    return [
        feasible[i] for i in nondominated(losses([trial.metrics for trial in feasible], objectives))
    ]


def nondominated(losses: NDArray[np.float64]) -> list[int]:
    """Return the indices of the rows of `losses` (n, m) that none dominates; of equals the first.

    They are sorted by the first column, then the second, and so on: no row dominates an earlier one,
    so that one pass suffices.
    """
    front: list[int] = []
    points = np.empty((0, losses.shape[1]))
    for i in sorted(range(len(losses)), key=lambda i: (*losses[i], i)):
        if not (points <= losses[i]).all(1).any():  # of equal rows the first stays
            front.append(i)
            points = np.vstack([points, losses[i]])
    return front


def hypervolume(losses: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the exact hypervolume, by slicing along the last objective (HSO; While et al., 2006).

    Suited to fronts of up to a few hundred points and four objectives.

    Args:
        losses: (n, m) of the points; those not better than the reference are ignored.
        reference: (m,) the worst corner.

    Example:
        >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
        3.0
    """
    inside = losses[(losses < reference).all(1)]
    if not len(inside):
        return 0.0
    if losses.shape[1] == 1:
        return float(reference[0] - inside.min())
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    levels = np.append(inside[:, -1], reference[-1])
    volume = 0.0
    for i, height in enumerate(np.diff(levels)):
        if height > 0:
            volume += float(height) * hypervolume(inside[: i + 1, :-1], reference[:-1])
    return volume
