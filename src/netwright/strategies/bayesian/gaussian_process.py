"""A Gaussian process over candidates: a sum of kernels, one for each view of them.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning": regression is algorithm 2.1,
the marginal likelihood and its gradient section 5.4.1, leaving one out section 5.4.2. Kernel
settings are those of the largest posterior under log-normal priors, so that ten trials do not make
it certain of anything. Targets are expected at mean 0 and variance about 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_JITTER = 1e-8
_ROUNDING = 1e-12
"""Of squared lengths: a squared distance below it may be rounding alone. Divided by its mean, which
is no more, it would be noise of the size of a real distance, and no kernel."""
_MAX_JITTER = 1.0
_STEPS = 12
_NOISE, _NOISE_SPREAD = math.log(0.15**2), 1.0
"""Prior of the logarithm of the noise's variance: the targets' deviation is about 1."""
_SPREAD = 0.7
"""Deviation of the other priors; lengths are about 1 in mean distances, amplitudes share 1."""


class View(NamedTuple):
    """One view of candidates: blocks of columns (n, d), each with a length of its own.

    `rough`: once differentiable twice only (Matern 5/2, for numbers) instead of always (RBF).
    """

    blocks: tuple[Array, ...]
    rough: bool = False

    def take(self, rows: slice) -> View:
        return View(tuple(block[rows] for block in self.blocks), self.rough)


Views = Sequence[View]


@dataclass(frozen=True)
class Kernel:
    """A sum of terms, each a product of views' kernels, with their settings.

    `scales`: mean squared distance of each block where the kernel was fitted. `theta`: logarithms
    of amplitudes (terms), lengths (blocks), and the noise's variance.
    """

    terms: tuple[tuple[int, ...], ...]
    scales: Array
    theta: Array

    @property
    def noise(self) -> float:
        """The noise's variance."""
        return float(np.exp(self.theta[-1]))

    @property
    def variance(self) -> float:
        """Of the process, everywhere."""
        return float(np.exp(self.theta[: len(self.terms)]).sum())

    def between(self, a: Views, b: Views) -> Array:
        """(n, m) covariances."""
        distances = [d / s for d, s in zip(_distances(a, b), self.scales, strict=True)]
        return _parts(self, a, distances).total

    def of_targets(self, views: Views) -> Array:
        """(n, n) covariances of what is seen of candidates, noise and all."""
        covariance = self.between(views, views)
        covariance[np.diag_indices_from(covariance)] += self.noise + _JITTER
        return covariance


class _Parts(NamedTuple):
    """Everything a gradient needs: values of terms, and slopes by each block's squared distance."""

    total: Array
    terms: list[Array]
    slopes: list[list[tuple[int, Array]]]
    """For each block: the terms it is in, and d(term) / d(scaled squared distance)."""


def fit_kernel(views: Views, y: Array, terms: Sequence[tuple[int, ...]]) -> Kernel:
    """The kernel of the largest posterior for targets y (n,)."""
    from scipy.optimize import minimize

    raw = _distances(views, views)
    n = len(y)
    scales = np.array([d.sum() / max(n * (n - 1), 1) for d in raw])
    scales[scales <= 0] = 1.0
    distances = [d / s for d, s in zip(raw, scales, strict=True)]
    prior = np.zeros(len(terms) + len(raw) + 1)
    prior[: len(terms)] = -math.log(len(terms))
    prior[-1] = _NOISE
    spread = np.full(len(prior), _SPREAD)
    spread[-1] = _NOISE_SPREAD

    def loss(theta: Array) -> tuple[float, Array]:
        value, slope = _evidence(Kernel(tuple(terms), scales, theta), views, distances, y)
        z = (theta - prior) / spread
        return value + 0.5 * float(z @ z), slope + z / spread

    bounds = [(p - 4 * s, p + 4 * s) for p, s in zip(prior, spread, strict=True)]
    found = minimize(
        loss, prior, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
    )
    return Kernel(tuple(terms), scales, np.asarray(found.x))


def _evidence(
    kernel: Kernel, views: Views, distances: list[Array], y: Array
) -> tuple[float, Array]:
    """The negative logarithm of the marginal likelihood, and its gradient by theta."""
    from scipy.linalg import cho_solve, cholesky

    parts = _parts(kernel, views, distances)
    n = len(y)
    covariance = parts.total + (kernel.noise + _JITTER) * np.eye(n)
    factor = lower_factor(covariance, partial(cholesky, lower=True)), True
    alpha = cho_solve(factor, y)
    inverse = cho_solve(factor, np.eye(n))
    weight = 0.5 * (inverse - np.outer(alpha, alpha))  # (n, n)
    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor[0])).sum())
    slope = np.zeros(len(kernel.theta))
    for t, term in enumerate(parts.terms):
        slope[t] = (weight * term).sum()
    for b, found in enumerate(parts.slopes):
        length = math.exp(kernel.theta[len(kernel.terms) + b])
        for _, by_distance in found:  # the distance falls with the length squared
            slope[len(kernel.terms) + b] += (weight * by_distance * distances[b]).sum() * (
                -2 / length**2
            )
    slope[-1] = kernel.noise * np.trace(weight)
    return value, slope


