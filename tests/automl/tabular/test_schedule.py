"""Folds or a holdout, and who goes on to the other folds."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from netwright.automl.tabular.schedule import pace, schedule
from netwright.automl.task_metadata import Brief
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.random import RandomSearch
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics

SMALL = Brief("binary", 500, columns=10, classes=2)


def test_folds_are_as_many_as_the_time_allows() -> None:
    large = replace(SMALL, rows=20_000)
    assert pace(SMALL, 50, 2).folds == 8
    assert pace(large, 5, 2).folds == 1
    some = [pace(large, seconds, 2).folds for seconds in (5, 50, 200, 3000)]
    assert some == sorted(some)
    assert some[-1] == 5
    many = replace(large, classes=26, kind="multiclass")
    assert pace(many, 50, 2).folds == 1  # each class costs a tree a round
    assert pace(replace(SMALL, rows=10**6), 10**6, 2).folds == 1


def test_four_times_the_time_is_for_twice_as_many_candidates_of_twice_the_cost() -> None:
    """A holdout has no average of many: there, fits may take as much more."""
    some = [pace(SMALL, 4 + seconds, 2) for seconds in (47.5, 190, 760)]
    for one, more in pairwise(some):
        assert more.trial_seconds == pytest.approx(2 * (one.trial_seconds or 0))
        assert more.fold_seconds == pytest.approx(2 * one.fold_seconds)
    huge = replace(SMALL, rows=10**6)
    one, more = (pace(huge, 4 + seconds, 2) for seconds in (190, 760))
    assert more.fold_seconds == pytest.approx(4 * one.fold_seconds)


def test_without_a_limit_of_time_no_clock_counts() -> None:
    found = pace(SMALL, None, 2)
    assert (found.folds, found.fold_seconds, found.trial_seconds) == (8, math.inf, None)


def test_a_run_that_goes_on_keeps_its_folds() -> None:
    assert pace(SMALL, 1000, 2, folds=3).folds == 3


@pytest.fixture
def space() -> Space[float]:
    return Space(Float(0.0, 1.0))


def test_the_portfolio_comes_first_and_the_better_half_goes_on(space: Space[float]) -> None:
    first = [Candidate({"": value}) for value in (0.9, 0.1, 0.5, 0.3)]
    problem = Problem(space, (Objective("loss", "min"),), fidelities=(0.2, 0.4, 0.6, 0.8, 1.0))

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": float(candidate.values[""])}  # type: ignore[arg-type]

    strategy = schedule(RandomSearch(), first, folds=5)(problem)
    events = simulate(strategy, measure, trials=12)
    trials = list({one.id: one for one in events}.values())
    low = [one.candidate for one in trials if one.proposal.fidelity < 1]
    full = [one.candidate for one in trials if one.proposal.fidelity == 1]
    assert {one.proposal.fidelity for one in trials} == {0.2, 1.0}
    assert [one.candidate for one in trials if one.proposal.origin == "portfolio"] == first
    assert full[0] == first[0]  # there is an answer at once
    assert first[1] in full
    assert len(low) - 2 <= 2 * len(full[1:]) <= len(low) + 1


def test_a_strategy_with_fidelities_of_its_own_keeps_them() -> None:
    own = ASHA(RegularizedEvolution(), eta=3)
    found = schedule(own, [], folds=5)
    assert isinstance(found, ASHA)
    assert (found.eta, found.promote) == (3, 0.0)
