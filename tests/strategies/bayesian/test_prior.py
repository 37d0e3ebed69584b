"""What is expected beforehand: ranks as scipy has them, and a slope that doubts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import norm, rankdata, spearmanr

from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.space.candidate import Candidate
from netwright.strategies.bayesian.prior import (
    Prior,
    generalised_least_squares,
    least_squares,
    log_distance_targets,
    mean_ranks,
    rank_correlation,
    rank_targets,
    shrunken_slope,
)
from netwright.trials.trial import Metrics


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


def test_the_slope_is_shrunken_least_squares() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 5, 14, 200):
        x = rng.normal(size=n)
        y = 2.0 * x + rng.normal(0, 0.1, n)
        assert shrunken_slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0] * n / (n + 3))


def test_the_slope_is_never_negative() -> None:
    x = np.linspace(-1, 1, 10)
    assert shrunken_slope(x, -x) == 0.0


def test_an_uncorrelated_prior_is_dropped_after_enough_trials() -> None:
    x = np.arange(15.0)
    y = np.array([1.0, 0, 2] * 5)  # rises by chance
    assert 0 < rank_correlation(x, y) < 0.15
    assert shrunken_slope(x, y) == 0.0
    assert shrunken_slope(x, y, sceptical_after=16) > 0
    assert shrunken_slope(x, x) > 0


def test_the_slope_is_zero_without_trials_or_variance() -> None:
    assert shrunken_slope(np.zeros(0), np.zeros(0)) == 0.0
    assert shrunken_slope(np.array([1.0]), np.array([1.0])) == 0.0
    assert shrunken_slope(np.ones(20), np.arange(20.0)) == 0.0


class Scored(DefaultKnowledge):
    """Two scores and, of some candidates, none."""

    def scores(self, candidate: Candidate) -> Metrics:
        x, y = candidate.values["x"], candidate.values["y"]
        assert isinstance(x, int)
        assert isinstance(y, int)
        return {} if x < 0 else {"size": float(10**x), "zero_cost": float(y)}


def candidates_at(*pairs: tuple[int, int]) -> list[Candidate]:
    return [Candidate({"x": x, "y": y}) for x, y in pairs]


GRID: Sequence[tuple[int, int]] = [(x, y) for x in range(10) for y in range(10)]


def test_scores_are_merged_by_log_ranks() -> None:
    prior = Prior.from_reference(Scored(), candidates_at(*GRID))
    assert prior.names == ("size", "zero_cost")
    best, bad_in_one, middle, worst = prior.scores_of(candidates_at((9, 9), (9, 0), (4, 4), (0, 0)))
    assert best > middle > bad_in_one > worst  # by the sum of ranks the middle two were equal
    share = rankdata([x for x, _ in GRID]) / 101  # (100,)
    expected = np.log(share) + np.log(rankdata([y for _, y in GRID]) / 101)
    assert rankdata(prior.reference_scores) == pytest.approx(rankdata(expected.round(9)))


def test_reference_scores_are_standard_normal() -> None:
    scores = Prior.from_reference(Scored(), candidates_at(*GRID)).reference_scores
    assert scores.mean() == pytest.approx(0, abs=0.02)
    assert scores.std() == pytest.approx(1, abs=0.1)
    assert np.median(scores) == pytest.approx(0, abs=0.05)


def test_only_the_order_of_scores_matters() -> None:
    class Logarithms(Scored):
        def scores(self, candidate: Candidate) -> Metrics:
            return {n: np.log(1 + v) for n, v in super().scores(candidate).items()}

    original, logarithmic = (
        Prior.from_reference(k, candidates_at(*GRID)).reference_scores
        for k in (Scored(), Logarithms())
    )
    assert original == pytest.approx(logarithmic)


def test_candidates_without_a_score_rank_last() -> None:
    prior = Prior.from_reference(Scored(), candidates_at(*GRID, (-1, 0)))
    assert np.argmin(prior.scores_of(candidates_at((0, 0), (-1, 5), (3, 3)))) == 1


def test_without_scores_the_prior_mean_is_zero() -> None:
    prior = Prior.from_reference(DefaultKnowledge(), candidates_at(*GRID))
    assert not prior
    assert prior.scores_of(candidates_at((1, 1), (2, 2))) == pytest.approx([0, 0])


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


def test_generalised_least_squares_finds_slopes_hidden_by_correlation() -> None:
    """Two kinds of candidates; within each the score tells, and the kind with less is better."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0.0, 1.0], 20)
    score = rng.normal(size=40) * 0.3 + np.where(kind == 1, -0.15, 0.15)
    targets = 0.7 * score + 0.4 * kind
    covariance = 0.8 * (kind[:, None] == kind[None, :]) + 0.02 * np.eye(40)
    plain, _ = least_squares(score, targets, lambda: covariance)
    generalised, _ = generalised_least_squares(score, targets, lambda: covariance)
    assert plain < 0.35
    assert generalised == pytest.approx(0.7, abs=0.02)


def test_the_prior_slope_holds_for_few_trials_only() -> None:
    score = np.array([-0.1, 0.1])
    assert generalised_least_squares(score, np.zeros(2), lambda: np.eye(2))[0] == pytest.approx(
        0.7, abs=0.05
    )
    score = np.linspace(-1, 1, 12)
    assert generalised_least_squares(score, -0.1 * score, lambda: 0.1 * np.eye(12))[0] == 0.0
    assert generalised_least_squares(score[:4], -9 * score[:4], lambda: 0.1 * np.eye(4))[0] == 0.0
    assert generalised_least_squares(np.ones(5), np.arange(5.0), lambda: np.eye(5)) == (0.0, 2.0)