def lower_factor(covariance: Array, factorize: Callable[..., Array] = np.linalg.cholesky) -> Array:
    """(n, n) the lower Cholesky factor; where rounding has made a covariance indefinite, of the one
    with as much more noise as it takes."""
    jitter = 0.0
    while True:
        try:
            return np.asarray(factorize(covariance + jitter * np.eye(len(covariance))))
        except np.linalg.LinAlgError:
            jitter = max(10 * jitter, _JITTER)
            if jitter > _MAX_JITTER * max(1.0, float(np.diag(covariance).max())):
                raise


def _parts(kernel: Kernel, views: Views, distances: list[Array]) -> _Parts:
    """The kernel's terms for blocks' squared distances (n, m), scaled to mean 1."""
    lengths = np.exp(kernel.theta[len(kernel.terms) : -1])
    values, by_distance, block = [], [], 0
    places: list[range] = []
    for view in views:
        places.append(range(block, block + len(view.blocks)))
        block += len(view.blocks)
        summed = sum(distances[b] / lengths[b] ** 2 for b in places[-1])
        value, slope = _rough(summed) if view.rough else _smooth(summed)
        values.append(value)
        by_distance.append(slope)
    terms, slopes = [], [[] for _ in distances]  # type: list[Array], list[list[tuple[int, Array]]]
    for t, members in enumerate(kernel.terms):
        amplitude = math.exp(kernel.theta[t])
        terms.append(amplitude * np.prod([values[v] for v in members], axis=0))
        for v in members:
            others = [values[o] for o in members if o != v]
            slope = amplitude * by_distance[v] * (np.prod(others, axis=0) if others else 1.0)
            for b in places[v]:
                slopes[b].append((t, slope))
    return _Parts(np.sum(terms, axis=0), terms, slopes)


def _smooth(d: Array) -> tuple[Array, Array]:
    """exp(-d / 2) of squared distances d, and its derivative."""
    value = np.exp(-0.5 * d)
    return value, np.asarray(-0.5 * value)


def _rough(d: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances d, and its derivative."""
    r = np.sqrt(5 * d)
    decay = np.exp(-r)
    return np.asarray((1 + r + r**2 / 3) * decay), np.asarray(-(5 / 6) * (1 + r) * decay)


def _distances(a: Views, b: Views) -> list[Array]:
    """(n, m) squared distances of each block."""
    found = []
    for one, other in zip(a, b, strict=True):
        for x, y in zip(one.blocks, other.blocks, strict=True):
            found.append(squared_distances(x, y))
    return found


def squared_distances(x: Array, y: Array) -> Array:
    """(n, m) between rows (n, d) and rows (m, d); what rounding may have made of equal rows is 0."""
    lengths = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :]
    d = lengths - 2 * (x @ y.T)
    return np.where(d > _ROUNDING * lengths, d, 0.0)


@dataclass(frozen=True)
class Process:
    """A Gaussian process that has seen targets `y` (n,) of candidates; `mean` (n,) is expected."""

    kernel: Kernel
    views: Views
    y: Array
    mean: Array

    @cached_property
    def _factor(self) -> Array:
        """Lower Cholesky factor of the covariances with noise."""
        return lower_factor(self.kernel.of_targets(self.views))

    @cached_property
    def _alpha(self) -> Array:
        from scipy.linalg import cho_solve

        return np.asarray(cho_solve((self._factor, True), self.y - self.mean))

    def predict(self, views: Views, mean: Array) -> tuple[Array, Array]:
        """Posterior mean and deviation (m,) without noise, of candidates whose prior is `mean`."""
        from scipy.linalg import solve_triangular

        cross = self.kernel.between(views, self.views)  # (m, n)
        seen = solve_triangular(self._factor, cross.T, lower=True)  # (n, m)
        variance = self.kernel.variance - (seen**2).sum(0)
        return mean + cross @ self._alpha, np.sqrt(np.maximum(variance, 1e-12))

    def left_out(self) -> Array:
        """(n,) what is predicted for each target from all the others."""
        from scipy.linalg import cho_solve

        inverse = cho_solve((self._factor, True), np.eye(len(self.y)))
        return np.asarray(self.y - self._alpha / np.diag(inverse))
