"""Beliefs earn their weight by what they foretell; none of it is taken from no belief for ever."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from netwright.strategies.bayesian.belief_mixture import (
    QUALITY_SLOPE,
    BeliefMixture,
    belief_trends,
    earned_weights,
)
from netwright.strategies.bayesian.gaussian_process import GaussianProcess, Kernel, View

Array = NDArray[np.float64]

PRIOR = np.array([0.5, 0.25, 0.25])


def mixture(y: Array, scores: Array, seed: int = 0) -> BeliefMixture:
    rows = np.random.default_rng(seed).normal(size=(len(y), 2))
    kernel = Kernel(((0,),), np.ones(1), np.log([0.6, 0.8, 0.05]))
    process = GaussianProcess.at(kernel, [View((rows,))])
    return BeliefMixture.fit(process, belief_trends(scores, QUALITY_SLOPE), y, PRIOR)


def test_a_belief_that_foretells_gains_and_one_that_misleads_loses() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 25))
    none, right, wrong = mixture(0.7 * scores[0] + rng.normal(0, 0.3, 25), scores).weights
    assert right > 0.6
    assert wrong < 0.1
    assert none >= 0.2
    # slopes below 0 are possible, yet far from what is expected: they have to prove themselves
    agreeing, opposite = (
        mixture(sign * 0.7 * scores[0, :6], scores[:, :6]).weights[1] for sign in (1, -1)
    )
    assert opposite < agreeing


def test_few_trials_prove_little() -> None:
    log_likelihoods = np.array([-3.0, -1.0, -6.0])
    few, many = (earned_weights(log_likelihoods, PRIOR, n) for n in (2, 200))
    tempered = PRIOR * np.exp(log_likelihoods * 2 / 7)
    assert few == pytest.approx(tempered / tempered.sum())
    assert abs(few - PRIOR).max() < abs(many - PRIOR).max()


def test_no_belief_keeps_a_fifth_however_well_others_foretell() -> None:
    weights = earned_weights(np.array([-400.0, 0.0, -1.0]), PRIOR, 100)
    assert weights[0] == pytest.approx(0.2)
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > weights[2] > 0
    assert earned_weights(np.array([-5.0]), np.ones(1), 3) == pytest.approx([1.0])


def test_sceptical_predictions_are_those_of_no_belief() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(2, 20))
    fitted = mixture(0.7 * scores[0], scores)
    views = [View((rng.normal(size=(4, 2)),))]
    cross = fitted.processes[0].process.cross(views)
    bases = [trend.basis for trend in belief_trends(rng.normal(size=(2, 4)), QUALITY_SLOPE)]
    plain, _ = fitted.processes[0].predict(cross, bases[0])
    assert fitted.sceptical().mean(cross, bases) == pytest.approx(plain)
    assert fitted.mean(cross, bases) != pytest.approx(plain, abs=0.05)


def test_targets_that_are_taken_as_given_leave_the_weights() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(2, 12))
    fitted = mixture(0.7 * scores[0], scores)
    rows = np.concatenate([fitted.processes[0].process.views[0].blocks[0], rng.normal(size=(3, 2))])
    process = GaussianProcess.at(fitted.processes[0].process.kernel, [View((rows,))])
    bases = [trend.basis for trend in belief_trends(rng.normal(size=(2, 3)), QUALITY_SLOPE)]
    more = fitted.with_targets(process, bases, np.array([3.0, 3.0, 3.0]))
    assert np.array_equal(more.weights, fitted.weights)
    assert len(more.processes[1].y) == 15
    assert more.processes[1].coefficients != pytest.approx(fitted.processes[1].coefficients)
