"""Regularized evolution: tournament selection in a population that discards its oldest member.

Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search",
AAAI 2019, arXiv:1802.01548, Algorithm 1 (aging evolution); P and S are its names for `population`
and `tournament_size`. Extensions: asynchronous workers, no candidate is proposed twice, and several
objectives under limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import winner
from netwright.trials.trial import Proposal, Trial

_MAX_MUTATIONS = 100
"""Mutants drawn until one is unseen; then the neighbourhood counts as exhausted."""


@dataclass(frozen=True)
class RegularizedEvolution:
    """Regularized (aging) evolution (Real et al., 2019).

    Each step mutates the winner of a small tournament; the oldest member leaves the population, not
    the worst. Aging is the regularisation: an architecture that was lucky once survives only if its
    children do well, too. In a tournament, trials within the limits beat those outside, then lower
    front rank wins, then the first drawn, so that with several objectives the whole front has
    children. Infeasible and failed trials do not enter the population and are not proposed again.

    Args:
        population: Size P of the population. The default suits tens of trials; the paper's 100
            (with tournaments of 25) suits thousands.
        tournament_size: Size S of a tournament, at most `population`. Drawn with replacement.

    Raises:
        InputError: A setting is out of range.
    """

    population: int = 10
    tournament_size: int = 3

    def __post_init__(self) -> None:
        check_whole("population", self.population, 1)
        check_whole("tournament_size", self.tournament_size, 1)
        if self.tournament_size > self.population:
            rule = f"at most the population ({self.population})"
            raise InputError(expected("tournament_size", rule, self.tournament_size))

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return RegularizedEvolutionStrategy(self, problem)


class RegularizedEvolutionStrategy:
    """The strategy made by `RegularizedEvolution`."""

    def __init__(self, settings: RegularizedEvolution, problem: Problem) -> None:
        self.space = problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self.P, self.S = settings.population, settings.tournament_size
        self._population: deque[Trial] = deque(maxlen=self.P)
        self._tracker = ProposalTracker(problem)

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            population_size = len(self._population) + len(self._tracker.running) + n_proposed
            if population_size < self.P:  # while |population| < P: RandomArchitecture()
                return propose_unseen(self.space, seen, rng)
            if not self._population:  # all trials are still running: no parent yet
                return None
            return self._propose_child(seen, rng) or propose_unseen(self.space, seen, rng)

        return self._tracker.fill_batch(n, propose)

    def tell(self, trial: Trial) -> None:
        if self._tracker.record(trial):
            self._population.append(trial)  # add child to right; remove dead from left: maxlen

    @property
    def potential_parents(self) -> set[int]:
        """The ids of the whole population: any member may win a tournament."""
        return {trial.id for trial in self._population}

    def _propose_child(self, seen: Set[Candidate], rng: np.random.Generator) -> Proposal | None:
        """Return an unseen mutant of a tournament winner; None if there seems to be none."""
        for _ in range(_MAX_MUTATIONS):
            indices = rng.integers(len(self._population), size=self.S)  # with replacement
            parent = winner([self._population[i] for i in indices], self.objectives, self.limits)
            if all(len(decision.values) == 1 for decision in self.space.decisions):
                return None  # nothing can change
            candidate = self.space.mutate(parent.candidate, rng)  # child.arch <- Mutate
            if candidate not in seen:
                return Proposal(candidate, origin="mutation", parents=(parent.id,))
        return None
