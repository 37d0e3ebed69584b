"""Gaussian process over candidates, whose kernel is a sum over views of a candidate.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning": regression is algorithm 2.1,
the marginal likelihood and its gradient section 5.4.1.
What is expected beforehand is added in `trends`.
Hyperparameters maximise the posterior under log-normal priors, which keeps the model from being
overconfident after ten trials. Targets are expected to have mean 0 and variance about 1.
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
_MAX_JITTER = 1.0
"""Largest jitter, relative to the largest variance; beyond it a covariance is broken."""
_RELATIVE_ROUNDING = 1e-12
"""Squared distances below this share of the squared lengths count as 0: they may be rounding
errors, and dividing by their mean would turn these into distances of ordinary size."""
_MAX_LBFGS_ITERATIONS = 12
_LOG_NOISE_PRIOR_MEAN, _LOG_NOISE_PRIOR_STD = math.log(0.15**2), 1.0
"""Normal prior of the log noise variance; the targets' standard deviation is about 1."""
_LOG_PRIOR_STD = 0.7
"""Standard deviation of the other log-normal priors: lengths around 1 mean distance, amplitudes
that sum to 1."""
_MAX_PRIOR_STDS = 4
"""Bounds of the optimiser, in standard deviations of the prior."""


class View(NamedTuple):
    """One view of n candidates: blocks of columns (n, d), each with its own length scale.

    The kernel is Matern 5/2 if `is_matern` (for numbers), else RBF.
    """

    blocks: tuple[Array, ...]
    is_matern: bool = False

    def select_rows(self, rows: slice) -> View:
        return View(tuple(block[rows] for block in self.blocks), is_matern=self.is_matern)


Views = Sequence[View]


@dataclass(frozen=True)
class Kernel:
    """A sum of terms, each a product of views' kernels, with hyperparameters.

    Args:
        terms: The indices of each term's views.
        scales: (blocks,) Mean squared distance of each block in the training data.
        theta: Logarithms of amplitudes (terms), length scales (blocks) and the noise variance.
    """

    terms: tuple[tuple[int, ...], ...]
    scales: Array
    theta: Array

    @property
    def noise(self) -> float:
        """The noise variance."""
        return float(np.exp(self.theta[-1]))

    @property
    def variance(self) -> float:
        """The prior variance of the process, the same everywhere."""
        return float(np.exp(self.theta[: len(self.terms)]).sum())

    def covariance(self, a: Views, b: Views) -> Array:
        """Return the covariances (n, m) of the process."""
        distances = [d / s for d, s in zip(_block_distances(a, b), self.scales, strict=True)]
        return _evaluate_terms(self, a, distances).total

    def target_covariance(self, views: Views) -> Array:
        """Return the covariances (n, n) of noisy targets."""
        covariance = self.covariance(views, views)
        covariance[np.diag_indices_from(covariance)] += self.noise + _JITTER
        return covariance


class _KernelTerms(NamedTuple):
    """A kernel's terms (n, m) and their sum, and their derivatives by the blocks' distances."""

    total: Array
    terms: list[Array]
    gradients: list[list[tuple[int, Array]]]
    """For each block: (term, d(term) / d(scaled squared distance)) pairs."""


def initial_kernel(views: Views, terms: Sequence[tuple[int, ...]]) -> Kernel:
    """Return the kernel with the hyperparameters that are likeliest before any target."""
    raw_distances = _block_distances(views, views)
    n = len(views[0].blocks[0])
    scales = np.array([d.sum() / max(n * (n - 1), 1) for d in raw_distances])
    scales[scales <= 0] = 1.0
    theta = np.zeros(len(terms) + len(raw_distances) + 1)
    theta[: len(terms)] = -math.log(len(terms))
    theta[-1] = _LOG_NOISE_PRIOR_MEAN
    return Kernel(tuple(terms), scales, theta)


def fit_kernel(views: Views, y: Array, terms: Sequence[tuple[int, ...]]) -> Kernel:
    """Return the kernel with the maximum-a-posteriori hyperparameters for targets y (n,)."""
    from scipy.optimize import minimize

    initial = initial_kernel(views, terms)
    raw_distances = _block_distances(views, views)
    distances = [d / s for d, s in zip(raw_distances, initial.scales, strict=True)]
    prior_mean = initial.theta
    prior_std = np.full(len(prior_mean), _LOG_PRIOR_STD)
    prior_std[-1] = _LOG_NOISE_PRIOR_STD

    def negative_log_posterior(theta: Array) -> tuple[float, Array]:
        kernel = Kernel(initial.terms, initial.scales, theta)
        loss, gradient = _negative_log_likelihood(kernel, views, distances, y)
        z = (theta - prior_mean) / prior_std
        return loss + 0.5 * float(z @ z), gradient + z / prior_std

    bounds = [
        (mean - _MAX_PRIOR_STDS * std, mean + _MAX_PRIOR_STDS * std)
        for mean, std in zip(prior_mean, prior_std, strict=True)
    ]
    optimum = minimize(
        negative_log_posterior,
        prior_mean,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MAX_LBFGS_ITERATIONS},
    )
    return Kernel(initial.terms, initial.scales, np.asarray(optimum.x))


