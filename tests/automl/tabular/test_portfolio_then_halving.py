"""What is evaluated first, and who goes on to the other folds."""

from __future__ import annotations

import pytest

from netwright.automl.tabular.portfolio_then_halving import portfolio_then_halving
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


@pytest.fixture
def space() -> Space[float]:
    return Space(Float(0.0, 1.0))


def test_portfolio_is_evaluated_first_and_better_half_promoted(space: Space[float]) -> None:
    first = [Candidate({"": value}) for value in (0.9, 0.1, 0.5, 0.3)]
    problem = Problem(space, (Objective("loss", "min"),), fidelities=(0.2, 0.4, 0.6, 0.8, 1.0))

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": float(candidate.values[""])}  # type: ignore[arg-type]

    strategy = portfolio_then_halving(RandomSearch(), first, n_folds=5)(problem)
    events = simulate(strategy, measure, n_trials=12)
    trials = list({one.id: one for one in events}.values())
    low = [one.candidate for one in trials if one.proposal.fidelity < 1]
    full = [one.candidate for one in trials if one.proposal.fidelity == 1]
    assert {one.proposal.fidelity for one in trials} == {0.2, 1.0}
    assert [one.candidate for one in trials if one.proposal.origin == "portfolio"] == first
    assert full[0] == first[0]  # there is an answer at once
    assert first[1] in full
    assert len(low) - 2 <= 2 * len(full[1:]) <= len(low) + 1


def test_multi_fidelity_algorithm_keeps_its_fidelities() -> None:
    own = ASHA(RegularizedEvolution(), eta=3)
    found = portfolio_then_halving(own, [], n_folds=5)
    assert isinstance(found, ASHA)
    assert (found.eta, found.promotion_rate) == (3, 0.0)
