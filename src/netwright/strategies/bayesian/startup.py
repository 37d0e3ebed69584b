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
    user's guess is tried first of all. With
    several, each comes from its own part of the range of costs, cheapest first, so that both ends of
    the front are tried.

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
        bins = _bins(costs, n_startup)
        nearest = min({*bins.tolist()}, key=lambda each: abs(each - index % n_startup))
        return [candidates[int(i)] for i in np.flatnonzero(bins == nearest)]
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


def _bins(costs: Array, n_bins: int) -> NDArray[np.int64]:
    """Return the number (n,) of each cost's bin, from 0; equally wide, of logarithms if there are any.

    Random candidates of most spaces are large; in bins of equal numbers few of them would be cheap.
    """
    places = np.log(costs) if costs.min() > 0 else costs
    width = np.ptp(places) / n_bins or 1.0
    numbers = (places - places.min()) // width
    return np.asarray(np.minimum(numbers, n_bins - 1), np.int64)
