"""Local search: move to the first better neighbour, restart at a local optimum.

White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021,
arXiv:2005.02960: the variant that moves at the first improvement, starts from the best of several
random candidates, and restarts.
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

_RESTART_ORIGIN = "restart"
_MAX_LISTED_NEIGHBOURS = 2000
"""Larger neighbourhoods are sampled: listing them at every `ask` would be too slow."""
_N_SAMPLED_NEIGHBOURS = 200


@dataclass(frozen=True)
class LocalSearch:
    """First-improvement local search with restarts (White, Nolen and Savani, 2021).

    A neighbour differs in one decision. With several objectives, a move must be better in one and
    worse in none. When the current candidate has no untried neighbour left, the search restarts
    from a random candidate. Of more than 2,000 neighbours, a random sample of 200 is tried.

    Args:
        n_startup_trials: Random candidates before the search moves; it starts from the best of
            them. At least 1.

    Raises:
        InputError: `n_startup_trials` is below 1 or not a whole number.
    """

    n_startup_trials: int = 10

    def __post_init__(self) -> None:
        check_whole("n_startup_trials", self.n_startup_trials, 1)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return LocalSearchStrategy(self, problem)


class LocalSearchStrategy:
    """The strategy made by `LocalSearch`; `_current` is the trial whose neighbours are tried."""

    def __init__(self, settings: LocalSearch, problem: Problem) -> None:
        self.space, self.n_startup_trials = problem.space, settings.n_startup_trials
        self.objectives, self.limits = problem.objectives, problem.limits
        self._current: Trial | None = None
        self._n_startup_done = 0
        self._tracker = ProposalTracker(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        neighbours = self._unseen_neighbours(self._tracker.seen, rng)

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            n_started = self._n_startup_done + len(self._tracker.running) + n_proposed
            if self._current is None or n_started < self.n_startup_trials:
                return propose_unseen(self.space, seen, rng)
            while neighbours:
                if (candidate := neighbours.pop()) not in seen:
                    return Proposal(candidate, origin="mutation", parents=(self._current.id,))
            return propose_unseen(self.space, seen, rng, _RESTART_ORIGIN)

        return self._tracker.fill_batch(n, propose)

    def tell(self, trial: Trial) -> None:
        if not self._tracker.record(trial):
            return
        if self._n_startup_done < self.n_startup_trials:
            self._n_startup_done += 1
            incumbent = [self._current] if self._current else []
            self._current = winner([*incumbent, trial], self.objectives, self.limits)
        elif (
            self._current is None
            or trial.proposal.origin == _RESTART_ORIGIN
            or better(trial, self._current, self.objectives, self.limits)
        ):
            self._current = trial

    @property
    def potential_parents(self) -> set[int]:
        """The id of the current trial."""
        return {self._current.id} if self._current else set()

    def _unseen_neighbours(self, seen: Set[Candidate], rng: RNG) -> list[Candidate]:
        """Return unseen neighbours of the current candidate, shuffled; a sample of very many."""
        if self._current is None:
            return []
        current = self._current.candidate
        if self.space.n_neighbours(current) > _MAX_LISTED_NEIGHBOURS:
            sampled = self.space.sample_neighbours(current, _N_SAMPLED_NEIGHBOURS, rng)
            return [candidate for candidate in sampled if candidate not in seen]
        unseen = [
            candidate for candidate in self.space.neighbours(current) if candidate not in seen
        ]
        return [unseen[i] for i in rng.permutation(len(unseen))]
