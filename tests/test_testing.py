"""The contract checks find what they are there to find."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from netwright.strategies.base import Algorithm, Problem, Strategy
from netwright.strategies.evolution import RegularizedEvolution
from netwright.strategies.genetic import NSGA2
from netwright.strategies.local import LocalSearch
from netwright.strategies.tpe import TPE
from netwright.testing import strategy_checks


def check(name: str, strategy: object) -> None:
    """Runs the check of that name alone."""
    next(one for one in strategy_checks(strategy) if one.name == name)()


@dataclass(frozen=True)
class NoLimits:
    """Hands the algorithm a problem without its limits."""

    algorithm: Algorithm

    def __call__(self, problem: Problem) -> Strategy:
        return self.algorithm(replace(problem, limits=()))


@pytest.mark.parametrize("algorithm", [RegularizedEvolution(), NSGA2(), LocalSearch(), TPE()])
def test_a_strategy_that_ignores_limits_is_found_out(algorithm: Algorithm) -> None:
    check("limits_are_respected", algorithm)
    with pytest.raises(AssertionError, match="a limit must pull the search inside"):
        check("limits_are_respected", NoLimits(algorithm))
