"""Local search: move to the first neighbour that is better; start anew where there is none.

White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021,
arXiv:2005.02960: the variant that moves at the first improvement, from the best of some random
candidates, with restarts.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from netwright.errors import check_whole
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import better, winner
from netwright.trials.trial import Proposal, Trial

_RESTART = "restart"
_LISTED, _SOME = 2000, 200
"""Of more neighbours than can be listed at every ask, so many are drawn."""


@dataclass(frozen=True)
class LocalSearch:
    """First-improvement local search from the best of `initial` random candidates, with restarts.

    A neighbour differs in one decision; of more than 2,000 a random part is looked at. With several
    objectives a move must be better in one and worse in none. Where no neighbour is left, it goes
    on from a new random candidate.
    """

    n_startup_trials: int = 10

    def __post_init__(self) -> None:
        check_whole("initial", self.n_startup_trials, 1)

    def __call__(self, problem: Problem) -> Strategy:
        return _Climb(self, problem)


class _Climb:
    """The strategy of `LocalSearch`; `_here` is where it stands."""

    def __init__(self, settings: LocalSearch, problem: Problem) -> None:
        self.space, self.initial = problem.space, settings.n_startup_trials
        self.objectives, self.limits = problem.objectives, problem.limits
        self._here: Trial | None = None
        self._first = 0
        self._told = ProposalTracker(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        ahead = self._neighbours(self._told.known, rng)

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            started = self._first + len(self._told.running) + asked
            if self._here is None or started < self.initial:
                return propose_unseen(self.space, known, rng)
            while ahead:
                if (candidate := ahead.pop()) not in known:
                    return Proposal(candidate, origin="mutation", parents=(self._here.id,))
            return propose_unseen(self.space, known, rng, _RESTART)

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        if not self._told.record(trial):
            return
        if self._first < self.initial:
            self._first += 1
            here = [self._here] if self._here else []
            self._here = winner([*here, trial], self.objectives, self.limits)
        elif (
            self._here is None
            or trial.proposal.origin == _RESTART
            or better(trial, self._here, self.objectives, self.limits)
        ):
            self._here = trial

    @property
    def potential_parents(self) -> set[int]:
        """Where it stands."""
        return {self._here.id} if self._here else set()

    def _neighbours(self, known: Set[Candidate], rng: RNG) -> list[Candidate]:
        """Those of where it stands that are not known, in random order; of very many, some."""
        if self._here is None:
            return []
        here = self._here.candidate
        if self.space.n_neighbours(here) > _LISTED:
            return [
                one for one in self.space.sample_neighbours(here, _SOME, rng) if one not in known
            ]
        found = [one for one in self.space.neighbours(here) if one not in known]
        return [found[i] for i in rng.permutation(len(found))]
