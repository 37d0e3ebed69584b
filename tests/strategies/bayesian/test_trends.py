"""The process on a trend against the densities and the conditioning of a plain normal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from netwright.strategies.bayesian.gaussian_process import GaussianProcess, Kernel, View
from netwright.strategies.bayesian.trends import Trend, TrendProcess

Array = NDArray[np.float64]

N, M = 9, 4


def kernel(noise: float = 0.04) -> Kernel:
    return Kernel(((0,),), np.ones(1), np.log([0.8, 0.6, noise]))


def rows(n: int, seed: int) -> list[View]:
    return [View((np.random.default_rng(seed).normal(size=(n, 2)),))]


def made(seed: int, n: int = N) -> tuple[TrendProcess, Array]:
    """A process on a constant and a slope, and its basis at `M` other candidates."""
    rng = np.random.default_rng([seed, 1])
    bases = np.column_stack([np.ones(N + M), rng.normal(size=N + M)])
    trend = Trend(bases[:n], np.array([0.1, 0.5]), np.array([1.0, 0.7]))
    process = GaussianProcess.at(kernel(), [view.select_rows(slice(n)) for view in rows(N, seed)])
    return TrendProcess(process, trend, rng.normal(size=N)[:n]), bases[N:]


def joint(fitted: TrendProcess, basis: Array, other: list[View]) -> tuple[Array, Array]:
    """Mean and covariance of targets and candidates, from the definition: coefficients are normal."""
    views = [
        View((np.concatenate([a.blocks[0], b.blocks[0]]),))
        for a, b in zip(fitted.process.views, other, strict=True)
    ]
    whole = np.concatenate([fitted.trend.basis, basis])
    covariance = fitted.process.kernel.covariance(views, views)
    covariance += whole @ np.diag(fitted.trend.stds**2) @ whole.T
    n = len(fitted.y)
    covariance[:n, :n] += (fitted.process.kernel.noise + 1e-8) * np.eye(n)
    return whole @ fitted.trend.means, covariance


@pytest.mark.parametrize("seed", range(3))
def test_log_likelihood_is_that_of_a_normal_whose_coefficients_are_integrated_out(
    seed: int,
) -> None:
    fitted, basis = made(seed)
    mean, covariance = joint(fitted, basis, rows(M, seed + 100))
    expected = multivariate_normal(mean[:N], covariance[:N, :N]).logpdf(fitted.y)
    assert fitted.log_likelihood == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_those_of_the_joint_normal(seed: int) -> None:
    (fitted, basis), other = made(seed), rows(M, seed + 100)
    mean, covariance = joint(fitted, basis, other)
    gain = covariance[N:, :N] @ np.linalg.inv(covariance[:N, :N])
    expected_mean = mean[N:] + gain @ (fitted.y - mean[:N])
    expected = covariance[N:, N:] - gain @ covariance[:N, N:]
    predicted, std = fitted.predict(fitted.process.cross(other), basis)
    assert predicted == pytest.approx(expected_mean)
    assert std == pytest.approx(np.sqrt(np.diag(expected)))


def test_leave_one_out_means_equal_refits() -> None:
    fitted, _ = made(3)
    for i, left_out in enumerate(fitted.leave_one_out_means()):
        rest = np.delete(np.arange(N), i)
        trend = fitted.trend._replace(basis=fitted.trend.basis[rest])
        views = [view.select_rows(rest) for view in fitted.process.views]  # type: ignore[arg-type]
        process = GaussianProcess.at(fitted.process.kernel, views)
        refitted = TrendProcess(process, trend, fitted.y[rest])
        one = [view.select_rows(slice(i, i + 1)) for view in fitted.process.views]
        mean, _ = refitted.predict(process.cross(one), fitted.trend.basis[i : i + 1])
        assert left_out == pytest.approx(mean[0])


def test_coefficients_follow_many_targets_and_the_prior_before_any() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=60)
    basis = np.column_stack([np.ones(60), scores])
    view = [View((rng.normal(size=(60, 2)),))]
    trend = Trend(basis, np.array([0.0, 0.5]), np.array([1.0, 0.5]))
    process = GaussianProcess.at(Kernel(((0,),), np.ones(1), np.log([0.05, 1.0, 0.01])), view)
    falling = TrendProcess(process, trend, -2.0 * scores)
    assert falling.coefficients == pytest.approx([0, -2], abs=0.15)
    first = Trend(basis[:1], trend.means, trend.stds)
    process = GaussianProcess.at(process.kernel, [v.select_rows(slice(1)) for v in view])
    agreeing = TrendProcess(process, first, basis[:1] @ trend.means)
    assert agreeing.coefficients == pytest.approx(trend.means)


def test_a_trend_that_foretells_has_the_higher_likelihood() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=30)
    process = GaussianProcess.at(kernel(), [View((rng.normal(size=(30, 2)),))])
    y = 0.8 * scores + rng.normal(0, 0.3, 30)
    ones = np.ones((30, 1))
    constant = TrendProcess(process, Trend(ones, np.zeros(1), np.ones(1)), y)
    right, wrong = (
        TrendProcess(
            process,
            Trend(np.column_stack([ones, column]), np.array([0.0, 0.5]), np.array([1.0, 0.5])), y,
        )
        for column in (scores, rng.permutation(scores))
    )  # fmt: skip
    assert right.log_likelihood > constant.log_likelihood > wrong.log_likelihood


def test_far_from_all_trials_only_the_trend_is_left() -> None:
    fitted, basis = made(0)
    far = [View((np.full((M, 2), 100.0),))]
    mean, std = fitted.predict(fitted.process.cross(far), basis)
    assert mean == pytest.approx(basis @ fitted.coefficients)
    assert (std > math.sqrt(fitted.process.kernel.variance)).all()
