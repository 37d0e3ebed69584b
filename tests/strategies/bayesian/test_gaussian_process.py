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
    """Smooth columns, two rough blocks, and one more smooth view."""
    rng = np.random.default_rng(seed)
    rough = View((rng.random((n, 1)), rng.random((n, 2))), is_matern=True)
    return [View((rng.random((n, 3)),)), rough, View((rng.random((n, 4)),))]


TERMS = ((0,), (1,), (2,), (0, 1))


def kernel(seed: int, terms: tuple[tuple[int, ...], ...] = TERMS) -> Kernel:
    rng = np.random.default_rng(seed)
    return Kernel(terms, rng.uniform(0.3, 2.0, 4), rng.normal(0, 0.5, len(terms) + 5))


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_the_evidence_is_that_of_finite_differences(seed: int) -> None:
    seen, one = views(12, seed), kernel(seed)
    y = np.random.default_rng(seed).normal(size=12)
    distances = [d / s for d, s in zip(_block_distances(seen, seen), one.scales, strict=True)]

    def value(theta: Array) -> float:
        return _negative_log_likelihood(Kernel(TERMS, one.scales, theta), seen, distances, y)[0]

    _, slope = _negative_log_likelihood(one, seen, distances, y)
    assert slope == pytest.approx(approx_fprime(one.theta, value, 1e-6), abs=2e-4)


def test_the_evidence_is_the_log_density_of_a_normal() -> None:
    from scipy.stats import multivariate_normal

    seen, one = views(7), kernel(1)
    y = np.random.default_rng(0).normal(size=7)
    distances = [d / s for d, s in zip(_block_distances(seen, seen), one.scales, strict=True)]
    covariance = one.covariance(seen, seen) + one.noise * np.eye(7)
    said = -multivariate_normal(np.zeros(7), covariance).logpdf(y) - 3.5 * math.log(2 * math.pi)
    assert _negative_log_likelihood(one, seen, distances, y)[0] == pytest.approx(said, abs=1e-5)


def test_its_kernels_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 3)), rng.random((4, 3))
    theta = np.log([2.0, 0.7, 0.1])  # amplitude, length, noise
    for rough, theirs in ((True, Matern(0.7, nu=2.5)), (False, RBF(0.7))):
        one = Kernel(((0,),), np.ones(1), theta)
        found = one.covariance([View((a,), rough)], [View((b,), rough)])
        assert found == pytest.approx(2.0 * theirs(a, b))


def test_a_product_of_views_and_a_sum_of_terms() -> None:
    seen = views(6)
    one = kernel(2)
    each = [
        Kernel(((v,),), one.scales, np.concatenate([[0.0], one.theta[4:]])).covariance(seen, seen)
        for v in range(3)
    ]
    a = np.exp(one.theta[:4])
    whole = a[0] * each[0] + a[1] * each[1] + a[2] * each[2] + a[3] * each[0] * each[1]
    assert one.covariance(seen, seen) == pytest.approx(whole)
    assert np.diag(whole) == pytest.approx(one.variance)


def test_leaving_one_out_is_refitting_without_it() -> None:
    seen, one, n = views(10, 3), kernel(3), 10
    rng = np.random.default_rng(3)
    y, mean = rng.normal(size=n), rng.normal(size=n)
    found = GaussianProcess(one, seen, y, mean).leave_one_out_means()
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        without = GaussianProcess(
            one, [view.select_rows(rest) for view in seen], y[rest], mean[rest]
        )
        said, _ = without.predict(
            [view.select_rows(np.array([i])) for view in seen], mean[i : i + 1]
        )
        assert found[i] == pytest.approx(said[0])


def test_it_passes_through_what_it_saw_and_is_sure_of_it() -> None:
    seen, one = views(8), kernel(0)
    exact = Kernel(one.terms, one.scales, np.append(one.theta[:-1], math.log(1e-6)))
    rng = np.random.default_rng(0)
    y, mean = rng.normal(size=8), rng.normal(size=8)
    process = GaussianProcess(exact, seen, y, mean)
    found, deviation = process.predict(seen, mean)
    assert found == pytest.approx(y, abs=0.01)
    assert deviation.max() < 0.01

    def moved(by: float) -> list[View]:
        return [View(tuple(block + by for block in view.blocks), view.is_matern) for view in seen]

    near, far, very_far = (process.predict(moved(by), mean) for by in (0.05, 0.5, 100.0))
    assert (deviation < near[1]).all()
    assert near[1].mean() < far[1].mean()
    assert very_far[1] == pytest.approx(math.sqrt(exact.variance))  # back to the prior
    assert very_far[0] == pytest.approx(mean)


def test_five_trials_do_not_make_it_certain_of_anything() -> None:
    rng = np.random.default_rng(0)
    for y in (np.zeros(5), np.array([1.0, -1.0, 1.0, -1.0, 1.0]), rng.normal(size=5) * 3):
        found = fit_kernel(views(5), y - y.mean(), TERMS)
        lengths = np.exp(found.theta[4:-1])
        assert ((lengths > 0.2) & (lengths < 5)).all(), lengths
        assert 0.002 < found.noise < 0.5


def test_many_trials_teach_it_which_columns_matter() -> None:
    """The length of a number that decides is short beside that of one that does nothing."""
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    seen = [View((x[:, :1], x[:, 1:]), is_matern=True)]
    y = np.sin(6 * x[:, 0])
    found = fit_kernel(seen, (y - y.mean()) / y.std(), [(0,)])
    decides, idle = np.exp(found.theta[1:3])
    assert idle > 2 * decides


def test_equal_candidates_do_no_harm() -> None:
    seen = [View((np.ones((6, 2)),))]
    found = fit_kernel(seen, np.arange(6) - 2.5, [(0,)])
    mean, deviation = GaussianProcess(found, seen, np.arange(6) - 2.5, np.zeros(6)).predict(
        seen, np.zeros(6)
    )
    assert mean == pytest.approx(np.zeros(6), abs=1e-6)
    assert np.isfinite(deviation).all()


@pytest.mark.parametrize("seed", range(30))
def test_columns_in_which_all_candidates_agree_change_nothing(seed: int) -> None:
    """Rounding makes distances of them that are no distances; once they brought a search down."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 30))
    alike = View((np.tile(rng.normal(size=(1, 30)) * 10 ** rng.uniform(0, 3), (n, 1)),))
    x, y = View((rng.integers(0, 3, size=(n, 3)).astype(float),)), rng.normal(size=n)
    assert not squared_distances(alike.blocks[0], alike.blocks[0]).any()
    kernel = fit_kernel([x, alike], y, ((0,), (1,)))
    mean, deviation = GaussianProcess(kernel, [x, alike], y, np.zeros(n)).predict(
        [x, alike], np.zeros(n)
    )
    assert np.isfinite([*mean, *deviation]).all()


def test_a_covariance_that_rounding_has_made_indefinite_gets_more_noise() -> None:
    covariance = np.ones((4, 4)) - 1e-9 * np.diag([0.0, 1.0, 1.0, 1.0])
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(covariance)
    factor = robust_cholesky(covariance)
    assert np.allclose(factor @ factor.T, covariance, atol=1e-6)
    with pytest.raises(np.linalg.LinAlgError):
        robust_cholesky(-np.eye(3) * 1e9)
