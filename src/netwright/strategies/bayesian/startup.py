"""Which candidates the first trials are drawn from: those that beliefs like, and all others in turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.strategies.bayesian.beliefs import Beliefs

Array = NDArray[np.float64]

_TOP_SHARE = 0.1
"""Share of the candidates that all sources of belief like best."""


def startup_candidates(
    problem: Problem, beliefs: Beliefs, candidates: Sequence[Candidate], index: int, n_startup: int
) -> list[Candidate]:
    """Return the candidates among which a trial before the first model is chosen.

    With one objective, trials 0, 2, 4... come from the tenth that the sources of belief like best
    together, the others from everywhere: where the belief is wrong, the model learns it at once. A
    user's guess is tried first of all. With several, the first is the cheapest and the last the
    costliest, the ends of the front, and the others come each from its own share of the costs.

    Args:
        problem: Of the search.
        beliefs: Sources of belief.
        candidates: Untried random candidates.
        index: Of the trial, from 0.
        n_startup: Number of trials before the first model.
    """
    if len(problem.objectives) > 1:
        costs = _costs(problem, beliefs, candidates)
        if costs is None:
            return list(candidates)
        return [candidates[int(i)] for i in _in_turn(costs, index % n_startup, n_startup)]
    if not beliefs or index % 2:
        return list(candidates)
    if index == 0 and (user := beliefs.user) is not None:
        scores = user.score(candidates)
        return [candidates[int(i)] for i in np.flatnonzero(scores == scores.max())]
    liking = beliefs.agreement(candidates)
    n_top = max(1, int(_TOP_SHARE * len(candidates)))
    return [candidates[i] for i in np.argsort(-liking, kind="stable")[:n_top]]


def _costs(problem: Problem, beliefs: Beliefs, candidates: Sequence[Candidate]) -> Array | None:
    """Return the known objective (n,), or else the size; None if neither is known of all."""
    rows = [problem.knowledge.metrics(candidate) for candidate in candidates]
    for objective in problem.objectives:
        if all(objective.metric in metrics for metrics in rows):
            return np.array([objective.loss(metrics) for metrics in rows])
    if beliefs.size is None:
        return None
    sizes = beliefs.size.score(candidates)
    return sizes if np.isfinite(sizes).all() else None


def _in_turn(costs: Array, turn: int, n_turns: int) -> NDArray[np.intp]:
    """Return the candidates of a turn: the cheapest, one of an equal share by rank, the costliest.

    The one is drawn at random, as the candidates are in random order: the farthest from all tried
    ones would be an odd candidate more often than a good one.
    """
    if n_turns > 1 and turn in (0, n_turns - 1):
        return np.flatnonzero(costs == (costs.min() if turn == 0 else costs.max()))
    ranks = np.argsort(np.argsort(costs, kind="stable"), kind="stable")
    shares = ranks * n_turns // len(costs)
    nearest = np.abs(shares - turn)  # fewer candidates than turns leave some out
    return np.flatnonzero(nearest == nearest.min())[:1]
