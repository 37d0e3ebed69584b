"""Acquisition values of candidates from finished trials: objectives, limits and feasibility."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

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
from netwright.strategies.bayesian.belief_mixture import (
    COST_SLOPE,
    NO_BELIEF,
    QUALITY_SLOPE,
    BeliefMixture,
    belief_trends,
)
from netwright.strategies.bayesian.beliefs import Beliefs
from netwright.strategies.bayesian.gaussian_process import CrossCovariance, GaussianProcess, View
from netwright.strategies.bayesian.surrogates import (
    KernelFeatures,
    Surrogate,
    n_trials_at_refit,
    select_rows,
)
from netwright.strategies.bayesian.targets import log_distance_targets, rank_targets
from netwright.strategies.bayesian.trends import Trend, TrendProcess
from netwright.trials.metrics import METRICS
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


@dataclass(frozen=True)
class SurrogateInputs:
    """Inputs of a posterior.

    Args:
        n_prunes: How often old trials were dropped; identifies the trials' beginning.
        trials: Finished trials.
        infeasible: Candidates that were infeasible.
        pending: Candidates that are running or were chosen in this batch.
        beliefs: What is believed of candidates before training.
        trusts_beliefs: False to predict as if nothing were believed.
    """

    n_prunes: int
    trials: tuple[Trial, ...]
    infeasible: tuple[Candidate, ...]
    pending: tuple[Candidate, ...]
    beliefs: Beliefs
    trusts_beliefs: bool = True


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
        trends: Sequence[Trend],
        prior_weights: Array,
    ) -> Surrogate:
        """Return the surrogate of a metric, fitted to the targets y (n,) of the first trials."""
        # the list of infeasible candidates has a maximal length: compare its last one, too
        last_infeasible = inputs.infeasible[-1:] if name == _FEASIBILITY else ()
        key = (name, inputs.n_prunes, len(y), last_infeasible)
        if key not in self._surrogates:
            views = self.features.views(candidates)
            self._surrogates = {k: v for k, v in self._surrogates.items() if k[0] != name}
            terms = self.features.terms(views)
            self._surrogates[key] = Surrogate.fit(views, terms, y, trends, prior_weights)
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
            return feasibility * self._improvement(views, pool)
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
            slope = QUALITY_SLOPE if self._is_quality(objective) else COST_SLOPE
            self._target_models[name] = _TargetModel.fit(
                self, name, losses, warp, self.inputs.beliefs, slope
            )
        return self._target_models[name]

    def _is_quality(self, objective: Objective) -> bool:
        """Return whether what is known of good candidates should foretell an objective."""
        metric = METRICS.get(objective.metric)
        return objective == self.problem.objectives[0] if metric is None else bool(metric.kinds)

    @property
    def prior_weights(self) -> dict[str, dict[str, float]]:
        """Modelled objective -> source of belief -> how far the trials let it be trusted."""
        names = (NO_BELIEF, *self.inputs.beliefs.names)
        return {
            objective.metric: dict(
                zip(names, self._target_model(objective).mixture.weights.tolist(), strict=True)
            )
            for objective in self.modelled_objectives
        }

    def _predict(
        self, views: list[View], objective: Objective, pool: Sequence[Candidate]
    ) -> list[_Prediction]:
        """Return the prediction of each source that counts, and of no belief."""
        target = self._target_model(objective)
        mixture = target.mixture
        if not self.inputs.trusts_beliefs:
            mixture = mixture.sceptical()
        n, k = len(self.candidates), len(self.inputs.pending)
        kernel, tried_views = target.surrogate.kernel, select_rows(views, slice(0, n))
        # the columns of views are those of the candidates given: all together here
        tried_process = replace(mixture.processes[0].process, views=tried_views)
        tried_cross = tried_process.cross(tried_views)
        tried_means = {i: p.predict(tried_cross, p.trend.basis)[0] for _, p, i in mixture.used}
        bases = [trend.basis for trend in target.trends_of([*self.inputs.pending, *pool])]
        process, with_pending = tried_process, mixture
        if k:  # kriging believer (Ginsbourger et al. 2010): pending targets equal predictions
            pending_cross = tried_process.cross(select_rows(views, slice(n, n + k)))
            pending_mean = mixture.mean(pending_cross, [basis[:k] for basis in bases])
            process = GaussianProcess.at(kernel, select_rows(views, slice(0, n + k)))
            with_pending = mixture.with_targets(process, [b[:k] for b in bases], pending_mean)
        cross = process.cross(select_rows(views, slice(n + k, n + k + len(pool))))
        return [
            _Prediction(weight, *source.predict(cross, bases[i][k:]), tried_means[i])
            for weight, source, i in with_pending.used
        ]

    def _feasibility(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """Return the probabilities (m,) of success and of satisfying the modelled limits."""
        probabilities = np.ones(len(pool))
        n, k = len(self.candidates), len(self.inputs.pending)
        tried_views = select_rows(views, slice(0, n))
        pool_views = select_rows(views, slice(n + k, n + k + len(pool)))
        for limit in self.modelled_limits:
            for name, margins in _limit_margins(limit, self.inputs.trials):
                target = _TargetModel.fit(
                    self, name, margins, _standardize_margins, Beliefs(), COST_SLOPE
                )
                (without_belief,) = target.mixture.processes
                process = replace(without_belief.process, views=tried_views)
                cross = process.cross(pool_views)
                probabilities *= _probability_above_zero(without_belief, cross)
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
        trend = _constant_trend(len(tried))
        surrogate = self.cache.fit(_FEASIBILITY, self.inputs, tried, labels, [trend], np.ones(1))
        process = GaussianProcess.at(surrogate.kernel, select_rows(views, slice(0, len(tried))))
        classifier = TrendProcess(process, trend, labels)
        pool_views = select_rows(views, slice(len(tried), None))
        return _probability_above_zero(classifier, process.cross(pool_views))

    # Improvements

    def _improvement(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """Return the expected improvements (m,) over the best candidate within the limits."""
        total = np.zeros(len(pool))
        for weight, mean, std, tried_mean in self._predict(views, self.problem.objectives[0], pool):
            best = tried_mean[self._is_within_limits].max()
            total += weight * expected_improvement(mean, std, best)
        return total

    def _hypervolume_improvement(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """Return the expected hypervolume gains (m,); costs in shares of the range tried."""
        (modelled,) = self.modelled_objectives
        (known_objective,) = (
            objective for objective in self.problem.objectives if objective is not modelled
        )
        tried_costs, pool_costs = self._known_losses(known_objective, pool)
        unwarp = InverseWarp.fit(self._target_model(modelled).y, -self._losses(modelled))
        reference = (_REFERENCE_COST, float(np.quantile(unwarp.values, _REFERENCE_QUANTILE)))
        total = np.zeros(len(pool))
        for weight, mean, std, tried_mean in self._predict(views, modelled, pool):
            points = np.column_stack([tried_costs, unwarp(tried_mean)])
            front = _non_dominated(points[self._is_within_limits])
            improvement_over = unwarp.expected_improvement_over(mean, std)
            total += weight * expected_hypervolume_improvement(
                improvement_over, pool_costs, front, reference
            )
        return total

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
                predictions = self._predict(views, objective, pool)
                draws.append(normal_cdf(_draws(predictions, rng)))  # (draws, m), in 0..1
                tried_mean = sum(each.weight * each.tried_mean for each in predictions)
                tried.append(normal_cdf(np.asarray(tried_mean)))
                continue
            tried_losses, pool_losses = self._known_losses(objective, pool)
            draws.append(np.broadcast_to(1 - pool_losses, (_N_POSTERIOR_DRAWS, len(pool))))
            tried.append(1 - tried_losses)
        tried_scores = augmented_chebyshev(np.stack(tried, -1)[self._is_within_limits], weights)
        pool_scores = augmented_chebyshev(np.stack(draws, -1), weights)  # (draws, m)
        gain = np.maximum(pool_scores - tried_scores.max(), 0.0)
        return np.asarray(gain.mean(0))


class _Prediction(NamedTuple):
    """Predictions by one source of belief, for m candidates of the pool and n trials.

    Args:
        weight: How far it is trusted; all sum to 1.
        mean: (m,) Of the pool.
        std: (m,) Of the pool.
        tried_mean: (n,) Of the trials.
    """

    weight: float
    mean: Array
    std: Array
    tried_mean: Array


def _draws(predictions: Sequence[_Prediction], rng: RNG) -> Array:
    """Draw targets (draws, m) of the pool, each draw from one source."""
    weights = [prediction.weight for prediction in predictions]
    # evenly spaced, so that each source has its share of the draws
    places = (np.arange(_N_POSTERIOR_DRAWS) + rng.random()) / _N_POSTERIOR_DRAWS
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
    noise = rng.standard_normal(_N_POSTERIOR_DRAWS)
    rows = [
        predictions[i].mean + predictions[i].std * z for i, z in zip(chosen, noise, strict=True)
    ]
    return np.array(rows)


def _constant_trend(n: int) -> Trend:
    return belief_trends(np.zeros((0, n)), COST_SLOPE)[0]


def _probability_above_zero(process: TrendProcess, cross: CrossCovariance) -> Array:
    """Return the probabilities (m,) that noisy targets are positive; the trend is a constant."""
    mean, std = process.predict(cross, np.ones((len(cross.variance), 1)))
    return normal_cdf(mean / np.sqrt(std**2 + process.process.kernel.noise))


@dataclass(frozen=True)
class _TargetModel:
    """Targets y (n,) of the trials, and the weighted processes that foretell them.

    The kernel is that of the first trials, see `n_trials_at_refit`.
    """

    y: Array
    surrogate: Surrogate
    mixture: BeliefMixture
    beliefs: Beliefs
    slope: tuple[float, float]

    @classmethod
    def fit(
        cls,
        posterior: Posterior,
        name: str,
        values: Array,
        warp: Warp,
        beliefs: Beliefs,
        slope: tuple[float, float],
    ) -> _TargetModel:
        """Fit the kernel and the weights to the warped values (n,) of the trials."""
        candidates, cache = posterior.candidates, posterior.cache
        n_fit = n_trials_at_refit(len(candidates))
        scores = beliefs.scores_of(candidates)
        weights = beliefs.prior_weights
        surrogate = cache.fit(
            name,
            posterior.inputs,
            candidates[:n_fit],
            warp(values[:n_fit]),
            belief_trends(scores[:, :n_fit], slope),
            weights,
        )
        process = GaussianProcess.at(surrogate.kernel, cache.features.views(candidates))
        y = warp(values)
        mixture = BeliefMixture.fit(process, belief_trends(scores, slope), y, weights)
        return cls(y, surrogate, mixture, beliefs, slope)

    def trends_of(self, candidates: Sequence[Candidate]) -> list[Trend]:
        """Return the trend of no belief and of each source at these candidates."""
        return belief_trends(self.beliefs.scores_of(candidates), self.slope)


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
