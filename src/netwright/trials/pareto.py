"""Pareto fronts, non-dominated ranks and hypervolume; every loss is minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import CONSTANT, Metrics, Status, Trial


def losses(metrics: Sequence[Metrics], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """(n, m) losses of n results under m objectives; a missing metric is infinite."""
    rows = [[objective.loss(row) for objective in objectives] for row in metrics]
    return np.array(rows, dtype=np.float64).reshape(len(metrics), len(objectives))


def dominates(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, n): whether row i dominates row j, that is, nowhere worse and somewhere better."""
    a, b = losses[:, None, :], losses[None, :, :]  # (n, 1, m), (1, n, m)
    return np.asarray((a <= b).all(2) & (a < b).any(2))


def ranks(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) non-dominated ranks, 0 for the front (Deb et al. 2002, fast non-dominated sort)."""
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
    """The finished, full-fidelity trials within the limits that no other such trial dominates.

    Best first objective first. Of trials with equal losses the earliest stays. The constant
    prediction, which costs nothing, is on it only where there is nothing else.
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
    """The rows of `losses` (n, m) that none dominates; of equal ones the earliest.

    Best first column first, then the second... One pass: nothing is dominated by what comes later.
    """
    front: list[int] = []
    points = np.empty((0, losses.shape[1]))
    for i in sorted(range(len(losses)), key=lambda i: (*losses[i], i)):
        if not (points <= losses[i]).all(1).any():  # equal ones count: the earliest stays
            front.append(i)
            points = np.vstack([points, losses[i]])
    return front


def hypervolume(losses: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The volume dominated by `losses` (n, m) and bounded by `reference` (m,).

    Exact, by slicing along the last objective (While et al. 2006, HSO): fit for fronts of up to
    a few hundred points and four objectives.
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
