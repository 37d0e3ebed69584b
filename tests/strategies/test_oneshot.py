"""What a supernet prefers comes first, then the search around the best of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.strategy import Problem, Strategy, potential_parents
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, OneOf
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.oneshot import OneShot
from netwright.strategies.random import RandomSearch
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial

SPACE: Space[Any] = Space(
    {"a": OneOf("x", "y", "z"), "b": OneOf("x", "y", "z"), "lr": Float(0.0, 1.0)}
)


@dataclass
class FakeShortlist:
    """A shortlist whose preparation is over when the test sets it."""

    shortlist: list[Candidate]
    is_over: bool = True
    trusted: bool = True
    held: Mapping[str, str] = field(default_factory=lambda: {"lr": "no mixture can express it"})
    shortfall: str = ""
    metrics = ()

    def __call__(self, job: Job) -> Metrics:
        return {}

    def give_up(self, reason: str) -> None:
        self.is_over, self.shortlist = True, []

    def progress(self) -> str:
        return ""

    def report(self) -> list[str]:
        return []

    def candidates(self, n: int) -> list[Candidate]:
        return self.shortlist[:n]


def candidate(a: str, b: str, lr: float = 0.0) -> Candidate:
    return Candidate({"a": a, "b": b, "lr": lr})


LISTED = [candidate("x", "y"), candidate("z", "z"), candidate("y", "y"), candidate("x", "x")]


def strategy(shortlist: FakeShortlist, space: Space[Any] = SPACE, **more: Any) -> Strategy:
    problem = Problem(space, (Objective("loss", "min"),), supernet=lambda method, make: shortlist)
    return OneShot("any", **{"n_candidates": 3, "then": RandomSearch(), **more})(problem)


class Run:
    """Trials one after the other."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy, self.trials = strategy, 0

    def ask(self, n: int = 1) -> list[Proposal]:
        return [*self.strategy.ask(n, np.random.default_rng(self.trials))]

    def start(self, proposal: Proposal) -> Trial:
        self.trials += 1
        trial = Trial(self.trials, proposal, 0)
        self.strategy.tell(trial)
        return trial

    def end(self, trial: Trial, loss: float | None) -> None:
        status = Status.INFEASIBLE if loss is None else Status.DONE
        metrics = {} if loss is None else {"loss": loss}
        self.strategy.tell(Trial(trial.id, trial.proposal, 0, status, metrics))

    def do(self, *losses: float | None) -> None:
        for loss in losses:
            self.end(self.start(self.ask()[0]), loss)


class OnlyTheFirst(DefaultKnowledge):
    """Knows that b makes no difference."""

    def canonical(self, candidate: Candidate) -> str:
        return str(candidate.values["a"])


def test_equivalent_networks_are_trained_once() -> None:
    problem = Problem(
        SPACE, (Objective("loss", "min"),), knowledge=OnlyTheFirst(),
        supernet=lambda method, make: FakeShortlist([LISTED[0], LISTED[3], *LISTED[1:3]]),
    )  # fmt: skip
    run = Run(OneShot("any", n_candidates=3)(problem))
    assert [proposal.candidate.values["a"] for proposal in run.ask(9)] == ["x", "z", "y"]


def test_nothing_is_proposed_before_the_preparation_is_over() -> None:
    shortlist = FakeShortlist(LISTED, is_over=False)
    run = Run(strategy(shortlist))
    assert run.ask() == []
    shortlist.is_over = True
    assert [proposal.candidate for proposal in run.ask(9)] == LISTED[:3]
    assert {proposal.origin for proposal in run.ask(9)} == {"supernet"}


def test_after_the_shortlist_the_search_continues_around_its_best() -> None:
    run = Run(strategy(FakeShortlist(LISTED)))
    first, second, third = (run.start(proposal) for proposal in run.ask(3))
    run.end(first, 0.5)
    run.end(second, 0.1)
    assert run.ask() == []  # the third may be the best
    run.end(third, 0.3)
    around = run.ask(20)
    assert len(around) == 20
    assert {
        (proposal.candidate.values["a"], proposal.candidate.values["b"]) for proposal in around
    } == {("z", "z")}
    assert len({proposal.candidate.values["lr"] for proposal in around}) == 20


def test_the_follow_up_is_told_of_best_and_later_trials() -> None:
    then = RegularizedEvolution(population=3, tournament_size=3)
    run = Run(strategy(FakeShortlist(LISTED), then=then))
    run.do(0.5, 0.1, 0.3, 0.4, 0.6, 0.7)
    assert run.ask()[0].origin == "supernet, mutation"


def test_the_follow_up_is_told_its_own_origins() -> None:
    told_origins: list[str] = []

    class Listens:
        """Random search that notes the origin of what it is told."""

        def __init__(self, problem: Problem) -> None:
            self.inner = RandomSearch()(problem)

        def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
            return [replace(proposal, origin="own") for proposal in self.inner.ask(n, rng)]

        def tell(self, trial: Trial) -> None:
            told_origins.append(trial.proposal.origin)

    run = Run(strategy(FakeShortlist(LISTED), then=Listens))
    run.do(0.5, 0.1, 0.3, 0.4)
    assert run.ask()[0].origin == "supernet, own"
    assert told_origins[-2:] == ["own", "own"]  # started and ended


