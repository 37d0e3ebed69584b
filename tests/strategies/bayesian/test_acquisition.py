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


def plain(mean: np.ndarray, deviation: np.ndarray) -> Callable[[float], np.ndarray]:
    return partial(expected_improvement, mean, deviation)


def test_expected_improvement_is_the_mean_of_draws() -> None:
    noise = np.random.default_rng(0).standard_normal(200_000)
    for mean, deviation, best in ((0.0, 1.0, 0.5), (2.0, 0.3, 1.0), (-1.0, 2.0, 0.0)):
        drawn = np.maximum(mean + deviation * noise - best, 0).mean()
        said = expected_improvement(np.array([mean]), np.array([deviation]), best)
        assert said == pytest.approx(drawn, rel=0.02)


def test_what_is_certain_improves_by_the_difference() -> None:
    said = expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert said == pytest.approx([0.0, 1.0])


def test_it_is_never_negative_far_below_the_best() -> None:
    said = expected_improvement(np.linspace(-50, 0, 99), np.ones(99), 0.0)
    assert (said >= 0).all()
    assert (np.diff(said[said > 0]) > 0).all()


def test_the_share_below() -> None:
    assert normal_cdf(np.array([0.0, 1.959964])) == pytest.approx([0.5, 0.975])


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_the_gain_in_hypervolume_is_that_of_draws(size: int, seed: int) -> None:
    """Candidates left of the front, inside, right of it and beyond the reference."""
    rng = np.random.default_rng([seed, size])
    points = rng.random((3 * size, 2)) * [0.8, 2.0] + [0.1, -0.5]  # (cost, value)
    reference = (0.85, -0.2)  # some points are beyond it
    front = points[nondominated(points * [1, -1])[:size]] if size else np.zeros((0, 2))
    cost = np.array([0.0, 0.3, 0.6, 0.84, 0.9])
    mean, deviation = rng.normal(0.7, 0.5, 5), rng.uniform(0.1, 1.0, 5)
    said = expected_hypervolume_improvement(plain(mean, deviation), cost, front[::-1], reference)

    losses, bound = front * [1, -1], np.array([reference[0], -reference[1]])
    before = hypervolume(losses, bound)
    drawn = []
    for c, m, s in zip(cost, mean, deviation, strict=True):
        # quantiles of the normal instead of random draws: the mean is off by far less
        values = m + s * NOISE
        gains = [hypervolume(np.vstack([losses, [c, -v]]), bound) - before for v in values]
        drawn.append(np.mean(gains))
    assert said == pytest.approx(drawn, rel=0.02, abs=2e-3)


def _quantiles(n: int) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(n) + 0.5) / n))


NOISE = _quantiles(400)


@pytest.mark.parametrize("height", [-1.0, 0.0, 0.35, 0.9, 1.2, 3.0])
def test_what_is_gained_as_measured_is_the_mean_of_draws(height: float) -> None:
    targets = np.array([-1.5, -0.5, 0.0, 0.4, 1.5])
    measured = np.array([0.0, 0.1, 0.7, 0.8, 1.0])  # an outlier, a steep part, a flat one
    back = InverseWarp.fit(targets, measured)
    assert back(targets) == pytest.approx(measured)
    mean, deviation = np.array([-2.0, 0.1, 1.4, 2.5]), np.array([0.5, 1.0, 0.2, 2.0])
    said = back.expected_improvement_over(mean, deviation)(height)
    drawn = np.maximum(back(mean[:, None] + deviation[:, None] * NOISE) - height, 0).mean(1)
    assert said == pytest.approx(drawn, rel=0.02, abs=2e-3)


def test_the_way_back_goes_on_above_the_best_and_knows_few_knots() -> None:
    many = np.linspace(-2, 2, 500)
    back = InverseWarp.fit(many, np.exp(many))
    assert len(back.knots) <= 64
    assert back(many) == pytest.approx(np.exp(many), rel=0.01)
    missing = InverseWarp.fit(np.array([-1.0, 0.0, 1.0]), np.array([-np.inf, 0.2, 0.3]))
    assert missing(np.array([-1.0, 0.0])) == pytest.approx([0.2, 0.2])
    assert np.isfinite(missing.expected_improvement_over(np.zeros(1), np.ones(1))(0.1)).all()
    assert back(np.array([-9.0])) == pytest.approx(np.exp(-2))
    assert back(np.array([3.0])) > back(np.array([2.0]))


def test_a_cheaper_one_gains_more_and_what_costs_too_much_gains_nothing() -> None:
    front = np.array([[0.2, 0.5], [0.6, 1.0]])
    cost = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, np.inf])
    over = plain(np.full(8, 1.5), np.full(8, 0.1))
    said = expected_hypervolume_improvement(over, cost, front, (1.0, 0.0))
    assert (np.diff(said[:6]) < 0).all()
    assert said[5:] == pytest.approx(0)


def test_a_front_beyond_the_reference_counts_no_further_than_it() -> None:
    front = np.array([[2.0, 1.0]])
    over = plain(np.array([5.0]), np.zeros(1))
    said = expected_hypervolume_improvement(over, np.zeros(1), front, (1.0, 0.0))
    assert said == pytest.approx([5.0])


def test_chebyshev_goes_by_the_worst_objective_first() -> None:
    weights = np.array([0.5, 0.5])
    balanced, lopsided, dominated = augmented_chebyshev(
        np.array([[0.6, 0.6], [1.0, 0.3], [0.6, 0.5]]), weights
    )
    assert balanced > lopsided  # the sum of the second is larger
    assert balanced > dominated


def test_chebyshev_tells_what_is_better_elsewhere_too() -> None:
    """The part that ParEGO adds: of two with the same worst the other objectives decide."""
    worse, better = augmented_chebyshev(np.array([[0.2, 0.5], [0.2, 0.9]]), np.array([0.9, 0.1]))
    assert better > worse


def test_chebyshev_follows_the_weights() -> None:
    values = np.array([[1.0, 0.2], [0.2, 1.0]])
    assert np.argmax(augmented_chebyshev(values, np.array([0.9, 0.1]))) == 0
    assert np.argmax(augmented_chebyshev(values, np.array([0.1, 0.9]))) == 1
