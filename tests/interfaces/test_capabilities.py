"""What wraps an evaluator or an algorithm hands everything on that it does not change itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.evaluators.wrappers import cached, cascade, combine
from netwright.interfaces.checks import check_evaluator
from netwright.interfaces.evaluator import Capabilities, Evaluator, capabilities_of, merged
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.preparation import Preparation
from netwright.interfaces.strategy import (
    RNG,
    Algorithm,
    Problem,
    Strategy,
    potential_parents,
    preparation,
)
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.halving import Hyperband, SuccessiveHalving
from netwright.strategies.oneshot import OneShot
from netwright.study.preparation_job import EvaluatorWithPreparation
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Job, Metrics, Proposal, Trial

SPACE: Space[Any] = Space({"a": OneOf(1, 2, 3), "b": OneOf(1, 2, 3)})
PREPARATION: Any = object()


def make_supernet(*_: Any) -> Any:
    raise AssertionError("not asked for")


def warm_up() -> None:
    WARMED.append(1)


WARMED: list[int] = []
OTHER = Capabilities(
    fidelities=(0.5, 1.0),
    knowledge=DefaultKnowledge(),
    make_supernet_search=make_supernet,
    leaves_files=True,
    keeps=3,
    cost_metric="flops",
    fingerprint={"inherit": "0.5"},
    warm_up=warm_up,
)
"""None of its fields is the default."""


@dataclass(frozen=True)
class Measuring:
    capabilities: Capabilities = Capabilities()  # noqa: RUF009  # frozen
    metrics: tuple[str, ...] = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        return dict.fromkeys(self.metrics, 0.0)


PLAIN = Measuring(metrics=("cost",))
WRAPPERS: dict[str, Callable[[Evaluator], Evaluator]] = {
    "cached": cached,
    "cascade": lambda inner: cascade(PLAIN, inner),
    "combine": lambda inner: combine(inner, PLAIN),
    "preparation": lambda inner: EvaluatorWithPreparation(inner, PREPARATION),
}
NAMES = [field.name for field in fields(Capabilities)]


def only(name: str) -> Capabilities:
    """With one field that is not the default."""
    return Capabilities(**{name: getattr(OTHER, name)})


@pytest.mark.parametrize("name", NAMES)
def test_no_field_is_the_default_here(name: str) -> None:
    assert getattr(OTHER, name) != getattr(Capabilities(), name)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", NAMES)
def test_each_capability_passes_through_each_wrapper(name: str, wrapper: str) -> None:
    inner = Measuring(only(name))
    if wrapper == "cached" and name in ("leaves_files", "keeps"):
        with pytest.raises(InputError, match="leaves files"):
            cached(inner)
        return
    got = getattr(capabilities_of(WRAPPERS[wrapper](inner)), name)
    if name == "warm_up":
        WARMED.clear()
        got()
        assert WARMED == [1]
    else:
        assert got == getattr(OTHER, name)


def test_capabilities_of_several_evaluators_are_merged() -> None:
    less = Capabilities(fidelities=(0.25, 0.5, 1.0), keeps=1, fingerprint={"folds": "5"})
    both = merged([Capabilities(), less, OTHER])
    assert both.fidelities == (0.5, 1.0)
    assert both.knowledge is OTHER.knowledge
    assert (both.keeps, both.leaves_files) == (3, True)
    assert both.fingerprint == {"folds": "5", "inherit": "0.5"}


def test_a_function_with_metrics_has_the_defaults() -> None:
    def evaluator(job: Job) -> Metrics:
        return {"loss": 0.0}

    evaluator.metrics = ("loss",)  # type: ignore[attr-defined]
    check_evaluator(evaluator)
    assert capabilities_of(evaluator) == Capabilities()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_capability_outside_capabilities_is_refused(name: str) -> None:
    def evaluator(job: Job) -> Metrics:
        return {"loss": 0.0}

    evaluator.metrics = ("loss",)  # type: ignore[attr-defined]
    setattr(evaluator, name, getattr(OTHER, name))
    with pytest.raises(InputError, match=rf"{name} must be declared .* Capabilities\({name}=...\)"):
        check_evaluator(evaluator)


@pytest.mark.parametrize("fidelities", [(0.0, 1.0), (0.5, 1.5)])
def test_fidelities_are_shares(fidelities: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="fidelities must be in"):
        Capabilities(fidelities=fidelities)


# Algorithms over others


class Inner:
    """A strategy with both optional parts; says what problem it was given."""

    given: Problem

    def __init__(self, problem: Problem) -> None:
        Inner.given = problem
        self.potential_parents = {7}
        self.preparation: Preparation = PREPARATION
        self.heard: list[Trial] = []

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        return [Proposal(SPACE.sample(rng)) for _ in range(n)]

    def tell(self, trial: Trial) -> None:
        self.heard.append(trial)


class List:
    """A shortlist of one candidate that is over."""

    metrics = ()
    is_over = trusted = True
    held: dict[str, str] = {}  # noqa: RUF012
    shortfall = ""

    def candidates(self, number: int) -> list[Candidate]:
        return [SPACE.default()]


PROBLEM = Problem(
    SPACE, (Objective("loss", "min"),), (Limit("cost", at_most=3.0),), DefaultKnowledge(), (0.5, 1.0),
    lambda method, make: List(),  # type: ignore[arg-type, return-value]  # as far as it matters
)  # fmt: skip
CHANGED: dict[str, tuple[Algorithm, set[str]]] = {
    "InitialCandidates": (InitialCandidates(Inner), set()),
    "OneShot": (OneShot("a method", then=Inner), {"supernet"}),
    "ASHA": (ASHA(Inner), {"fidelities", "supernet"}),
    "SuccessiveHalving": (SuccessiveHalving(Inner), {"fidelities", "supernet"}),
    "Hyperband": (Hyperband(Inner), {"fidelities", "supernet"}),
}
"""Algorithms over others, and the parts of the problem that they do not hand on."""


@pytest.mark.parametrize("name", CHANGED)
def test_an_inner_algorithm_gets_all_of_the_problem(name: str) -> None:
    algorithm, changed = CHANGED[name]
    algorithm(PROBLEM)
    for part in fields(Problem):
        same = getattr(Inner.given, part.name) == getattr(PROBLEM, part.name)
        assert same is (part.name not in changed), part.name


@pytest.mark.parametrize("name", CHANGED)
def test_potential_parents_of_an_inner_strategy_are_handed_on(name: str, tmp_path: Path) -> None:
    strategy = CHANGED[name][0](PROBLEM)
    if name == "OneShot":  # who follows a list is asked once the list has ended
        end_the_list(strategy)
    assert 7 in set(potential_parents(strategy))


def end_the_list(strategy: Strategy) -> None:
    (proposal,) = strategy.ask(1, np.random.default_rng(0))
    for status in ("running", "infeasible"):
        strategy.tell(Trial(1, proposal, 0, status))  # type: ignore[arg-type]


def test_the_preparation_of_a_seeded_strategy_is_done() -> None:
    assert preparation(InitialCandidates(Inner, (SPACE.default(),))(PROBLEM)) is PREPARATION


@pytest.mark.parametrize("outer", [ASHA, SuccessiveHalving, Hyperband])
def test_a_supernet_inside_of_a_rung_is_refused(outer: Any) -> None:
    with pytest.raises(InputError, match="Use it by itself"):
        outer(OneShot("a method"))(PROBLEM)


def test_a_supernet_that_would_follow_another_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="Use it by itself"):
        OneShot("a method", then=OneShot("another"))(PROBLEM)
