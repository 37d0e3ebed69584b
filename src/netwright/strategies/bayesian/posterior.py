"""Acquisition values of candidates from finished trials: objectives, limits and feasibility."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.strategy import RNG, Problem
from netwright.space.candidate import Candidate
from netwright.strategies.bayesian.acquisition import (
    InverseWarp,
    augmented_chebyshev,
    expected_hypervolume_improvement,
    expected_improvement,
    normal_cdf,
)
from netwright.strategies.bayesian.gaussian_process import GaussianProcess, View
from netwright.strategies.bayesian.prior import (
    ComputeCovariance,
    Prior,
    constant_trend,
    generalised_least_squares,
    least_squares,
    log_distance_targets,
    rank_targets,
    shrunken_slope,
)
from netwright.strategies.bayesian.surrogates import (
    KernelFeatures,
    Surrogate,
    n_trials_at_refit,
    select_rows,
)
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Trial

Array = NDArray[np.float64]

_MIN_TRIALS_TO_JUDGE_SKILL, _MIN_SKILL = 30, 0.2
"""Trials needed to judge a model, and the rank correlation below which it has no skill."""
_N_POSTERIOR_DRAWS = 64
_MAX_MARGIN_STDS = 3.0
"""Margins of limits are clipped at this many standard deviations."""
_REFERENCE_COST = 1.1
"""The reference point's cost, in shares of the range tried: the front may extend a little beyond."""
_REFERENCE_QUANTILE = 0.02
"""Quantile of the values that is the reference point's value: one failed network does not set it."""
_FEASIBILITY = "feasible"
"""Name of the surrogate that predicts whether a candidate is feasible."""

Warp = Callable[[Array], Array]
"""Losses (n,) -> targets (n,) for the process."""
FitTrend = Callable[[Array, Array, ComputeCovariance], tuple[float, float]]
"""(prior scores (n,), targets (n,), covariance) -> slope and constant of the prior mean."""


@dataclass(frozen=True)
class SurrogateInputs:
    """Inputs of a posterior.

    Args:
        n_prunes: How often old trials were dropped; identifies the trials' beginning.
        trials: Finished trials.
        infeasible: Candidates that were infeasible.
        pending: Candidates that are running or were chosen in this batch.
        prior: Scores known before training.
    """

    n_prunes: int
    trials: tuple[Trial, ...]
    infeasible: tuple[Candidate, ...]
    pending: tuple[Candidate, ...]
    prior: Prior


