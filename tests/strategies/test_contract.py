"""The contract that every strategy we ship keeps; users run the same checks on theirs."""

import pytest

from netwright.strategies.asha import ASHA
from netwright.strategies.bananas import Bananas, Npenas
from netwright.strategies.bayesian import Bayesian
from netwright.strategies.differential import DifferentialEvolution
from netwright.strategies.evolution import RegularizedEvolution
from netwright.strategies.genetic import NSGA2, Genetic
from netwright.strategies.halving import BOHB, DEHB, Hyperband, SuccessiveHalving
from netwright.strategies.local import LocalSearch
from netwright.strategies.random import RandomSearch
from netwright.strategies.reinforce import PPO, Reinforce
from netwright.strategies.tpe import TPE
from netwright.testing import StrategyCheck, strategy_checks

ALGORITHMS = [
    RandomSearch(), RegularizedEvolution(), Genetic(), NSGA2(), LocalSearch(),
    DifferentialEvolution(), Reinforce(), PPO(), Reinforce("recurrent"),
    PPO("recurrent"), TPE(), Bayesian(), Bananas(), Npenas(),
    SuccessiveHalving(), ASHA(), Hyperband(), BOHB, DEHB,
]  # fmt: skip
CHECKS = [(a, check) for a in ALGORITHMS for check in strategy_checks(a)]


@pytest.mark.parametrize(("algorithm", "check"), CHECKS, ids=[f"{a}-{c}" for a, c in CHECKS])
def test_the_contract(algorithm: object, check: StrategyCheck) -> None:
    check()
