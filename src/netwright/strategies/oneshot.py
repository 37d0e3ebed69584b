"""Search over shared weights: what a supernet prefers is trained by itself before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf
from typing import Any

from netwright.errors import InputError, check_whole
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.strategy import RNG, Algorithm, Problem, Strategy, potential_parents
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import SUPERNET, Proposal, Status, Trial

_AROUND = f"{SUPERNET}, "
"""Before the origin of what is proposed around the shortlist, so that a trial tells where it is from."""
_LOOKED_AT = 4
"""Candidates for each that is wanted, to find different networks among them."""


@dataclass(frozen=True)
class OneShot:
    """Trains a supernet by `method` first, then proposes the best `candidates` that it prefers.

    When they have been evaluated, `then` goes on around the best of them: what the supernet could
    not search (learning rates, widths) is searched with its architecture fixed. Where nothing is
    left open in that way, `then` has the whole space; where shared weights are not to be trusted,
    it has that after `candidates` trials around the best. The origin of every trial with an
    architecture of the shortlist begins with "supernet".
    `search` judges sub-networks by the weights they inherit, where the method only trains those
    (single path, ENAS).
    """

    method: Any
    n_candidates: int = 5
    search: Algorithm = RegularizedEvolution(population=50, tournament_size=10)  # noqa: RUF009  # frozen
    then: Algorithm = Bayesian()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        check_whole("candidates", self.n_candidates, 1)
        for name in ("search", "then"):
            object.__setattr__(self, name, as_algorithm(getattr(self, name)))
        if isinstance(self.method, type):  # a class of settings: their defaults
            object.__setattr__(self, "method", self.method())

    def __call__(self, problem: Problem) -> Strategy:
        return _OneShot(self, problem)


class _OneShot:
    """First the shortlist; then, when all of it has ended, the searches that go on from there."""

    def __init__(self, settings: OneShot, problem: Problem) -> None:
        if problem.supernet is None:
            raise InputError(
                "a search over shared weights must be given networks to train, got none. Use it by "
                "itself, with an evaluator that trains them such as TrainAndValidate."
            )
        # one supernet: who follows, or searches among its networks, trains none
        self._settings, self._problem = settings, replace(problem, supernet=None)
        settings.then(self._problem)  # refused now, not when the supernet has been trained
        make = partial(_searcher, settings.search, replace(self._problem, fidelities=()))
        self.preparation = problem.supernet(settings.method, make)
        self._log: list[Trial] = []
        self._trials: dict[int, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self._log.append(trial)
        self._trials[trial.id] = trial

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        if n < 1 or not self.preparation.over:
            return []
        started = {trial.candidate for trial in self._trials.values()}
        if left := [one for one in self._listed if one not in started]:
            return [Proposal(one, origin=SUPERNET) for one in left[:n]]
        if any(trial.status is Status.RUNNING for trial in self._of_the_list):
            return []  # which is the best is not known yet
        for follower in self._followers:
            follower.hear(self._log)
            if not follower.room:
                continue
            proposals = [self._named(one) for one in follower.ask(n, rng)]
            if proposals or any(one.status is Status.RUNNING for one in self._trials.values()):
                return proposals
        return []

    def _named(self, proposal: Proposal) -> Proposal:
        """With an origin that tells whether its architecture is one of the shortlist."""
        if self._architecture(proposal.candidate) not in self._architectures:
            return proposal
        return replace(proposal, origin=f"{_AROUND}{proposal.origin}")

    @cached_property
    def _architectures(self) -> set[Candidate]:
        return {self._architecture(one) for one in self._listed}

    def _architecture(self, candidate: Candidate) -> Candidate:
        """What the supernet has searched of the candidate."""
        held = self.preparation.held
        return Candidate({path: v for path, v in candidate.values.items() if path not in held})

    @property
    def potential_parents(self) -> set[int]:
        """Who may have children: any trial, until it is known who goes on from the list."""
        if not self._is_list_over:
            return {one.id for one in self._trials.values() if one.status is Status.DONE}
        found: set[int] = set()
        for follower in self._followers:
            follower.hear(self._log)
            found.update(potential_parents(follower.strategy))
        return found

    @property
    def _is_list_over(self) -> bool:
        """Whether all of the shortlist has ended."""
        if not self.preparation.over:
            return False
        of_the_list = self._of_the_list
        started = {trial.candidate for trial in of_the_list}
        running = any(trial.status is Status.RUNNING for trial in of_the_list)
        return not running and started.issuperset(self._listed)

    @cached_property
    def _listed(self) -> Sequence[Candidate]:
        """Different networks: what is the same under another writing is trained once."""
        canonical = self._problem.knowledge.canonical
        different: dict[str, Candidate] = {}
        for candidate in self.preparation.candidates(_LOOKED_AT * self._settings.n_candidates):
            different.setdefault(canonical(candidate), candidate)
            if len(different) == self._settings.n_candidates:
                break  # a canonical form takes a while
        return [*different.values()]

    @property
    def _of_the_list(self) -> list[Trial]:
        return [one for one in self._trials.values() if one.candidate in self._listed]

    @cached_property
    def _followers(self) -> list[_Follower]:
        """Around the best of the list, then everywhere; found once, when the list has ended."""
        space, then = self._problem.space, self._settings.then
        followers = [_Follower(then(self._problem), space)]
        if (best := self._best) is not None:
            around = self._architecture(best).values
            if len(around) < len(best.values):
                space = space.fix(around)
                most = inf if self.preparation.trusted else self._settings.n_candidates
                strategy = then(replace(self._problem, space=space))
                followers.insert(0, _Follower(strategy, space, most))
        return followers

    @property
    def _best(self) -> Candidate | None:
        """The best of the list within the limits, or without, where none keeps them."""
        objectives, limits = self._problem.objectives, self._problem.limits
        for wanted in (limits, ()):
            if front := pareto_front(self._of_the_list, objectives, wanted):
                return front[0].candidate
        return None


def _searcher(
    search: Algorithm, problem: Problem, space: Space[Any], objectives: Sequence[Objective],
    limits: Sequence[Limit],
) -> Strategy:  # fmt: skip
    return search(replace(problem, space=space, objectives=objectives, limits=limits))


class _Follower:
    """A strategy over a part of the space, told of what lies in that part.

    It proposes until so many trials of its part have followed the shortlist.
    """

    def __init__(self, strategy: Strategy, space: Space[Any], most: float = inf) -> None:
        self.strategy, self._space, self._most = strategy, space, most
        self._heard = 0
        self._followed: set[int] = set()

    @property
    def room(self) -> float:
        """How many trials may still follow the shortlist."""
        return max(0, self._most - len(self._followed))

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        """What the strategy proposes."""
        return self.strategy.ask(int(min(n, self.room)), rng)

    def hear(self, log: Sequence[Trial]) -> None:
        """What of the log it has not heard: state that only repeats the log."""
        for trial in log[self._heard :]:
            if self._space.contains(trial.candidate):
                origin = trial.proposal.origin
                if origin.startswith(_AROUND):
                    self._followed.add(trial.id)
                own = replace(trial.proposal, origin=origin.removeprefix(_AROUND))
                self.strategy.tell(replace(trial, proposal=own))
        self._heard = len(log)
