"""From trials to the worth of candidates: models of what is measured, and what it is weighed by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.strategy import RNG, Problem
from netwright.space.candidate import Candidate
from netwright.strategies.bayesian.acquisition import (
    Unwarp,
    chebyshev,
    expected_improvement,
    known_cost_improvement,
    normal_below,
)
from netwright.strategies.bayesian.gaussian_process import Process, View
from netwright.strategies.bayesian.prior import (
    Covariance,
    Prior,
    by_distance,
    by_rank,
    generalised_least_squares,
    least_squares,
    level,
    slope,
)
from netwright.strategies.bayesian.surrogates import Looks, Surrogate, refit_at, take
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Trial

Array = NDArray[np.float64]

_BLIND_AFTER, _SKILL = 30, 0.2
_DRAWS = 64
_WIDEST = 3.0
_BEYOND = 1.1
"""The largest cost tried is no bound: the front may go on a little beyond it."""
_LOWEST = 0.02
"""Share of the values seen below what counts as the least: one failed network is no bound."""
_FEASIBLE = "feasible"

Warp = Callable[[Array], Array]
Trend = Callable[[Array, Array, Covariance], tuple[float, float]]
"""Slope and constant of targets by their prior, both (n,)."""


@dataclass(frozen=True)
class Beliefs:
    """What a model is made of: finished trials, what could not be, and what is under way."""

    era: int
    done: tuple[Trial, ...]
    infeasible: tuple[Candidate, ...]
    under_way: tuple[Candidate, ...]
    prior: Prior


class Posteriors:
    """Posteriors of a problem, with a memory for fitted kernels (a function of the trials alone)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.looks = Looks(problem.space, problem.knowledge)
        self._fitted: dict[tuple[str, int, int, tuple[Candidate, ...]], Surrogate] = {}

    def after(self, beliefs: Beliefs) -> Posterior:
        return Posterior(self, beliefs)

    def keeps_known(self, candidate: Candidate) -> bool:
        """Whether limits on metrics known beforehand are kept."""
        if not self.problem.limits:
            return True
        metrics = self.problem.knowledge.metrics(candidate)
        return all(one.keeps(metrics) for one in self.problem.limits if one.metric in metrics)

    def fitted(
        self, name: str, beliefs: Beliefs, candidates: Sequence[Candidate], y: Array, lean: Array,
        slope: float,
    ) -> Surrogate:  # fmt: skip
        """Fitted to targets y (n,) of candidates, the first trials of an era; remembered."""
        # only the latest infeasible ones are kept: their number may stay while they change
        latest = beliefs.infeasible[-1:] if name == _FEASIBLE else ()
        key = (name, beliefs.era, len(y), latest)
        if key not in self._fitted:
            views = self.looks.of(candidates)
            self._fitted = {k: v for k, v in self._fitted.items() if k[0] != name}
            self._fitted[key] = Surrogate.fitted(views, self.looks.terms(views), y, lean, slope)
        return self._fitted[key]


