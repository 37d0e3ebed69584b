"""The contract that every strategy we ship keeps; users run the same checks on theirs."""

from collections.abc import Mapping
from typing import Any

import pytest

from netwright.errors import InputError
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.strategy import Algorithm, Problem
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.bananas import Bananas, Npenas
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.bayesian.tpe import TPE
from netwright.strategies.evolution.differential import DifferentialEvolution
from netwright.strategies.evolution.genetic import NSGA2, Genetic
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.local import LocalSearch
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.halving import BOHB, DEHB, Hyperband, SuccessiveHalving
from netwright.strategies.no_search import NoSearch
from netwright.strategies.oneshot import OneShot
from netwright.strategies.random import RandomSearch
from netwright.strategies.reinforcement.policy_gradient import PPO, Reinforce
from netwright.testing import LOSS, StrategyCheck, simulate, strategy_checks
from netwright.trials.objective import Limit
from netwright.trials.trial import Metrics, Status

ALGORITHMS = [
    RandomSearch(), RegularizedEvolution(), Genetic(), NSGA2(), LocalSearch(),
    DifferentialEvolution(), Reinforce(), PPO(), Reinforce("recurrent"),
    PPO("recurrent"), TPE(), Bayesian(), Bananas(), Npenas(),
    SuccessiveHalving(), ASHA(), Hyperband(), BOHB, DEHB, InitialCandidates(RegularizedEvolution()),
]  # fmt: skip
WITHOUT_SEARCH = [
    NoSearch(), InitialCandidates(NoSearch()), ASHA(NoSearch()), Hyperband(NoSearch()),
]  # fmt: skip
CHECKS = [(a, check) for a in (*ALGORITHMS, *WITHOUT_SEARCH) for check in strategy_checks(a)]


@pytest.mark.parametrize(("algorithm", "check"), CHECKS, ids=[f"{a}-{c}" for a, c in CHECKS])
def test_the_contract(algorithm: object, check: StrategyCheck) -> None:
    check()


def balanced(values: Mapping[str, Value]) -> bool:
    return values["a"] == values["b"]


COUPLED = [*ALGORITHMS, ASHA(RegularizedEvolution()), Hyperband(Bayesian())]


@pytest.mark.parametrize("algorithm", COUPLED, ids=map(str, COUPLED))
def test_a_rule_that_forbids_all_neighbours_is_handled(algorithm: Algorithm) -> None:
    space = Space({"a": Integer(0, 15), "b": Integer(0, 15)}, rule=balanced)
    events = simulate(
        algorithm(Problem(space, (LOSS,))), lambda c: {"loss": float(str(c.values["a"]))}, 40
    )
    done = [trial for trial in events if trial.status is Status.DONE]
    full = {trial.candidate for trial in done if trial.proposal.fidelity == 1}
    assert len(full) == 16 or len(done) == 40


COUNT_SETTINGS = {
    RegularizedEvolution: ("population", "tournament_size"),
    Genetic: ("population", "tournament_size", "elites"),
    NSGA2: ("population",),
    DifferentialEvolution: ("population",),
    LocalSearch: ("n_startup_trials",),
    Bayesian: ("n_startup_trials",),
    TPE: ("n_startup_trials", "n_ei_candidates"),
    Bananas: ("n_startup_trials", "batch_size"),
    Npenas: ("n_candidates", "n_parents"),
    Reinforce: ("batch_size",),
    PPO: ("batch_size", "epochs"),
    ASHA: ("min_trials_for_model",),
    Hyperband: ("min_trials_for_model",),
    OneShot: ("n_candidates",),
}


@pytest.mark.parametrize(
    ("settings", "name"),
    [(settings, name) for settings, names in COUNT_SETTINGS.items() for name in names],
)
@pytest.mark.parametrize("wrong", [10.5, 10.0, True, "10"])
def test_settings_that_count_are_whole_numbers(settings: Any, name: str, wrong: object) -> None:
    required = {"method": None} if settings is OneShot else {}
    with pytest.raises(InputError, match=f"{name} must be a whole number of at least"):
        settings(**required, **{name: wrong})


class KnowsTheCost(DefaultKnowledge):
    """The cost is known beforehand: 0 to 6 of the dear options."""

    def metrics(self, candidate: Candidate) -> Metrics:
        return {
            "cost": float(sum(value in ("one", "three") for value in candidate.values.values()))
        }


@pytest.mark.parametrize("algorithm", COUPLED, ids=map(str, COUPLED))
def test_candidates_known_to_violate_a_limit_are_skipped(algorithm: Algorithm) -> None:
    knowledge = KnowsTheCost()

    def measure(candidate: Candidate) -> Metrics:
        cost = knowledge.metrics(candidate)["cost"]
        return {"loss": -cost, "cost": cost}

    space = Space(tuple(OneOf("none", "skip", "one", "three", "pool") for _ in range(6)))
    limit = Limit("cost", at_most=1)
    events = simulate(algorithm(Problem(space, (LOSS,), [limit], knowledge)), measure, 40)
    assert len(events) == 80
    assert all(limit.keeps(knowledge.metrics(trial.candidate)) for trial in events)


def test_if_all_violate_a_limit_the_least_violating_come_first() -> None:
    space = Space({"x": Integer(0, 9), "y": OneOf("one", "pool")})
    problem = Problem(space, (LOSS,), [Limit("cost", at_most=-1)], KnowsTheCost())
    events = simulate(RandomSearch()(problem), lambda _: {"loss": 1.0}, 100)
    asked = [t.candidate.values["y"] for t in events if t.status is Status.RUNNING]
    assert asked == ["pool"] * 10 + ["one"] * 10
