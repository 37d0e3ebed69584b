"""The process against finite differences, refits and scikit-learn's kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime
from sklearn.gaussian_process.kernels import RBF, Matern

from netwright.strategies.bayesian.gaussian_process import (
    GaussianProcess,
    Kernel,
    View,
    _block_distances,
    _negative_log_likelihood,
    fit_kernel,
    robust_cholesky,
    squared_distances,
)

Array = NDArray[np.float64]


def views(n: int, seed: int = 0) -> list[View]:
    """An RBF view, a Matern view of two blocks, and another RBF view."""
    rng = np.random.default_rng(seed)
    matern = View((rng.random((n, 1)), rng.random((n, 2))), is_matern=True)
    return [View((rng.random((n, 3)),)), matern, View((rng.random((n, 4)),))]


TERMS = ((0,), (1,), (2,), (0, 1))


def random_kernel(seed: int, terms: tuple[tuple[int, ...], ...] = TERMS) -> Kernel:
    rng = np.random.default_rng(seed)
    return Kernel(terms, rng.uniform(0.3, 2.0, 4), rng.normal(0, 0.5, len(terms) + 5))


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_gradient_equals_finite_differences(seed: int) -> None:
    train_views, kernel = views(12, seed), random_kernel(seed)
    y = np.random.default_rng(seed).normal(size=12)
    distances = [
        d / s
        for d, s in zip(_block_distances(train_views, train_views), kernel.scales, strict=True)
    ]

    def loss(theta: Array) -> float:
        return _negative_log_likelihood(
            Kernel(TERMS, kernel.scales, theta), train_views, distances, y
        )[0]

    _, gradient = _negative_log_likelihood(kernel, train_views, distances, y)
    assert gradient == pytest.approx(approx_fprime(kernel.theta, loss, 1e-6), abs=2e-4)


def test_log_likelihood_equals_the_density_of_a_normal() -> None:
    from scipy.stats import multivariate_normal

    train_views, kernel = views(7), random_kernel(1)
    y = np.random.default_rng(0).normal(size=7)
    distances = [
        d / s
        for d, s in zip(_block_distances(train_views, train_views), kernel.scales, strict=True)
    ]
    covariance = kernel.covariance(train_views, train_views) + kernel.noise * np.eye(7)
    expected = -multivariate_normal(np.zeros(7), covariance).logpdf(y) - 3.5 * math.log(2 * math.pi)
    assert _negative_log_likelihood(kernel, train_views, distances, y)[0] == pytest.approx(
        expected, abs=1e-5
    )


def test_kernels_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 3)), rng.random((4, 3))
    theta = np.log([2.0, 0.7, 0.1])  # amplitude, length, noise
    for is_matern, sklearn_kernel in ((True, Matern(0.7, nu=2.5)), (False, RBF(0.7))):
        views_a, views_b = ([View((rows,), is_matern=is_matern)] for rows in (a, b))
        covariance = Kernel(((0,),), np.ones(1), theta).covariance(views_a, views_b)
        assert covariance == pytest.approx(2.0 * sklearn_kernel(a, b))


def test_the_kernel_is_a_sum_of_products_of_views() -> None:
    train_views = views(6)
    kernel = random_kernel(2)
    each = [
        Kernel(((v,),), kernel.scales, np.concatenate([[0.0], kernel.theta[4:]])).covariance(
            train_views, train_views
        )
        for v in range(3)
    ]
    a = np.exp(kernel.theta[:4])
    whole = a[0] * each[0] + a[1] * each[1] + a[2] * each[2] + a[3] * each[0] * each[1]
    assert kernel.covariance(train_views, train_views) == pytest.approx(whole)
    assert np.diag(whole) == pytest.approx(kernel.variance)


def test_what_is_left_of_the_variance_equals_the_textbook() -> None:
    train_views, kernel = views(8), random_kernel(0)
    process = GaussianProcess.at(kernel, train_views)
    other_views = views(5, seed=1)
    cross = process.cross(other_views)
    covariance = kernel.target_covariance(train_views)
    by_other = kernel.covariance(train_views, other_views)  # (8, 5)
    explained = by_other.T @ np.linalg.solve(covariance, by_other)
    assert cross.variance == pytest.approx(kernel.variance - np.diag(explained))
    assert process.factor @ cross.whitened == pytest.approx(by_other)
    assert process.factor @ process.inverse_factor == pytest.approx(np.eye(8), abs=1e-9)


def test_five_trials_give_no_extreme_hyperparameters() -> None:
    rng = np.random.default_rng(0)
    for y in (np.zeros(5), np.array([1.0, -1.0, 1.0, -1.0, 1.0]), rng.normal(size=5) * 3):
        fitted = fit_kernel(views(5), y - y.mean(), TERMS)
        lengths = np.exp(fitted.theta[4:-1])
        assert ((lengths > 0.2) & (lengths < 5)).all(), lengths
        assert 0.002 < fitted.noise < 0.5


def test_length_scales_show_which_columns_matter() -> None:
    """The length of a number that decides is short beside that of one that does nothing."""
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    train_views = [View((x[:, :1], x[:, 1:]), is_matern=True)]
    y = np.sin(6 * x[:, 0])
    fitted = fit_kernel(train_views, (y - y.mean()) / y.std(), [(0,)])
    decides, idle = np.exp(fitted.theta[1:3])
    assert idle > 2 * decides


def test_equal_candidates_are_handled() -> None:
    train_views = [View((np.ones((6, 2)),))]
    fitted = fit_kernel(train_views, np.arange(6) - 2.5, [(0,)])
    cross = GaussianProcess.at(fitted, train_views).cross(train_views)
    assert np.isfinite(cross.whitened).all()
    assert np.isfinite(cross.variance).all()


@pytest.mark.parametrize("seed", range(30))
def test_constant_columns_change_nothing(seed: int) -> None:
    """Rounding makes distances of them that are no distances; once they brought a search down."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 30))
    alike = View((np.tile(rng.normal(size=(1, 30)) * 10 ** rng.uniform(0, 3), (n, 1)),))
    x, y = View((rng.integers(0, 3, size=(n, 3)).astype(float),)), rng.normal(size=n)
    assert not squared_distances(alike.blocks[0], alike.blocks[0]).any()
    random_kernel = fit_kernel([x, alike], y, ((0,), (1,)))
    cross = GaussianProcess.at(random_kernel, [x, alike]).cross([x, alike])
    assert np.isfinite(cross.whitened).all()
    assert np.isfinite(cross.variance).all()


def test_cholesky_adds_jitter_to_an_indefinite_covariance() -> None:
    covariance = np.ones((4, 4)) - 1e-9 * np.diag([0.0, 1.0, 1.0, 1.0])
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(covariance)
    factor = robust_cholesky(covariance)
    assert np.allclose(factor @ factor.T, covariance, atol=1e-6)
    with pytest.raises(np.linalg.LinAlgError):
        robust_cholesky(-np.eye(3) * 1e9)