def _negative_log_likelihood(
    kernel: Kernel, views: Views, distances: list[Array], y: Array
) -> tuple[float, Array]:
    """Return the negative log marginal likelihood (up to a constant), and its gradient by theta."""
    from scipy.linalg import cho_solve, cholesky

    evaluated = _evaluate_terms(kernel, views, distances)
    n = len(y)
    covariance = evaluated.total + (kernel.noise + _JITTER) * np.eye(n)
    factor = robust_cholesky(covariance, partial(cholesky, lower=True)), True
    alpha = cho_solve(factor, y)
    inverse = cho_solve(factor, np.eye(n))
    by_covariance = 0.5 * (inverse - np.outer(alpha, alpha))  # (n, n), equation 5.9
    loss = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor[0])).sum())
    gradient = np.zeros(len(kernel.theta))
    n_terms = len(kernel.terms)
    for t, term in enumerate(evaluated.terms):
        gradient[t] = (by_covariance * term).sum()
    for b, block_gradients in enumerate(evaluated.gradients):
        length = math.exp(kernel.theta[n_terms + b])
        by_length = -2 / length**2  # the scaled distance falls with the length squared
        for _, by_distance in block_gradients:
            gradient[n_terms + b] += (by_covariance * by_distance * distances[b]).sum() * by_length
    gradient[-1] = kernel.noise * np.trace(by_covariance)
    return loss, gradient


def robust_cholesky(
    covariance: Array, factorize: Callable[..., Array] = np.linalg.cholesky
) -> Array:
    """Return the lower Cholesky factor (n, n), adding jitter if rounding made it indefinite."""
    jitter = 0.0
    while True:
        try:
            return np.asarray(factorize(covariance + jitter * np.eye(len(covariance))))
        except np.linalg.LinAlgError:
            jitter = max(10 * jitter, _JITTER)
            if jitter > _MAX_JITTER * max(1.0, float(np.diag(covariance).max())):
                raise


def _evaluate_terms(kernel: Kernel, views: Views, distances: list[Array]) -> _KernelTerms:
    """Evaluate the kernel's terms on the blocks' squared distances (n, m), scaled to mean 1."""
    lengths = np.exp(kernel.theta[len(kernel.terms) : -1])
    view_kernels: list[Array] = []
    view_gradients: list[Array] = []
    view_blocks: list[range] = []
    first_block = 0
    for view in views:
        blocks = range(first_block, first_block + len(view.blocks))
        first_block += len(view.blocks)
        summed = np.asarray(sum(distances[b] / lengths[b] ** 2 for b in blocks))
        kernel_values, by_distance = _matern52(summed) if view.is_matern else _rbf(summed)
        view_blocks.append(blocks)
        view_kernels.append(kernel_values)
        view_gradients.append(by_distance)
    terms: list[Array] = []
    gradients: list[list[tuple[int, Array]]] = [[] for _ in distances]
    for t, factors in enumerate(kernel.terms):
        amplitude = math.exp(kernel.theta[t])
        terms.append(amplitude * np.prod([view_kernels[v] for v in factors], axis=0))
        for v in factors:
            others = [view_kernels[other] for other in factors if other != v]
            gradient = amplitude * view_gradients[v] * (np.prod(others, axis=0) if others else 1.0)
            for b in view_blocks[v]:
                gradients[b].append((t, gradient))
    return _KernelTerms(np.sum(terms, axis=0), terms, gradients)


def _rbf(squared_distance: Array) -> tuple[Array, Array]:
    """Return exp(-d / 2) of squared distances d, and its derivative by d."""
    kernel = np.exp(-0.5 * squared_distance)
    return kernel, np.asarray(-0.5 * kernel)


def _matern52(squared_distance: Array) -> tuple[Array, Array]:
    """Return the Matern 5/2 kernel of squared distances, and its derivative by these."""
    r = np.sqrt(5 * squared_distance)
    decay = np.exp(-r)
    return np.asarray((1 + r + r**2 / 3) * decay), np.asarray(-(5 / 6) * (1 + r) * decay)


def _block_distances(a: Views, b: Views) -> list[Array]:
    """Return the squared distances (n, m) of each block."""
    return [
        squared_distances(a_block, b_block)
        for a_view, b_view in zip(a, b, strict=True)
        for a_block, b_block in zip(a_view.blocks, b_view.blocks, strict=True)
    ]


def squared_distances(x: Array, y: Array) -> Array:
    """Return squared distances (n, m) of rows (n, d) and (m, d); rounding errors become 0."""
    squared_lengths = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :]
    d = squared_lengths - 2 * (x @ y.T)
    return np.where(d > _RELATIVE_ROUNDING * squared_lengths, d, 0.0)


@dataclass(frozen=True)
class CrossCovariance:
    """Covariances of m candidates with the n that a process is fitted to.

    Args:
        whitened: (n, m) The covariances, divided by the process's factor.
        variance: (m,) What is left of the prior variance, given the n targets.
    """

    whitened: Array
    variance: Array


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process of mean 0, given the places of its targets.

    Args:
        kernel: The fitted kernel.
        views: Views of n candidates.
        factor: (n, n) The lower Cholesky factor of the targets' covariance.
    """

    kernel: Kernel
    views: Views
    factor: Array

    @classmethod
    def at(cls, kernel: Kernel, views: Views) -> GaussianProcess:
        """Return the process with targets at candidates of these views."""
        return cls(kernel, views, robust_cholesky(kernel.target_covariance(views)))

    def whiten(self, columns: Array) -> Array:
        """Return the factor's inverse times columns (n, k): what is white, if they follow it."""
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self.factor, columns, lower=True))

    @cached_property
    def inverse_factor(self) -> Array:
        """The inverse (n, n) of the factor."""
        return self.whiten(np.eye(len(self.factor)))

    def cross(self, views: Views) -> CrossCovariance:
        """Return the covariance with m candidates of these views."""
        whitened = self.whiten(self.kernel.covariance(self.views, views))
        return CrossCovariance(whitened, self.kernel.variance - (whitened**2).sum(0))