def test_all_trials_are_potential_parents_until_the_shortlist_is_done() -> None:
    then = RegularizedEvolution(population=2, tournament_size=2)
    run = Run(strategy(FakeShortlist(LISTED), then=then))
    first, second, third = (run.start(proposal) for proposal in run.ask(3))
    run.end(first, 0.5)
    run.end(third, None)
    assert set(potential_parents(run.strategy)) == {1}
    run.end(second, 0.1)
    assert set(potential_parents(run.strategy)) == {
        1,
        2,
    }  # of the whole space; the best of it is held alone
    run.do(0.4, 0.3)
    assert set(potential_parents(run.strategy)) == {4, 5}
    (proposal,) = run.ask()
    assert set(proposal.parents) <= {4, 5}


def test_there_are_no_potential_parents_without_trials() -> None:
    assert set(potential_parents(strategy(FakeShortlist(LISTED, is_over=False)))) == set()


def test_untrusted_shared_weights_open_the_whole_space() -> None:
    run = Run(strategy(FakeShortlist(LISTED, held={})))
    run.do(0.5, 0.1, 0.3)
    assert len({proposal.candidate.values["a"] for proposal in run.ask(20)}) == 3
    run = Run(strategy(FakeShortlist(LISTED, trusted=False)))
    run.do(0.5, 0.1, 0.3)
    around = run.ask(20)  # what was held for the best is tried in as many trials as it has rivals
    assert [proposal.candidate.values["a"] for proposal in around] == ["z"] * 3
    for proposal in around:
        run.start(proposal)
    everywhere = run.ask(20)  # nobody waits for these to end
    assert len({proposal.candidate.values["a"] for proposal in everywhere}) == 3


def test_origins_tell_whether_the_architecture_is_shortlisted() -> None:
    run = Run(strategy(FakeShortlist(LISTED, trusted=False), n_candidates=1))
    run.do(0.5, 0.4)
    shortlisted = {(candidate.values["a"], candidate.values["b"]) for candidate in LISTED[:1]}
    for proposal in run.ask(40):
        is_shortlisted = (
            proposal.candidate.values["a"],
            proposal.candidate.values["b"],
        ) in shortlisted
        assert proposal.origin == ("supernet, random" if is_shortlisted else "random")


def test_after_a_failed_supernet_the_follow_up_searches_everything() -> None:
    shortlist = FakeShortlist(LISTED, is_over=False)
    shortlist.give_up("it ran out of memory")
    assert (
        len({proposal.candidate.values["a"] for proposal in Run(strategy(shortlist)).ask(20)}) == 3
    )
    run = Run(strategy(FakeShortlist(LISTED)))
    run.do(None, None, None)  # nothing of the list could be trained
    assert len({proposal.candidate.values["a"] for proposal in run.ask(20)}) == 3


def test_an_exhausted_neighbourhood_opens_the_whole_space() -> None:
    space: Space[Any] = Space({"a": OneOf("x", "y", "z"), "b": OneOf("x", "y")})
    shortlisted = [Candidate({"a": "y", "b": "x"})]
    run = Run(strategy(FakeShortlist(shortlisted, held={"b": "held"}), space, n_candidates=1))
    run.do(0.5, 0.4, 0.3, 0.2, 0.1, 0.6)
    assert run.ask() == []
    assert run.trials == 6


def test_ask_is_pure_and_the_log_is_the_state() -> None:
    first, second = (Run(strategy(FakeShortlist(LISTED))) for _ in range(2))
    for loss in (0.5, 0.1, 0.3, 0.4, 0.2, 0.3, 0.9):
        for _ in range(3):
            first.ask(4)
        first.do(loss)
        second.do(loss)
    assert [proposal.candidate for proposal in first.ask(5)] == [
        proposal.candidate for proposal in second.ask(5)
    ]


def test_an_evaluator_without_networks_is_an_error() -> None:
    sentence = "must be given networks to train, got none"
    with pytest.raises(InputError, match=sentence):
        OneShot("any")(Problem(SPACE, (Objective("loss", "min"),)))
    problem = Problem(
        SPACE, (Objective("loss", "min"),), supernet=lambda method, make: FakeShortlist(LISTED)
    )
    with pytest.raises(InputError, match=sentence):  # nobody would prepare it in there
        ASHA(OneShot("any"))(problem)
    with pytest.raises(InputError, match="candidates must be at least 1, got 0"):
        OneShot("any", n_candidates=0)


def test_then_is_an_algorithm_or_the_class_of_its_settings() -> None:
    assert OneShot("any", then=RandomSearch).then == RandomSearch()  # type: ignore[arg-type]  # accepted everywhere
    with pytest.raises(InputError, match="strategy must be an object with ask and tell"):
        OneShot("any", then="bayesian")  # type: ignore[arg-type]  # wrong
    assert OneShot(RandomSearch).method == RandomSearch()
    with pytest.raises(
        InputError, match=r"got Settings\. Wrap the settings of a supernet: OneShot"
    ):
        as_algorithm(type("Settings", (), {})())
