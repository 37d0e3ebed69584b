"""One-shot search: train a supernet, then evaluate its best architectures from scratch."""

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

_SHORTLIST_PREFIX = f"{SUPERNET}, "
"""Prefix of the origin of later proposals whose architecture is in the shortlist."""
_OVERSAMPLING_FACTOR = 4
"""Candidates requested per shortlist entry, since several may be the same network."""


@dataclass(frozen=True)
class OneShot:
    """Train a supernet by `method`, evaluate its best candidates, then continue with `then`.

    After the shortlist has been evaluated, `then` searches around its best candidate: decisions
    that the supernet could not search (learning rate, widths) stay open, the architecture is fixed.
    If that leaves nothing open, `then` searches the whole space. If shared weights turned out to be
    unreliable, it moves to the whole space after `n_candidates` trials around the best candidate.
    The origin of every trial whose architecture is in the shortlist begins with "supernet".

    Args:
        method: How the supernet is trained, such as `DifferentiableNAS` or `SinglePathNAS`, or the
            class of such settings.
        n_candidates: Architectures of the supernet that are trained from scratch. At least 1.
        search: Searches for sub-networks by the accuracy they have with inherited weights, where
            the method only trains the weights (single path, ENAS).
        then: The algorithm that continues after the shortlist.

    Raises:
        InputError: A setting is invalid, or the evaluator trains no networks (raised when called).

    Example:
        >>> strategy = nw.OneShot(nw.DifferentiableNAS(nw.GDAS()), n_candidates=3)
        >>> study = nw.Study(space, evaluator, strategy=strategy, objectives=["accuracy"])
    """

    method: object
    n_candidates: int = 5
    search: Algorithm = RegularizedEvolution(population=50, tournament_size=10)  # noqa: RUF009  # frozen
    then: Algorithm = Bayesian()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        check_whole("n_candidates", self.n_candidates, 1)
        for name in ("search", "then"):
            object.__setattr__(self, name, as_algorithm(getattr(self, name)))
        if isinstance(self.method, type):  # a class of settings: use the defaults
            object.__setattr__(self, "method", self.method())

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`, whose supernet is trained as its preparation."""
        return OneShotStrategy(self, problem)


class OneShotStrategy:
    """The strategy made by `OneShot`: the shortlist first, then the follow-up searches."""

    def __init__(self, settings: OneShot, problem: Problem) -> None:
        if problem.supernet is None:
            raise InputError(
                "a search over shared weights must be given networks to train, got none. Use it by "
                "itself, with an evaluator that trains them such as TrainAndValidate."
            )
        # a single supernet: neither the follow-up nor the sub-network search may train another
        self._settings, self._problem = settings, replace(problem, supernet=None)
        settings.then(self._problem)  # fail now rather than after the supernet has been trained
        make = partial(_make_subnet_search, settings.search, replace(self._problem, fidelities=()))
        self.preparation = problem.supernet(settings.method, make)
        self._log: list[Trial] = []
        self._trials: dict[int, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self._log.append(trial)
        self._trials[trial.id] = trial

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        if n < 1 or not self.preparation.is_over:
            return []
        started = {trial.candidate for trial in self._trials.values()}
        if waiting := [candidate for candidate in self._shortlist if candidate not in started]:
            return [Proposal(candidate, origin=SUPERNET) for candidate in waiting[:n]]
        if any(trial.status is Status.RUNNING for trial in self._shortlist_trials):
            return []  # the best one is not known yet
        for follow_up in self._follow_ups:
            follow_up.replay(self._log)
            if not follow_up.n_remaining:
                continue
            proposals = [self._mark_origin(proposal) for proposal in follow_up.ask(n, rng)]
            if proposals or any(trial.status is Status.RUNNING for trial in self._trials.values()):
                return proposals
        return []

    def _mark_origin(self, proposal: Proposal) -> Proposal:
        """Prefix the origin if the proposal's architecture is in the shortlist."""
        if self._architecture_of(proposal.candidate) not in self._shortlisted_architectures:
            return proposal
        return replace(proposal, origin=f"{_SHORTLIST_PREFIX}{proposal.origin}")

    @cached_property
    def _shortlisted_architectures(self) -> set[Candidate]:
        return {self._architecture_of(candidate) for candidate in self._shortlist}

    def _architecture_of(self, candidate: Candidate) -> Candidate:
        """Return the decisions that the supernet searched."""
        not_searched = self.preparation.held
        return Candidate(
            {path: value for path, value in candidate.values.items() if path not in not_searched}
        )

    @property
    def potential_parents(self) -> set[int]:
        """All finished trials until the shortlist is done; then those of the follow-up searches."""
        if not self._is_shortlist_done:
            return {trial.id for trial in self._trials.values() if trial.status is Status.DONE}
        ids: set[int] = set()
        for follow_up in self._follow_ups:
            follow_up.replay(self._log)
            ids.update(potential_parents(follow_up.strategy))
        return ids

    @property
    def _is_shortlist_done(self) -> bool:
        """Return whether every candidate of the shortlist has been evaluated."""
        if not self.preparation.is_over:
            return False
        trials = self._shortlist_trials
        started = {trial.candidate for trial in trials}
        running = any(trial.status is Status.RUNNING for trial in trials)
        return not running and started.issuperset(self._shortlist)

    @cached_property
    def _shortlist(self) -> Sequence[Candidate]:
        """The supernet's best candidates that are different networks (by canonical form)."""
        canonical = self._problem.knowledge.canonical
        n_candidates = self._settings.n_candidates
        distinct: dict[str, Candidate] = {}
        for candidate in self.preparation.candidates(_OVERSAMPLING_FACTOR * n_candidates):
            distinct.setdefault(canonical(candidate), candidate)
            if len(distinct) == n_candidates:
                break  # computing a canonical form is slow
        return [*distinct.values()]

    @property
    def _shortlist_trials(self) -> list[Trial]:
        return [trial for trial in self._trials.values() if trial.candidate in self._shortlist]

    @cached_property
    def _follow_ups(self) -> list[_FollowUp]:
        """Searches around the best candidate and of the whole space; made once, after the shortlist."""
        space, then = self._problem.space, self._settings.then
        follow_ups = [_FollowUp(then(self._problem), space)]
        if (best := self._best_shortlisted) is not None:
            architecture = self._architecture_of(best).values
            if len(architecture) < len(best.values):
                space = space.fix(architecture)
                max_trials = inf if self.preparation.trusted else self._settings.n_candidates
                strategy = then(replace(self._problem, space=space))
                follow_ups.insert(0, _FollowUp(strategy, space, max_trials))
        return follow_ups

    @property
    def _best_shortlisted(self) -> Candidate | None:
        """The best candidate of the shortlist within the limits; if none is, the best of all."""
        objectives, limits = self._problem.objectives, self._problem.limits
        for enforced_limits in (limits, ()):
            if front := pareto_front(self._shortlist_trials, objectives, enforced_limits):
                return front[0].candidate
        return None


def _make_subnet_search(
    search: Algorithm,
    problem: Problem,
    space: Space[Any],
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
) -> Strategy:
    return search(replace(problem, space=space, objectives=objectives, limits=limits))


class _FollowUp:
    """A strategy over a subspace, told of the trials in it.

    It proposes until `max_trials` trials with a shortlisted architecture have followed the
    shortlist.
    """

    def __init__(self, strategy: Strategy, space: Space[Any], max_trials: float = inf) -> None:
        self.strategy, self._space, self._max_trials = strategy, space, max_trials
        self._n_replayed = 0
        self._counted_trials: set[int] = set()

    @property
    def n_remaining(self) -> float:
        """Return how many more trials this search may propose; may be infinite."""
        return max(0, self._max_trials - len(self._counted_trials))

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        return self.strategy.ask(int(min(n, self.n_remaining)), rng)

    def replay(self, log: Sequence[Trial]) -> None:
        """Tell the strategy of new entries in the log; the state is a function of the log."""
        for trial in log[self._n_replayed :]:
            if self._space.contains(trial.candidate):
                origin = trial.proposal.origin
                if origin.startswith(_SHORTLIST_PREFIX):
                    self._counted_trials.add(trial.id)
                inner = replace(trial.proposal, origin=origin.removeprefix(_SHORTLIST_PREFIX))
                self.strategy.tell(replace(trial, proposal=inner))
        self._n_replayed = len(log)