class Posterior:
    """What the trials so far let expect of other candidates."""

    def __init__(self, posteriors: Posteriors, beliefs: Beliefs) -> None:
        self.posteriors, self.problem, self.beliefs = posteriors, posteriors.problem, beliefs
        self.done = [trial.candidate for trial in beliefs.done]
        example = self.problem.knowledge.metrics(self.done[0])
        self.modelled = [o for o in self.problem.objectives if o.metric not in example]
        self.doubtful = [limit for limit in self.problem.limits if limit.metric not in example]
        self._targets: dict[str, _Target] = {}

    @property
    def is_blind(self) -> bool:
        """Whether many trials have not taught the model to foretell the next."""
        if len(self.done) < _BLIND_AFTER or not self.modelled:
            return False
        return self._target(self.modelled[0]).surrogate.skill < _SKILL

    def worth(self, pool: Sequence[Candidate], rng: RNG) -> Array:
        """(m,) expected improvement of each, times the chance that it is allowed."""
        views = self.posteriors.looks.of([*self.done, *self.beliefs.under_way, *pool])
        chance = self._chance(views, pool)
        objectives = self.problem.objectives
        if self.problem.limits and not self._allowed.any():
            return chance  # first something that keeps the limits
        if len(objectives) == 1 and self.modelled:
            mean, deviation, seen = self._predict(views, objectives[0], pool)
            return chance * expected_improvement(mean, deviation, seen[self._allowed].max())
        if len(objectives) == 2 and len(self.modelled) == 1:
            return chance * self._hypervolume(views, pool)
        return chance * self._weighted(views, pool, rng)

    # What is predicted

    @cached_property
    def _allowed(self) -> NDArray[np.bool_]:
        """(n,) which of the trials keep the limits."""
        kept = [
            all(limit.keeps(trial.metrics) for limit in self.problem.limits)
            for trial in self.beliefs.done
        ]
        return np.array(kept, bool)

    def _losses(self, objective: Objective) -> Array:
        return np.array([objective.loss(trial.metrics) for trial in self.beliefs.done])

    def _target(self, objective: Objective) -> _Target:
        name, losses = objective.metric, self._losses(objective)
        if name not in self._targets:
            # towards one best, small steps near it count; of a front, all of it does
            one = len(self.problem.objectives) == 1
            warp: Warp = by_distance if one else by_rank
            trend: Trend = generalised_least_squares if one else least_squares
            self._targets[name] = _Target.of(self, name, losses, warp, trend)
        return self._targets[name]

    def _predict(
        self, views: list[View], objective: Objective, pool: Sequence[Candidate]
    ) -> tuple[Array, Array, Array]:
        """Mean and deviation (m,) for the pool, and the mean (n,) for what was tried."""
        target = self._target(objective)
        n, k = len(self.done), len(self.beliefs.under_way)
        prior = self.beliefs.prior
        lean = target.lean_of(prior, [*self.beliefs.under_way, *pool])
        process = Process(target.surrogate.kernel, take(views, slice(0, n)), target.y, target.mean)
        seen, _ = process.predict(take(views, slice(0, n)), target.mean)
        if k:  # kriging believer (Ginsbourger et al. 2010): what runs gives what is expected
            guess, _ = process.predict(take(views, slice(n, n + k)), lean[:k])
            process = Process(
                target.surrogate.kernel, take(views, slice(0, n + k)),
                np.concatenate([target.y, guess]), np.concatenate([target.mean, lean[:k]]),
            )  # fmt: skip
        mean, deviation = process.predict(take(views, slice(n + k, n + k + len(pool))), lean[k:])
        return mean, deviation, seen

    def _chance(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """(m,) the chance that a candidate can be built and keeps the limits not known beforehand."""
        found = np.ones(len(pool))
        n, k = len(self.done), len(self.beliefs.under_way)
        at = slice(n + k, n + k + len(pool))
        for limit in self.doubtful:
            for name, margin in _margins(limit, self.beliefs.done):
                target = _Target.of(self, name, margin, _in_deviations, level)
                process = Process(
                    target.surrogate.kernel, take(views, slice(0, n)), target.y, target.mean
                )
                mean, deviation = process.predict(
                    take(views, at), np.full(len(pool), target.mean[0])
                )
                spread = np.sqrt(deviation**2 + target.surrogate.kernel.noise)
                found *= normal_below(mean / spread)
        if self.beliefs.infeasible:
            found *= self._feasible(pool)
        return found

    def _feasible(self, pool: Sequence[Candidate]) -> Array:
        """(m,) by regression on 1 and -1 (Rasmussen and Williams 2006, section 6.5)."""
        seen = [*self.done, *self.beliefs.infeasible]
        labels = np.array([1.0] * len(self.done) + [-1.0] * len(self.beliefs.infeasible))
        views = self.posteriors.looks.of([*seen, *pool])
        at = take(views, slice(0, len(seen)))
        centred = labels - labels.mean()
        surrogate = self.posteriors.fitted(
            _FEASIBLE, self.beliefs, seen, centred, np.zeros(len(seen)), 0.0
        )
        mean = np.full(len(seen), labels.mean())
        process = Process(surrogate.kernel, at, labels, mean)
        guess, deviation = process.predict(
            take(views, slice(len(seen), None)), np.full(len(pool), labels.mean())
        )
        return normal_below(guess / np.sqrt(deviation**2 + surrogate.kernel.noise))

    # What is improved

    def _hypervolume(self, views: list[View], pool: Sequence[Candidate]) -> Array:
        """(m,) the expected gain in hypervolume; costs as shares of the range tried."""
        (modelled,) = self.modelled
        (cheap,) = (o for o in self.problem.objectives if o is not modelled)
        mean, deviation, seen = self._predict(views, modelled, pool)
        tried, known = self._known(cheap, pool)
        unwarp = Unwarp.of(self._target(modelled).y, -self._losses(modelled))
        front = _front(np.column_stack([tried, unwarp(seen)])[self._allowed])
        reference = (_BEYOND, float(np.quantile(unwarp.values, _LOWEST)))
        over = unwarp.improvement(mean, deviation)
        return known_cost_improvement(over, known, front, reference)

    def _known(self, objective: Objective, pool: Sequence[Candidate]) -> tuple[Array, Array]:
        """Losses (n,) of what was tried and (m,) of the pool, known; as shares of the range tried."""
        tried = self._losses(objective)
        known = np.array([objective.loss(self.problem.knowledge.metrics(c)) for c in pool])
        low, width = tried.min(), np.ptp(tried) or 1.0
        return (tried - low) / width, (known - low) / width

    def _weighted(self, views: list[View], pool: Sequence[Candidate], rng: RNG) -> Array:
        """(m,) expected improvement of all objectives under random weights, by draws."""
        weights = rng.dirichlet(np.ones(len(self.problem.objectives)))
        drawn, best = [], []
        for objective in self.problem.objectives:
            if objective in self.modelled:
                mean, deviation, seen = self._predict(views, objective, pool)
                noise = rng.standard_normal(_DRAWS)[:, None]
                drawn.append(normal_below(mean + deviation * noise))  # (draws, m), in 0..1
                best.append(normal_below(seen))
                continue
            tried, known = self._known(objective, pool)
            drawn.append(np.broadcast_to(1 - known, (_DRAWS, len(pool))))
            best.append(1 - tried)
        top = chebyshev(np.stack(best, -1)[self._allowed], weights).max()
        gain = np.maximum(chebyshev(np.stack(drawn, -1), weights) - top, 0.0)  # (draws, m)
        return np.asarray(gain.mean(0))


@dataclass(frozen=True)
class _Target:
    """Targets y (n,) of the trials, their prior mean, and the kernel fitted to the first of them."""

    y: Array
    mean: Array
    surrogate: Surrogate
    slope: float
    constant: float

    @classmethod
    def of(
        cls, posterior: Posterior, name: str, values: Array, warp: Warp, trend: Trend
    ) -> _Target:
        """Of what was measured, values (n,), warped; `trend`: what the prior foretells of it."""
        done, posteriors = posterior.done, posterior.posteriors
        lean = posterior.beliefs.prior.of_candidates(done)
        m = refit_at(len(done))
        early = warp(values[:m])
        rough = 0.0 if trend is level else slope(lean[:m], early)
        surrogate = posteriors.fitted(name, posterior.beliefs, done[:m], early, lean[:m], rough)
        y = warp(values)
        steep, constant = trend(
            lean, y, lambda: surrogate.kernel.of_targets(posteriors.looks.of(done))
        )
        return cls(y, steep * lean + constant, surrogate, steep, constant)

    def lean_of(self, prior: Prior, candidates: Sequence[Candidate]) -> Array:
        return self.slope * prior.of_candidates(candidates) + self.constant


def _margins(limit: Limit, trials: Sequence[Trial]) -> list[tuple[str, Array]]:
    """By how much each bound is kept; NaN where the metric is missing."""
    values = np.array([trial.metrics.get(limit.metric, np.nan) for trial in trials])
    return [
        (f"{limit}/{sign}", sign * (bound - values))
        for bound, sign in ((limit.at_most, 1.0), (limit.at_least, -1.0))
        if np.isfinite(bound)
    ]


def _in_deviations(margins: Array) -> Array:
    """Cut off at three; a missing value breaks the bound."""
    finite = margins[np.isfinite(margins)]
    scale = (float(finite.std()) if len(finite) else 0.0) or 1.0
    return np.clip(np.nan_to_num(margins / scale, nan=-_WIDEST), -_WIDEST, _WIDEST)


def _front(points: Array) -> Array:
    """(k, 2) of points (n, 2): cheapest first, each of higher value than all cheaper ones."""
    order = np.lexsort((-points[:, 1], points[:, 0]))
    found: list[Array] = []
    for point in points[order]:
        if not found or point[1] > found[-1][1]:
            found.append(point)
    return np.array(found).reshape(-1, 2)
