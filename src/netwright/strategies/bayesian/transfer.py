"""Belief from the trials of another search: what they say of candidates, by a Gaussian process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Candidate
from netwright.strategies.bayesian.beliefs import Score
from netwright.strategies.bayesian.gaussian_process import GaussianProcess, fit_kernel
from netwright.strategies.bayesian.surrogates import KernelFeatures, select_rows
from netwright.strategies.bayesian.targets import rank_targets
from netwright.strategies.bayesian.trends import Trend, TrendProcess
from netwright.trials.objective import Objective
from netwright.trials.trial import Trial

Array = NDArray[np.float64]

_MIN_TRIALS = 5
"""Fewer trials say nothing of other candidates."""
_MAX_TRIALS = 300
"""Trials that the model is fitted to at most: the better half, and a sample of the others."""


def transferred_score(
    features: KernelFeatures, trials: Sequence[Trial], objective: Objective
) -> Score | None:
    """Return a score of candidates by the trials of another search; None if these are too few.

    Only the order of the trials counts, among those of the same fidelity: another data set has
    another scale.

    Args:
        features: Of the space.
        trials: Finished trials of the same space.
        objective: That scores them.
    """
    trials = _thinned([t for t in trials if np.isfinite(objective.loss(t.metrics))], objective)
    if len(trials) < _MIN_TRIALS:
        return None
    tried, n = [trial.candidate for trial in trials], len(trials)
    y = _targets(trials, objective)
    views = features.views(tried)
    kernel = fit_kernel(views, y, features.terms(views))
    trend = Trend(np.ones((n, 1)), np.zeros(1), np.ones(1))
    fitted = TrendProcess(GaussianProcess.at(kernel, views), trend, y)
    scores: dict[Candidate, float] = {}

    def score(candidates: Sequence[Candidate]) -> Array:
        new = [c for c in dict.fromkeys(candidates) if c not in scores]
        if new:
            # the columns of views are those of the candidates given: all together here
            joint = features.views([*tried, *new])
            process = GaussianProcess(
                kernel, select_rows(joint, slice(0, n)), fitted.process.factor
            )
            cross = process.cross(select_rows(joint, slice(n, None)))
            means, _ = fitted.predict(cross, np.ones((len(new), 1)))
            scores.update(zip(new, means.tolist(), strict=True))
        return np.array([scores[candidate] for candidate in candidates])

    return score


def _targets(trials: Sequence[Trial], objective: Objective) -> Array:
    """Return targets (n,) by the ranks of the trials among those of the same fidelity."""
    losses = np.array([objective.loss(trial.metrics) for trial in trials])
    fidelities = np.array([trial.proposal.fidelity for trial in trials])
    targets = np.zeros(len(trials))
    for fidelity in np.unique(fidelities):
        same = fidelities == fidelity
        targets[same] = rank_targets(losses[same])
    return targets


def _thinned(trials: list[Trial], objective: Objective) -> list[Trial]:
    if len(trials) <= _MAX_TRIALS:
        return trials
    best_first = sorted(trials, key=lambda trial: objective.loss(trial.metrics))
    n_best = _MAX_TRIALS // 2
    places = np.linspace(n_best, len(trials) - 1, _MAX_TRIALS - n_best).astype(int)
    return best_first[:n_best] + [best_first[i] for i in places]
