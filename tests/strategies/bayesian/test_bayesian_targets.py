"""Targets of a surrogate: ranks as scipy has them, and log distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata, spearmanr

from netwright.strategies.bayesian.targets import (
    log_distance_targets,
    mean_ranks,
    rank_correlation,
    rank_targets,
)


@pytest.mark.parametrize("seed", range(5))
def test_mean_ranks_equal_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for values in (rng.normal(size=20), rng.integers(0, 4, 30).astype(float), np.ones(3)):
        assert mean_ranks(values) == pytest.approx(rankdata(values))


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_equals_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 8, 25).astype(float)
    b = a + rng.normal(0, 3, 25).round()
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, np.ones(25)) == 0.0


def test_low_losses_are_high_targets() -> None:
    targets = rank_targets(np.array([3.0, 1.0, 2.0, np.inf]))
    assert targets == pytest.approx(norm.ppf([0.375, 0.875, 0.625, 0.125]))
    assert rank_targets(np.array([1.0, 5.0, 5.0])) == pytest.approx(norm.ppf([5 / 6, 1 / 3, 1 / 3]))


def test_log_distance_targets_have_finer_resolution_near_the_best() -> None:
    targets = log_distance_targets(np.array([0.50, 0.49, 0.30, 0.29]))
    assert (np.diff(targets) > 0).all()
    assert targets.mean() == pytest.approx(0)
    assert targets.std() == pytest.approx(1)
    far, near = targets[1] - targets[0], targets[3] - targets[2]
    assert near > 3 * far  # ranks would make them alike
    worst = log_distance_targets(np.array([0.3, 0.2, 0.1, 0.4, 1e9, np.inf]))
    assert worst[4] == worst[5]
    assert worst[2] - worst[4] < 4  # an outlier leaves room for the others
    assert log_distance_targets(np.array([2.0, 2.0])) == pytest.approx([0, 0])
    assert log_distance_targets(np.array([2.0, np.inf])) == pytest.approx(
        rank_targets(np.array([2.0, np.inf]))
    )
