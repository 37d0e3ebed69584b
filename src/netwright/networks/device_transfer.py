"""Latency on a new device from a few measurements there, and many on devices that are known.

Latencies on a device are close to a weighted sum of latencies on other devices and of simple features
of a network. A Gaussian process with a linear kernel is that sum with the weights integrated out
(Rasmussen & Williams 2006, section 2.1), so that ten measurements are enough: the known devices say
which weights are likely.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import norm

from netwright.errors import InputError, Phrase, expected

Array = NDArray[np.float64]

_SIGNAL_VARIANCES = (0.3, 1.0, 3.0)
"""Prior variances of the leading components, for standardised latencies."""
_REST_WEIGHTS = (0.0, 0.1, 1.0)
"""Variances of the minor components, relative to that of the leading ones: much of them is noise."""
_FEATURE_WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0)
"""Variances of the features' part, relative to that of the leading components."""
_N_LEADING = 3
"""Leading principal components of the latencies on known devices."""
_NO_FEATURES_PROBABILITY = 0.5
"""Before any measurement: that the known devices say all that the features could."""
_NOISE_VARIANCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_MEAN_VARIANCE = 10.0
"""Prior variance of the constant: wide, as latencies are standardised by few measurements."""
_MIN_MEASUREMENTS = 3
_MIN_SHARE_OF_FASTEST = 0.1
"""No network is predicted to be faster than this share of the fastest one that was measured."""


@dataclass(frozen=True)
class PredictedLatency:
    """Latencies of networks on a new device.

    Args:
        mean: (n,) ms.
        deviation: (n,) standard deviation of a measurement, ms.
    """

    mean: Array
    deviation: Array

    def at_most(self, probability: float = 0.9) -> Array:
        """Return the latencies (n,) in ms that are kept with this probability.

        Args:
            probability: from 0 to 1.

        Returns:
            The quantile of a normal distribution.
        """
        upper: Array = self.mean + norm.ppf(probability) * self.deviation
        return upper


