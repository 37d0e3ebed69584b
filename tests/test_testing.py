"""The contract checks find what they are there to find."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netwright
from netwright.errors import InputError
from netwright.interfaces.strategy import Algorithm, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.bayesian.tpe import TPE
from netwright.strategies.evolution.genetic import NSGA2
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.local import LocalSearch
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.testing import LOSS, StrategyCheck, check_strategy, strategy_checks
from netwright.trials.trial import Job, Metrics, Proposal, Trial


def check(name: str, strategy: object) -> None:
    """Runs the check of that name alone."""
    next(each for each in strategy_checks(strategy) if each.name == name)()


@dataclass(frozen=True)
class NoLimits:
    """Hands the algorithm a problem without its limits."""

    algorithm: Algorithm

    def __call__(self, problem: Problem) -> Strategy:
        return self.algorithm(replace(problem, limits=()))


@pytest.mark.parametrize("algorithm", [RegularizedEvolution(), NSGA2(), LocalSearch(), TPE()])
def test_strategy_that_ignores_limits_fails(algorithm: Algorithm) -> None:
    check("limits_are_respected", algorithm)
    with pytest.raises(AssertionError, match="a limit must pull the search inside"):
        check("limits_are_respected", NoLimits(algorithm))


class Draws:
    """Random candidates, none twice: what the wrong ones are made of."""

    def __init__(self, problem: Problem) -> None:
        self.space = problem.space
        self.seen: set[Candidate] = set()

    def ask(self, n: int, rng: np.random.Generator) -> Any:
        drawn = dict.fromkeys(self.space.sample(rng) for _ in range(20))
        return [Proposal(candidate) for candidate in drawn if candidate not in self.seen][:n]

    def tell(self, trial: Trial) -> None:
        self.seen.add(trial.candidate)


class OwnGenerator(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return super().ask(n, np.random.default_rng())


class Impure(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        proposals = super().ask(n, rng)
        self.seen.update(proposal.candidate for proposal in proposals)
        return proposals


class Illegal(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return [Proposal(Candidate({"x": -1}))]


class Bare(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return [proposal.candidate for proposal in super().ask(n, rng)]


class Plain(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return [Proposal(dict(each.candidate.values)) for each in super().ask(n, rng)]  # type: ignore[arg-type]  # wrong on purpose


class Silent(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return None


class Deaf:
    def __init__(self, problem: Problem) -> None: ...

    def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
        return []


class Stumbling(Draws):
    def tell(self, trial: Trial) -> None:
        if trial.status != "running":
            trial.metrics["accuracy"]


class Idle(Draws):
    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return []


IN_A_STUDY = [
    (Illegal, "a strategy must propose candidates of its space: "),
    (Bare, r"what ask gives must be Proposals, got a Candidate. Wrap it: Proposal\(candidate\)"),
    (Plain, "what ask proposes must be a Candidate, got dict"),
    (Silent, "what ask gives must be a list of Proposals, got None"),
    (Deaf, "a strategy must be an object with ask and tell, got Deaf without tell"),
]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        *IN_A_STUDY,
        (OwnGenerator, "ask_draws_from_its_generator_only: the same seed .* from no other"),
        (Impure, "ask_is_pure: ask must not change the strategy"),
        (Stumbling, r"it raised KeyError: 'accuracy' \(test_testing.py, line .*, in tell\)"),
    ],
)
def test_faulty_strategy_fails_with_one_sentence(strategy: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words) as raised:
        check_strategy(strategy)
    assert re.match(r"[a-z_]+: ", str(raised.value))
    assert len(str(raised.value)) <= 300


class Fixed:
    metrics = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        return {"loss": 1.0}


@pytest.mark.parametrize(("strategy", "words"), IN_A_STUDY)
def test_study_refuses_faulty_strategies(strategy: Any, words: str) -> None:
    space = Space({"x": Integer(0, 9)})
    with pytest.raises(InputError, match=words):
        Study(
            space, Fixed(), strategy=strategy, objectives=[LOSS], executor=InProcess()
        ).run(trials=3)  # fmt: skip


@pytest.mark.parametrize("strategy", [Idle, Draws])
@pytest.mark.parametrize("name", ["beats_random_search", "limits_are_respected"])
def test_weak_strategy_fails_without_warnings(strategy: Any, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AssertionError, match=name) as raised:
            check(name, strategy)
    assert "nan" not in str(raised.value)


class DeclaresNoSearch(Draws):
    searches = False


def test_a_search_cannot_declare_that_it_is_none() -> None:
    names = {each.name for each in strategy_checks(DeclaresNoSearch)}
    assert not names & {"beats_random_search", "small_space_is_exhausted"}
    assert "beats_random_search" in {each.name for each in strategy_checks(Draws)}
    with pytest.raises(AssertionError, match="it_stops_by_itself: with searches = False it must"):
        check("it_stops_by_itself", DeclaresNoSearch)


def _documented() -> Any:
    text = (Path(__file__).parents[1] / "docs" / "research.md").read_text()
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "class Climb" in block
    )
    namespace: dict[str, Any] = {"nw": netwright}
    exec(code, namespace)  # our own documentation
    return namespace["Climb"]


@pytest.mark.parametrize("contract_check", strategy_checks(_documented()), ids=str)
def test_documented_strategy_passes(contract_check: StrategyCheck) -> None:
    contract_check()
