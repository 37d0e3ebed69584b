"""Processes that differ in what they believe beforehand, each weighted by how well it has foretold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.strategies.bayesian.gaussian_process import CrossCovariance, GaussianProcess
from netwright.strategies.bayesian.trends import Trend, TrendProcess

Array = NDArray[np.float64]

NO_BELIEF = "none"
"""Name of the process that believes nothing beforehand."""
QUALITY_SLOPE = (0.5, 0.5)
"""Mean and standard deviation of the slope of quality by a score, both about standard normal."""
COST_SLOPE = (0.0, 0.5)
"""The same for costs, of which a score may tell anything."""
_CONSTANT_STD = 1.0
"""Standard deviation of the constant; targets are about standard normal."""
_TEMPERING_TRIALS = 5
"""The marginal likelihood counts to the power n / (n + this) after n trials: few prove little."""
_MIN_WEIGHT_OF_NONE = 0.2
_MIN_WEIGHT = 0.01
"""A process of a smaller weight is left out of predictions."""


def belief_trends(scores: Array, slope: tuple[float, float]) -> list[Trend]:
    """Return the trends of no belief and of each source: a constant, and a slope by its scores.

    Args:
        scores: (sources, n) Prior scores of n candidates.
        slope: Mean and standard deviation of the slope.
    """
    ones = np.ones((scores.shape[1], 1))
    trends = [Trend(ones, np.zeros(1), np.array([_CONSTANT_STD]))]
    means, stds = np.array([0.0, slope[0]]), np.array([_CONSTANT_STD, slope[1]])
    return trends + [Trend(np.column_stack([ones, row]), means, stds) for row in scores]


def earned_weights(log_likelihoods: Array, prior_weights: Array, n: int) -> Array:
    """Return the weights (k,) of processes, the first of which believes nothing.

    Args:
        log_likelihoods: (k,) Of the n targets.
        prior_weights: (k,) Before any target; may be 0.
        n: Number of targets.
    """
    log_weights = log_likelihoods * n / (n + _TEMPERING_TRIALS)
    weights: Array = prior_weights * np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    if weights[0] < _MIN_WEIGHT_OF_NONE:
        weights *= (1 - _MIN_WEIGHT_OF_NONE) / (1 - weights[0])
        weights[0] = _MIN_WEIGHT_OF_NONE
    return weights


@dataclass(frozen=True)
class BeliefMixture:
    """The posterior of one objective: a process for each source of belief, and one without.

    All share the kernel, so that one factor serves them all.

    Args:
        processes: Of no belief, then of each source.
        weights: (k,) How far each is trusted; they sum to 1.
    """

    processes: tuple[TrendProcess, ...]
    weights: Array

    @classmethod
    def fit(
        cls,
        process: GaussianProcess,
        trends: Sequence[Trend],
        y: Array,
        prior_weights: Array,
    ) -> BeliefMixture:
        """Condition each trend on targets y (n,), and weigh it by their marginal likelihood."""
        processes = tuple(TrendProcess(process, trend, y) for trend in trends)
        log_likelihoods = np.array([each.log_likelihood for each in processes])
        return cls(processes, earned_weights(log_likelihoods, prior_weights, len(y)))

    @cached_property
    def used(self) -> tuple[tuple[float, TrendProcess, int], ...]:
        """Weight, process and index of those that count, the weights summing to 1."""
        indices = [i for i, weight in enumerate(self.weights) if weight >= _MIN_WEIGHT]
        total = sum(self.weights[i] for i in indices)
        return tuple((float(self.weights[i] / total), self.processes[i], i) for i in indices)

    def sceptical(self) -> BeliefMixture:
        """Return the same posterior that trusts no belief."""
        weights = np.zeros(len(self.weights))
        weights[0] = 1.0
        return BeliefMixture(self.processes, weights)

    def with_targets(
        self, process: GaussianProcess, bases: Sequence[Array], y: Array
    ) -> BeliefMixture:
        """Return the same weights with more targets, which are taken as given.

        Args:
            process: Of the n candidates and k more.
            bases: (k, columns) for each process, its trend at the k.
            y: (k,) Their targets.
        """
        processes = tuple(
            TrendProcess(
                process,
                each.trend._replace(basis=np.concatenate([each.trend.basis, basis])),
                np.concatenate([each.y, y]),
            )
            for each, basis in zip(self.processes, bases, strict=True)
        )
        return BeliefMixture(processes, self.weights)

    def mean(self, cross: CrossCovariance, bases: Sequence[Array]) -> Array:
        """Return the weighted mean (m,) of all predictions.

        Args:
            cross: Covariance with m candidates.
            bases: (m, k) for each process, the columns of its trend.
        """
        means = (w * p.predict(cross, bases[i])[0] for w, p, i in self.used)
        return np.asarray(sum(means))

    def leave_one_out_means(self) -> Array:
        """Return the weighted predictions (n,) of each target from all others."""
        return np.asarray(sum(w * p.leave_one_out_means() for w, p, _ in self.used))

    def trend_at_trials(self) -> Array:
        """Return the weighted trend (n,), without the processes."""
        return np.asarray(sum(w * (p.trend.basis @ p.coefficients) for w, p, _ in self.used))
