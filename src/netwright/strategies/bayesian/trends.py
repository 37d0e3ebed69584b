"""A Gaussian process on top of a linear trend whose coefficients are integrated out.

Rasmussen and Williams 2006, section 2.7: with a normal prior the coefficients need not be chosen, and
trends that predict too much lose by their marginal likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netwright.strategies.bayesian.gaussian_process import CrossCovariance, GaussianProcess

Array = NDArray[np.float64]

_MIN_VARIANCE = 1e-12


class Trend(NamedTuple):
    """The columns of a linear trend, and the normal prior of their coefficients.

    Args:
        basis: (n, k) The columns at n candidates.
        means: (k,) Means of the coefficients before any target.
        stds: (k,) Their standard deviations; independent of each other.
    """

    basis: Array
    means: Array
    stds: Array


@dataclass(frozen=True)
class TrendProcess:
    """A process and a trend, conditioned on targets.

    Args:
        process: The process at n candidates.
        trend: The trend at the same candidates.
        y: (n,) Their targets.
    """

    process: GaussianProcess
    trend: Trend
    y: Array

    @cached_property
    def _whitened(self) -> tuple[Array, Array]:
        """The whitened residuals (n,) of the prior trend, and the basis (n, k)."""
        residuals = self.y - self.trend.basis @ self.trend.means
        both = self.process.whiten(np.column_stack([residuals, self.trend.basis]))
        return both[:, 0], both[:, 1:]

    @cached_property
    def _precision(self) -> Array:
        """The precision (k, k) of the coefficients, given the targets: that of equation 2.42."""
        _, basis = self._whitened
        return np.diag(self.trend.stds**-2.0) + basis.T @ basis

    @cached_property
    def _deviation(self) -> Array:
        """The mean (k,) of the coefficients, given the targets, less that before."""
        residuals, basis = self._whitened
        return np.asarray(np.linalg.solve(self._precision, basis.T @ residuals))

    @property
    def coefficients(self) -> Array:
        """The mean (k,) of the coefficients, given the targets."""
        return self.trend.means + self._deviation

    @cached_property
    def _explained(self) -> Array:
        """The whitened residuals (n,) that the trend leaves to the process."""
        residuals, basis = self._whitened
        return residuals - basis @ self._deviation

    @cached_property
    def log_likelihood(self) -> float:
        """The logarithm of the density of the targets: equation 2.43."""
        residuals, basis = self._whitened
        fit = float(residuals @ residuals - (basis.T @ residuals) @ self._deviation)
        log_determinant = (
            2 * np.log(np.diag(self.process.factor)).sum()
            + np.linalg.slogdet(self._precision)[1]
            + 2 * np.log(self.trend.stds).sum()
        )
        return -0.5 * float(fit + log_determinant + len(self.y) * math.log(2 * math.pi))

    def predict(self, cross: CrossCovariance, basis: Array) -> tuple[Array, Array]:
        """Return the posterior mean and standard deviation (m,), without noise: equation 2.42.

        Args:
            cross: The process's covariance with m candidates.
            basis: (m, k) The trend's columns at these.
        """
        _, whitened_basis = self._whitened
        mean = basis @ self.coefficients + cross.whitened.T @ self._explained
        unexplained = basis.T - whitened_basis.T @ cross.whitened  # (k, m)
        extra = (unexplained * np.linalg.solve(self._precision, unexplained)).sum(0)
        return mean, np.sqrt(np.maximum(cross.variance + extra, _MIN_VARIANCE))

    def leave_one_out_means(self) -> Array:
        """Return the predictions (n,) of each target from all others: section 5.4.2."""
        _, basis = self._whitened
        inverse = self.process.inverse_factor  # of the factor
        by_trend = inverse.T @ basis  # (n, k)
        diagonal = (inverse**2).sum(0)
        diagonal -= (by_trend * np.linalg.solve(self._precision, by_trend.T).T).sum(1)
        return np.asarray(self.y - inverse.T @ self._explained / diagonal)
