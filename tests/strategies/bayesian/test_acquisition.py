"""What a candidate is worth, against draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from netwright.strategies.bayesian.acquisition import (
    InverseWarp,
    augmented_chebyshev,
    expected_hypervolume_improvement,
    expected_improvement,
    normal_cdf,
)
from netwright.trials.pareto import hypervolume, nondominated


def improvement_over(mean: np.ndarray, std: np.ndarray) -> Callable[[float], np.ndarray]:
    return partial(expected_improvement, mean, std)


def test_expected_improvement_equals_the_mean_of_draws() -> None:
    noise = np.random.default_rng(0).standard_normal(200_000)
    for mean, std, best in ((0.0, 1.0, 0.5), (2.0, 0.3, 1.0), (-1.0, 2.0, 0.0)):
        drawn = np.maximum(mean + std * noise - best, 0).mean()
        computed = expected_improvement(np.array([mean]), np.array([std]), best)
        assert computed == pytest.approx(drawn, rel=0.02)


def test_without_uncertainty_the_improvement_is_the_difference() -> None:
    computed = expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert computed == pytest.approx([0.0, 1.0])


def test_expected_improvement_is_never_negative() -> None:
    computed = expected_improvement(np.linspace(-50, 0, 99), np.ones(99), 0.0)
    assert (computed >= 0).all()
    assert (np.diff(computed[computed > 0]) > 0).all()


def test_normal_cdf() -> None:
    assert normal_cdf(np.array([0.0, 1.959964])) == pytest.approx([0.5, 0.975])


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_expected_hypervolume_improvement_equals_the_mean_of_draws(size: int, seed: int) -> None:
    """Candidates left of the front, inside, right of it and beyond the reference."""
    rng = np.random.default_rng([seed, size])
    points = rng.random((3 * size, 2)) * [0.8, 2.0] + [0.1, -0.5]  # (cost, value)
    reference = (0.85, -0.2)  # some points are beyond it
    front = points[nondominated(points * [1, -1])[:size]] if size else np.zeros((0, 2))
    cost = np.array([0.0, 0.3, 0.6, 0.84, 0.9])
    mean, std = rng.normal(0.7, 0.5, 5), rng.uniform(0.1, 1.0, 5)
    computed = expected_hypervolume_improvement(
        improvement_over(mean, std), cost, front[::-1], reference
    )

    losses, bound = front * [1, -1], np.array([reference[0], -reference[1]])
    before = hypervolume(losses, bound)
    drawn = []
    for c, m, s in zip(cost, mean, std, strict=True):
        # quantiles of the normal instead of random draws: the mean is off by far less
        values = m + s * NOISE
        gains = [hypervolume(np.vstack([losses, [c, -v]]), bound) - before for v in values]
        drawn.append(np.mean(gains))
    assert computed == pytest.approx(drawn, rel=0.02, abs=2e-3)


def _quantiles(n: int) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(n) + 0.5) / n))


NOISE = _quantiles(400)


@pytest.mark.parametrize("height", [-1.0, 0.0, 0.35, 0.9, 1.2, 3.0])
def test_unwarped_expected_improvement_equals_the_mean_of_draws(height: float) -> None:
    targets = np.array([-1.5, -0.5, 0.0, 0.4, 1.5])
    measured = np.array([0.0, 0.1, 0.7, 0.8, 1.0])  # an outlier, a steep part, a flat one
    inverse = InverseWarp.fit(targets, measured)
    assert inverse(targets) == pytest.approx(measured)
    mean, std = np.array([-2.0, 0.1, 1.4, 2.5]), np.array([0.5, 1.0, 0.2, 2.0])
    computed = inverse.expected_improvement_over(mean, std)(height)
    drawn = np.maximum(inverse(mean[:, None] + std[:, None] * NOISE) - height, 0).mean(1)
    assert computed == pytest.approx(drawn, rel=0.02, abs=2e-3)


def test_inverse_warp_extrapolates_upwards_and_limits_its_knots() -> None:
    targets = np.linspace(-2, 2, 500)
    inverse = InverseWarp.fit(targets, np.exp(targets))
    assert len(inverse.knots) <= 64
    assert inverse(targets) == pytest.approx(np.exp(targets), rel=0.01)
    missing = InverseWarp.fit(np.array([-1.0, 0.0, 1.0]), np.array([-np.inf, 0.2, 0.3]))
    assert missing(np.array([-1.0, 0.0])) == pytest.approx([0.2, 0.2])
    assert np.isfinite(missing.expected_improvement_over(np.zeros(1), np.ones(1))(0.1)).all()
    assert inverse(np.array([-9.0])) == pytest.approx(np.exp(-2))
    assert inverse(np.array([3.0])) > inverse(np.array([2.0]))


def test_cheaper_candidates_gain_more_and_too_expensive_ones_nothing() -> None:
    front = np.array([[0.2, 0.5], [0.6, 1.0]])
    cost = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, np.inf])
    improvement = improvement_over(np.full(8, 1.5), np.full(8, 0.1))
    computed = expected_hypervolume_improvement(improvement, cost, front, (1.0, 0.0))
    assert (np.diff(computed[:6]) < 0).all()
    assert computed[5:] == pytest.approx(0)


def test_a_front_beyond_the_reference_is_clipped() -> None:
    front = np.array([[2.0, 1.0]])
    improvement = improvement_over(np.array([5.0]), np.zeros(1))
    computed = expected_hypervolume_improvement(improvement, np.zeros(1), front, (1.0, 0.0))
    assert computed == pytest.approx([5.0])


def test_chebyshev_is_led_by_the_worst_objective() -> None:
    weights = np.array([0.5, 0.5])
    balanced, lopsided, dominated = augmented_chebyshev(
        np.array([[0.6, 0.6], [1.0, 0.3], [0.6, 0.5]]), weights
    )
    assert balanced > lopsided  # the sum of the second is larger
    assert balanced > dominated


def test_chebyshev_breaks_ties_by_the_other_objectives() -> None:
    """The part that ParEGO adds: of two with the same worst the other objectives decide."""
    worse, better = augmented_chebyshev(np.array([[0.2, 0.5], [0.2, 0.9]]), np.array([0.9, 0.1]))
    assert better > worse


def test_chebyshev_follows_the_weights() -> None:
    values = np.array([[1.0, 0.2], [0.2, 1.0]])
    assert np.argmax(augmented_chebyshev(values, np.array([0.9, 0.1]))) == 0
    assert np.argmax(augmented_chebyshev(values, np.array([0.1, 0.9]))) == 1
