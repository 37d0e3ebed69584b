"""Regularized evolution: tournaments in a population that forgets its oldest.

Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search",
AAAI 2019, arXiv:1802.01548. The lines are those of its Algorithm 1 (aging evolution); P and S are
its names for `population` and `sample`. What is added here: several workers at once, candidates
proposed only once, and several objectives under limits.
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

_TRIES = 100


@dataclass(frozen=True)
class RegularizedEvolution:
    """Mutates the winner of a small tournament; the oldest leaves the population, not the worst.

    `population` (P) candidates compete, `sample` (S) at a time. Ageing is what regularises: what
    was lucky once has to be found good again by its children, or it is forgotten. Trials within
    the limits beat those outside; then the non-dominated ones win, of those the first drawn, so
    that with several objectives all of the front has children. Infeasible and failed trials take
    no place, and are not proposed again. The defaults suit some tens of trials; the paper's 100
    and 25 suit thousands.
    """

    population: int = 10
    tournament_size: int = 3

    def __post_init__(self) -> None:
        check_whole("population", self.population, 1)
        check_whole("sample", self.tournament_size, 1)
        if self.tournament_size > self.population:
            rule = f"at most the population ({self.population})"
            raise InputError(expected("sample", rule, self.tournament_size))

    def __call__(self, problem: Problem) -> Strategy:
        return _AgeingPopulation(self, problem)


class _AgeingPopulation:
    """The strategy of `RegularizedEvolution`."""

    def __init__(self, settings: RegularizedEvolution, problem: Problem) -> None:
        self.space = problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self.P, self.S = settings.population, settings.tournament_size
        self._population: deque[Trial] = deque(maxlen=self.P)
        self._told = ProposalTracker(problem)

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            alive = len(self._population) + len(self._told.running) + asked
            if alive < self.P:  # while |population| < P: RandomArchitecture()
                return propose_unseen(self.space, known, rng)
            if not self._population:  # everything runs still: nobody to inherit from
                return None
            return self._child(known, rng) or propose_unseen(self.space, known, rng)

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        if self._told.record(trial):
            self._population.append(trial)  # add child to right; remove dead from left: maxlen

    @property
    def potential_parents(self) -> set[int]:
        """Who may win a tournament."""
        return {trial.id for trial in self._population}

    def _child(self, known: Set[Candidate], rng: np.random.Generator) -> Proposal | None:
        """A mutant that is not known yet; None when the whole neighbourhood seems to be."""
        for _ in range(_TRIES):
            chosen = rng.integers(len(self._population), size=self.S)  # with replacement
            parent = winner([self._population[i] for i in chosen], self.objectives, self.limits)
            if all(len(one.values) == 1 for one in self.space.decisions):
                return None  # nothing can change
            candidate = self.space.mutate(parent.candidate, rng)  # child.arch <- Mutate
            if candidate not in known:
                return Proposal(candidate, origin="mutation", parents=(parent.id,))
        return None