class SurrogateCache:
    """Fitted kernels of a problem, cached by the trials that they were fitted to."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.features = KernelFeatures(problem.space, problem.knowledge)
        self._surrogates: dict[tuple[str, int, int, tuple[Candidate, ...]], Surrogate] = {}

    def posterior(self, inputs: SurrogateInputs) -> Posterior:
        return Posterior(self, inputs)

    def is_within_known_limits(self, candidate: Candidate) -> bool:
        """Return whether limits on metrics known before evaluation are satisfied."""
        if not self.problem.limits:
            return True
        metrics = self.problem.knowledge.metrics(candidate)
        return all(limit.keeps(metrics) for limit in self.problem.limits if limit.metric in metrics)

    def fit(
        self,
        name: str,
        inputs: SurrogateInputs,
        candidates: Sequence[Candidate],
        y: Array,
        prior_scores: Array,
        slope: float,
    ) -> Surrogate:
        """Return the surrogate of a metric, fitted to the targets y (n,) of the first trials."""
        # the list of infeasible candidates has a maximal length: compare its last one, too
        last_infeasible = inputs.infeasible[-1:] if name == _FEASIBILITY else ()
        key = (name, inputs.n_prunes, len(y), last_infeasible)
        if key not in self._surrogates:
            views = self.features.views(candidates)
            self._surrogates = {k: v for k, v in self._surrogates.items() if k[0] != name}
            self._surrogates[key] = Surrogate.fit(
                views, self.features.terms(views), y, prior_scores, slope
            )
        return self._surrogates[key]


class Posterior:
    """The posterior over candidates, given the trials so far."""

    def __init__(self, cache: SurrogateCache, inputs: SurrogateInputs) -> None:
        self.cache, self.problem, self.inputs = cache, cache.problem, inputs
        self.candidates = [trial.candidate for trial in inputs.trials]
        known_metrics = self.problem.knowledge.metrics(self.candidates[0])
        self.modelled_objectives = [
            objective
            for objective in self.problem.objectives
            if objective.metric not in known_metrics
        ]
        self.modelled_limits = [
            limit for limit in self.problem.limits if limit.metric not in known_metrics
        ]
        self._target_models: dict[str, _TargetModel] = {}

    @property
    def lacks_skill(self) -> bool:
        """Return whether the model fails to predict left-out trials after many trials."""
        if len(self.candidates) < _MIN_TRIALS_TO_JUDGE_SKILL or not self.modelled_objectives:
            return False
        return self._target_model(self.modelled_objectives[0]).surrogate.skill < _MIN_SKILL

    def acquisition_values(self, pool: Sequence[Candidate], rng: RNG) -> Array:
        """Return expected improvement times probability of feasibility (m,) for each candidate.

        If no trial is within the limits yet, return the probability of feasibility.
        """
        views = self.cache.features.views([*self.candidates, *self.inputs.pending, *pool])
        feasibility = self._feasibility(views, pool)
        objectives = self.problem.objectives
        if self.problem.limits and not self._is_within_limits.any():
            return feasibility
        if len(objectives) == 1 and self.modelled_objectives:
            mean, std, tried_mean = self._predict(views, objectives[0], pool)
            best = tried_mean[self._is_within_limits].max()
            return feasibility * expected_improvement(mean, std, best)
        if len(objectives) == 2 and len(self.modelled_objectives) == 1:
            return feasibility * self._hypervolume_improvement(views, pool)
        return feasibility * self._scalarized_improvement(views, pool, rng)

    # Predictions

    @cached_property
    def _is_within_limits(self) -> NDArray[np.bool_]:
        """A mask (n,) of the trials."""
        mask = [
            all(limit.keeps(trial.metrics) for limit in self.problem.limits)
            for trial in self.inputs.trials
        ]
        return np.array(mask, bool)

    def _losses(self, objective: Objective) -> Array:
        return np.array([objective.loss(trial.metrics) for trial in self.inputs.trials])

    def _target_model(self, objective: Objective) -> _TargetModel:
        name, losses = objective.metric, self._losses(objective)
        if name not in self._target_models:
            # a single optimum needs resolution near the best loss, a front needs it everywhere
            is_single = len(self.problem.objectives) == 1
            warp: Warp = log_distance_targets if is_single else rank_targets
            fit_trend: FitTrend = generalised_least_squares if is_single else least_squares
            self._target_models[name] = _TargetModel.fit(self, name, losses, warp, fit_trend)
        return self._target_models[name]

    def _predict(
        self, views: list[View], objective: Objective, pool: Sequence[Candidate]
    ) -> tuple[Array, Array, Array]:
        """Return mean and standard deviation (m,) of the pool, and the trials' mean (n,)."""
        target = self._target_model(objective)
        n, k = len(self.candidates), len(self.inputs.pending)
        prior_mean = target.prior_mean(self.inputs.prior, [*self.inputs.pending, *pool])
        kernel, tried_views = target.surrogate.kernel, select_rows(views, slice(0, n))
        process = GaussianProcess(kernel, tried_views, target.y, target.mean)
        tried_mean, _ = process.predict(tried_views, target.mean)
        if k:  # kriging believer (Ginsbourger et al. 2010): pending targets equal predictions
            pending_mean, _ = process.predict(select_rows(views, slice(n, n + k)), prior_mean[:k])
            process = GaussianProcess(
                kernel,
                select_rows(views, slice(0, n + k)),
                np.concatenate([target.y, pending_mean]),
                np.concatenate([target.mean, prior_mean[:k]]),
            )
        pool_views = select_rows(views, slice(n + k, n + k + len(pool)))
        mean, std = process.predict(pool_views, prior_mean[k:])
        return mean, std, tried_mean

    def _feasibility(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """Return the probabilities (m,) of success and of satisfying the modelled limits."""
        probabilities = np.ones(len(pool))
        n, k = len(self.candidates), len(self.inputs.pending)
        tried_views = select_rows(views, slice(0, n))
        pool_views = select_rows(views, slice(n + k, n + k + len(pool)))
        for limit in self.modelled_limits:
            for name, margins in _limit_margins(limit, self.inputs.trials):
                target = _TargetModel.fit(self, name, margins, _standardize_margins, constant_trend)
                kernel = target.surrogate.kernel
                process = GaussianProcess(kernel, tried_views, target.y, target.mean)
                mean, std = process.predict(pool_views, np.full(len(pool), target.mean[0]))
                probabilities *= normal_cdf(mean / np.sqrt(std**2 + kernel.noise))
        if self.inputs.infeasible:
            probabilities *= self._success_probability(pool)
        return probabilities

    def _success_probability(self, pool: Sequence[Candidate]) -> Array:
        """Return the probabilities (m,) that candidates are not infeasible.

        Least-squares classification: regression on labels 1 and -1 (Rasmussen and Williams 2006,
        section 6.5).
        """
        tried = [*self.candidates, *self.inputs.infeasible]
        labels = np.array([1.0] * len(self.candidates) + [-1.0] * len(self.inputs.infeasible))
        views = self.cache.features.views([*tried, *pool])
        surrogate = self.cache.fit(
            _FEASIBILITY, self.inputs, tried, labels - labels.mean(), np.zeros(len(tried)), 0.0
        )
        process = GaussianProcess(
            surrogate.kernel,
            select_rows(views, slice(0, len(tried))),
            labels,
            np.full(len(tried), labels.mean()),
        )
        mean, std = process.predict(
            select_rows(views, slice(len(tried), None)), np.full(len(pool), labels.mean())
        )
        return normal_cdf(mean / np.sqrt(std**2 + surrogate.kernel.noise))

    # Improvements

    def _hypervolume_improvement(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """Return the expected hypervolume gains (m,); costs in shares of the range tried."""
        (modelled,) = self.modelled_objectives
        (known_objective,) = (
            objective for objective in self.problem.objectives if objective is not modelled
        )
        mean, std, tried_mean = self._predict(views, modelled, pool)
        tried_costs, pool_costs = self._known_losses(known_objective, pool)
        unwarp = InverseWarp.fit(self._target_model(modelled).y, -self._losses(modelled))
        points = np.column_stack([tried_costs, unwarp(tried_mean)])
        front = _non_dominated(points[self._is_within_limits])
        reference = (_REFERENCE_COST, float(np.quantile(unwarp.values, _REFERENCE_QUANTILE)))
        improvement_over = unwarp.expected_improvement_over(mean, std)
        return expected_hypervolume_improvement(improvement_over, pool_costs, front, reference)

    def _known_losses(self, objective: Objective, pool: Sequence[Candidate]) -> tuple[Array, Array]:
        """Return known losses of trials (n,) and pool (m,), scaled by the range of the trials."""
        tried = self._losses(objective)
        metrics = self.problem.knowledge.metrics
        of_pool = np.array([objective.loss(metrics(candidate)) for candidate in pool])
        low, width = tried.min(), np.ptp(tried) or 1.0
        return (tried - low) / width, (of_pool - low) / width

    def _scalarized_improvement(
        self, views: list[View], pool: Sequence[Candidate], rng: RNG
    ) -> Array:
        """Return Monte-Carlo expected improvements (m,) under random objective weights (ParEGO)."""
        weights = rng.dirichlet(np.ones(len(self.problem.objectives)))
        draws, tried = [], []
        for objective in self.problem.objectives:
            if objective in self.modelled_objectives:
                mean, std, tried_mean = self._predict(views, objective, pool)
                noise = rng.standard_normal(_N_POSTERIOR_DRAWS)[:, None]
                draws.append(normal_cdf(mean + std * noise))  # (draws, m), in 0..1
                tried.append(normal_cdf(tried_mean))
                continue
            tried_losses, pool_losses = self._known_losses(objective, pool)
            draws.append(np.broadcast_to(1 - pool_losses, (_N_POSTERIOR_DRAWS, len(pool))))
            tried.append(1 - tried_losses)
        tried_scores = augmented_chebyshev(np.stack(tried, -1)[self._is_within_limits], weights)
        pool_scores = augmented_chebyshev(np.stack(draws, -1), weights)  # (draws, m)
        gain = np.maximum(pool_scores - tried_scores.max(), 0.0)
        return np.asarray(gain.mean(0))


@dataclass(frozen=True)
class _TargetModel:
    """Targets y (n,) of the trials with their prior mean, and a kernel fitted to the first ones."""

    y: Array
    mean: Array
    surrogate: Surrogate
    slope: float
    constant: float

    @classmethod
    def fit(
        cls, posterior: Posterior, name: str, values: Array, warp: Warp, fit_trend: FitTrend
    ) -> _TargetModel:
        """Fit kernel and prior mean to the warped values (n,) of the trials."""
        candidates, cache = posterior.candidates, posterior.cache
        prior_scores = posterior.inputs.prior.scores_of(candidates)
        n_fit = n_trials_at_refit(len(candidates))
        fit_y, fit_scores = warp(values[:n_fit]), prior_scores[:n_fit]
        fit_slope = 0.0 if fit_trend is constant_trend else shrunken_slope(fit_scores, fit_y)
        surrogate = cache.fit(
            name, posterior.inputs, candidates[:n_fit], fit_y, fit_scores, fit_slope
        )

        def covariance() -> Array:
            return surrogate.kernel.target_covariance(cache.features.views(candidates))

        y = warp(values)
        slope, constant = fit_trend(prior_scores, y, covariance)
        return cls(y, slope * prior_scores + constant, surrogate, slope, constant)

    def prior_mean(self, prior: Prior, candidates: Sequence[Candidate]) -> Array:
        return self.slope * prior.scores_of(candidates) + self.constant


def _limit_margins(limit: Limit, trials: Sequence[Trial]) -> list[tuple[str, Array]]:
    """Return each bound's name and margins (n,): positive inside, NaN if the metric is missing."""
    values = np.array([trial.metrics.get(limit.metric, np.nan) for trial in trials])
    return [
        (f"{limit}/{sign}", sign * (bound - values))
        for bound, sign in ((limit.at_most, 1.0), (limit.at_least, -1.0))
        if np.isfinite(bound)
    ]


def _standardize_margins(margins: Array) -> Array:
    """Divide by the standard deviation and clip; missing values become the worst margin."""
    finite = margins[np.isfinite(margins)]
    std = (float(finite.std()) if len(finite) else 0.0) or 1.0
    standardized = np.nan_to_num(margins / std, nan=-_MAX_MARGIN_STDS)
    return np.clip(standardized, -_MAX_MARGIN_STDS, _MAX_MARGIN_STDS)


def _non_dominated(points: Array) -> Array:
    """Return the front (k, 2) of (cost, value) points (n, 2), cheapest first."""
    order = np.lexsort((-points[:, 1], points[:, 0]))
    front: list[Array] = []
    for point in points[order]:
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return np.array(front).reshape(-1, 2)
