"""Potential parents are declared before children are proposed, so that their files are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netwright.interfaces.strategy import RNG, Algorithm, Problem, Strategy, potential_parents
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.bananas import Bananas
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.evolution.differential import DifferentialEvolution
from netwright.strategies.evolution.genetic import NSGA2, Genetic
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.local import LocalSearch
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.halving import Hyperband, SuccessiveHalving
from netwright.strategies.random import RandomSearch
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Proposal, Trial

SPACE = Space(tuple(OneOf(*"abcde") for _ in range(6)))
PROBLEM = Problem(SPACE, (Objective("loss", "min"),))


def measure(candidate: Candidate) -> Metrics:
    letters = ["abcde".index(str(letter)) for letter in candidate.values.values()]
    return {"loss": float(sum(letters) + 3 * (letters[0] == letters[1]))}


class Witness:
    """Record proposals whose parents the strategy did not declare beforehand."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.undeclared: list[tuple[Proposal, set[int]]] = []
        self.n_with_parents = 0

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        declared = set(potential_parents(self.strategy))
        proposals = list(self.strategy.ask(n, rng))
        self.n_with_parents += sum(bool(proposal.parents) for proposal in proposals)
        self.undeclared += [
            (proposal, declared) for proposal in proposals if not {*proposal.parents} <= declared
        ]
        return proposals

    def tell(self, trial: Trial) -> None:
        self.strategy.tell(trial)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "algorithm",
    [
        RegularizedEvolution(), Genetic(population=8), NSGA2(population=8), LocalSearch(),
        DifferentialEvolution(population=8), Bayesian(), Bananas(), ASHA(RegularizedEvolution()),
        Hyperband(DifferentialEvolution(), random_fraction=0), SuccessiveHalving(),
    ],
    ids=str,
)  # fmt: skip
def test_parents_were_declared_beforehand(algorithm: Algorithm, workers: int) -> None:
    witness = Witness(algorithm(PROBLEM))
    simulate(witness, measure, 60, workers=workers)
    assert witness.n_with_parents > 5
    assert witness.undeclared == []


def test_discarded_individuals_are_no_longer_potential_parents() -> None:
    strategy = RegularizedEvolution(population=5)(PROBLEM)
    simulate(strategy, measure, 30)
    assert set(potential_parents(strategy)) == {26, 27, 28, 29, 30}


def test_declaring_potential_parents_is_optional() -> None:
    assert set(potential_parents(RandomSearch()(PROBLEM))) == set()


def started(algorithm: Algorithm, space: Space[Any], trials: int) -> list[Trial]:
    log = simulate(algorithm(Problem(space, PROBLEM.objectives)), measure, trials)
    return [trial for trial in log if not trial.metrics]


def test_model_proposals_near_a_trial_have_it_as_parent() -> None:
    """The parent is one edit away, or two; else the proposal has none."""
    log = started(Bayesian(), SPACE, 40)
    values_of = {trial.id: trial.candidate.values for trial in log}
    edits = []
    for trial in log:
        if trial.proposal.origin == "model" and trial.proposal.parents:
            (parent,) = trial.proposal.parents
            assert parent < trial.id
            changed = [path for path, value in trial.candidate.values.items()
                       if values_of[parent][path] != value]  # fmt: skip
            edits.append(len(changed))
    assert len(edits) > 20
    assert set(edits) <= {1, 2}
    assert edits.count(1) > len(edits) / 2
    assert np.mean([bool(trial.proposal.parents) for trial in log[:5]]) == 0  # those are spread out