@dataclass(frozen=True)
class KnownDevices:
    """Latencies of the same networks on known devices: what may be expected of a new one.

    Args:
        latencies: (n, devices) ms, of n networks.
        features: (n, d) of the networks: what latencies are nearly additive in, such as the number
            of each operation and the FLOPs; d may be 0.

    Raises:
        InputError: the arrays do not fit each other, or hold numbers that are not finite.

    Example:
        >>> known = KnownDevices(latencies, features)
        >>> measured = known.most_informative(10)
        >>> predicted = known.predict(measured, [measure(networks[i]) for i in measured])
        >>> fast_enough = predicted.at_most(0.9) <= 20.0
    """

    latencies: Array
    features: Array

    def __post_init__(self) -> None:
        for name in ("latencies", "features"):
            array = np.asarray(getattr(self, name), float)
            if array.ndim != 2 or not np.isfinite(array).all():
                rule = "a matrix of finite numbers, a row for each network"
                raise InputError(expected(name, rule, Phrase(f"shape {array.shape}")))
            object.__setattr__(self, name, array)
        shapes = self.latencies.shape, self.features.shape
        if shapes[0][0] != shapes[1][0] or not all(shapes[0]):
            rule = "of the same networks, on at least one device"
            got = Phrase(f"shapes {shapes[0]} and {shapes[1]}")
            raise InputError(expected("latencies and features", rule, got))

    def predict(self, measured: Sequence[int], ms: Sequence[float]) -> PredictedLatency:
        """Predict the latency of all networks on a new device.

        The variances of the leading components of the known devices, of the minor ones, of the
        features and of the noise are averaged over, weighted by marginal likelihood.

        Args:
            measured: indices of at least three networks that were measured there.
            ms: their latencies, above 0.

        Returns:
            The prediction for all n networks.

        Raises:
            InputError: there are too few measurements, or one is not above 0.
        """
        rows, latencies = np.asarray(measured, int), np.asarray(ms, float)
        if len(rows) != len(latencies) or len(rows) < _MIN_MEASUREMENTS:
            rule = f"{_MIN_MEASUREMENTS} or more, one latency for each network"
            got = Phrase(f"{len(rows)} networks and {len(latencies)} latencies")
            raise InputError(expected("measurements", rule, got))
        if not (np.isfinite(latencies).all() and latencies.min() > 0):
            raise InputError(expected("a latency", "above 0 ms", float(latencies.min())))
        scale = float(latencies.std()) or 1.0
        targets = (latencies - latencies.mean()) / scale
        parts = [_part(columns, rows) for columns in self._columns]
        in_sample = [cross[rows] for cross, _ in parts]
        fits = [_Fit.of(in_sample, variances, targets) for variances in _variances()]
        evidence = np.array([fit.log_likelihood + fit.log_prior for fit in fits])
        weights = np.exp(evidence - evidence.max())
        mean, second_moment = np.zeros(len(self.latencies)), np.zeros(len(self.latencies))
        for fit, weight in zip(fits, weights / weights.sum(), strict=True):
            if weight > 1e-4:
                fit_mean, variance = fit.predict(parts)
                mean += weight * fit_mean
                second_moment += weight * (variance + fit_mean**2)
        deviation = np.sqrt(np.maximum(second_moment - mean**2, 0.0))
        fastest = _MIN_SHARE_OF_FASTEST * latencies.min()
        return PredictedLatency(
            np.maximum(latencies.mean() + scale * mean, fastest), scale * deviation
        )

    def most_informative(self, n: int) -> list[int]:
        """Return the networks to measure on a new device, before anything is known of it.

        Each is the one of which the others tell least: the largest posterior variance, under the
        middle of the priors.

        Args:
            n: number of networks.

        Returns:
            n different indices; fewer if there are not so many networks.
        """
        signal, *weights, noise = (each[len(each) // 2] for each in _GRID)
        scaled = [
            np.sqrt(signal * weight) * each
            for each, weight in zip(self._columns, (1.0, *weights), strict=True)
        ]
        columns = np.concatenate(scaled, axis=1)  # (n, columns)
        variance, chosen = (columns**2).sum(1), list[int]()
        directions = np.zeros((len(columns), 0))
        for _ in range(min(n, len(columns))):
            variance[chosen] = -np.inf
            pick = int(np.argmax(variance))
            chosen.append(pick)
            covariance = columns @ columns[pick] - directions @ directions[pick]
            spread = np.sqrt(max(float(covariance[pick]), 0.0) + noise)
            directions = np.column_stack([directions, covariance / spread])
            variance = (columns**2).sum(1) - (directions**2).sum(1)
        return chosen

    @cached_property
    def _columns(self) -> tuple[Array, Array, Array]:
        """The leading components, the minor ones, and the features: (n, columns) each.

        Those of the devices have variance 1 together, and so have the features.
        """
        devices = _standardised(self.latencies) / np.sqrt(self.latencies.shape[1])
        directions, sizes, _ = np.linalg.svd(devices, full_matrices=False)
        components = directions * sizes  # (n, devices)
        features = _standardised(self.features) / np.sqrt(max(1, self.features.shape[1]))
        return components[:, :_N_LEADING], components[:, _N_LEADING:], features


_Variances = tuple[float, float, float, float]
"""Variances: leading components; minor ones and features, as shares of it; noise."""
_Part = tuple[Array, Array]
"""Covariances (n, rows) of all networks with the measured ones, and variances (n,)."""


def _part(columns: Array, rows: NDArray[np.int_]) -> _Part:
    return columns @ columns[rows].T, (columns**2).sum(1)


@dataclass(frozen=True)
class _Fit:
    """A Gaussian process of the measurements under given variances."""

    variances: _Variances
    factor: tuple[Array, bool]
    alpha: Array
    log_likelihood: float

    @property
    def log_prior(self) -> float:
        """Logarithm of how probable the variances were, but for a constant."""
        n_others = len(_FEATURE_WEIGHTS) - 1
        without = _NO_FEATURES_PROBABILITY
        return float(np.log((1 - without) / n_others if self.variances[2] else without))

    @classmethod
    def of(cls, kernels: Sequence[Array], variances: _Variances, targets: Array) -> _Fit:
        """Condition on `targets` (rows,), standardised latencies.

        Args:
            kernels: (rows, rows) of the leading components, the minor ones and the features.
            variances: of the leading components, of the two others relative to it, of the noise.
            targets: see above.
        """
        kernel = _weighted(kernels, variances) + _MEAN_VARIANCE
        factor = cho_factor(kernel + variances[-1] * np.eye(len(targets)), lower=True)
        alpha = cho_solve(factor, targets)
        log_determinant = np.log(np.diag(factor[0])).sum()
        return cls(variances, factor, alpha, float(-0.5 * targets @ alpha - log_determinant))

    def predict(self, parts: Sequence[_Part]) -> tuple[Array, Array]:
        """Return mean and variance (n,) of standardised measurements."""
        cross = _weighted([each for each, _ in parts], self.variances) + _MEAN_VARIANCE  # (n, rows)
        prior = _weighted([each for _, each in parts], self.variances) + _MEAN_VARIANCE
        explained = (cross * cho_solve(self.factor, cross.T).T).sum(1)
        return cross @ self.alpha, np.maximum(prior - explained, 0.0) + self.variances[-1]


def _weighted(parts: Sequence[Array], variances: _Variances) -> Array:
    signal, rest, feature, _ = variances
    leading, minor, features = parts
    weighted: Array = signal * (leading + rest * minor + feature * features)
    return weighted


_GRID = (_SIGNAL_VARIANCES, _REST_WEIGHTS, _FEATURE_WEIGHTS, _NOISE_VARIANCES)


def _variances() -> Iterator[_Variances]:
    return itertools.product(*_GRID)


def _standardised(columns: Array) -> Array:
    """Return columns of mean 0 and variance 1; constant ones are 0."""
    deviations = columns.std(0)
    centred = columns - columns.mean(0)
    standardised: Array = np.where(deviations > 0, centred / np.maximum(deviations, 1e-300), 0.0)
    return standardised
