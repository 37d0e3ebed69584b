"""Generational evolution: an elitist genetic algorithm and NSGA-II.

A genetic algorithm with elitism (Holland 1975; De Jong 1975), and NSGA-II (Deb, Pratap, Agarwal and
Meyarivan 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II"), which differ in
parent and survivor selection. With several workers, no worker waits for the end of a generation:
children requested beyond it have the same parents and count for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import crowded_order, winner
from netwright.trials.trial import Proposal, Trial

_MAX_CHILDREN = 100
"""Children drawn until one is unseen; then a random candidate is proposed instead."""

Select = Callable[[Sequence[Trial], RNG], Trial]
"""Parent selection: parents, best first -> a parent."""
Survive = Callable[[Sequence[Trial], Sequence[Trial]], list[Trial]]
"""Survivor selection: parents and children -> the next parents, best first."""


@dataclass(frozen=True)
class Genetic:
    """Genetic algorithm with tournaments, crossover, mutation and elitism (Holland, 1975).

    Args:
        population: Parents in a generation. At least 2.
        tournament_size: Parents drawn with replacement, of which the best becomes a parent.
        crossover: Probability in [0, 1] that a child has two parents. Each of its decisions then
            mutates with probability 1 / (number of decisions).
        elites: Best parents that stay in the next generation; below `population`.

    Raises:
        InputError: A setting is out of range.
    """

    population: int = 20
    tournament_size: int = 3
    crossover: float = 0.9
    elites: int = 2

    def __post_init__(self) -> None:
        _check_settings(self.population, self.crossover)
        check_whole("elites", self.elites, 0)
        if self.elites >= self.population:
            rule = f"below the population ({self.population})"
            raise InputError(expected("elites", rule, self.elites))
        check_whole("tournament_size", self.tournament_size, 1)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""

        def select(parents: Sequence[Trial], rng: RNG) -> Trial:
            indices = rng.integers(len(parents), size=self.tournament_size)
            return winner([parents[i] for i in indices], problem.objectives, problem.limits)

        def best(trials: Sequence[Trial], n: int) -> list[Trial]:
            order = crowded_order(trials, problem.objectives, problem.limits)
            return [trials[i] for i in order[:n]]

        def survive(parents: Sequence[Trial], children: Sequence[Trial]) -> list[Trial]:
            elite = best(parents, self.elites)
            return elite + best(children, self.population - len(elite))

        return GenerationalStrategy(problem, self.population, self.crossover, select, survive)


@dataclass(frozen=True)
class NSGA2:
    """NSGA-II (Deb et al., 2002): an evenly spread front of several objectives.

    Parents are selected by binary tournaments with the crowded-comparison operator; the best
    `population` of parents and children survive.

    Args:
        population: Parents in a generation. At least 2.
        crossover: Probability in [0, 1] that a child has two parents. Each of its decisions then
            mutates with probability 1 / (number of decisions).

    Raises:
        InputError: A setting is out of range.
    """

    population: int = 20
    crossover: float = 0.9

    def __post_init__(self) -> None:
        _check_settings(self.population, self.crossover)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""

        def select(parents: Sequence[Trial], rng: RNG) -> Trial:
            # parents are sorted, best first: the smaller index wins
            return parents[int(rng.integers(len(parents), size=2).min())]

        def survive(parents: Sequence[Trial], children: Sequence[Trial]) -> list[Trial]:
            combined = [*parents, *children]  # R_t = P_t u Q_t
            order = crowded_order(combined, problem.objectives, problem.limits)
            return [combined[i] for i in order[: self.population]]

        return GenerationalStrategy(problem, self.population, self.crossover, select, survive)


class GenerationalStrategy:
    """The strategy made by `Genetic` and `NSGA2`: random candidates, then children of parents."""

    def __init__(
        self, problem: Problem, population: int, crossover: float, select: Select, survive: Survive
    ) -> None:
        self.space = problem.space
        self.population, self.crossover = population, crossover
        self._select, self._survive = select, survive
        self._parents: list[Trial] = []
        self._children: list[Trial] = []
        self._tracker = ProposalTracker(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        parents = self._parents or self._survive([], self._children)  # best first

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            n_started = len(self._children) + len(self._tracker.running) + n_proposed
            is_first_generation = not self._parents and n_started < self.population
            child = (
                None
                if is_first_generation or not parents
                else self._propose_child(parents, seen, rng)
            )
            return child or propose_unseen(self.space, seen, rng)

        return self._tracker.fill_batch(n, propose)

    def tell(self, trial: Trial) -> None:
        if self._tracker.record(trial):
            self._children.append(trial)
        if len(self._children) == self.population:
            self._parents = self._survive(self._parents, self._children)
            self._children = []

    @property
    def potential_parents(self) -> set[int]:
        """The ids of parents and children: the next parents are selected from both."""
        return {trial.id for trial in [*self._parents, *self._children]}

    def _propose_child(
        self, parents: Sequence[Trial], seen: Set[Candidate], rng: RNG
    ) -> Proposal | None:
        """Return an unseen child; None if there seems to be none."""
        for _ in range(_MAX_CHILDREN):
            mother, father = self._select(parents, rng), self._select(parents, rng)
            child = mother.candidate
            parent_ids: tuple[int, ...] = (mother.id,)
            if mother.id != father.id and rng.random() < self.crossover:
                child = self.space.crossover(mother.candidate, father.candidate, rng)
                parent_ids = (mother.id, father.id)
            child = mutate_decisions(self.space, child, rng)
            if child not in seen:
                origin = "crossover" if len(parent_ids) > 1 else "mutation"
                return Proposal(child, origin=origin, parents=parent_ids)
        return None


def mutate_decisions(space: Space[Any], candidate: Candidate, rng: RNG) -> Candidate:
    """Mutate each active decision with probability 1 / (number of active decisions)."""
    n_decisions = sum(
        len(decision.values) != 1
        for decision in space.decisions
        if decision.path in candidate.values
    )
    n_mutations = int(rng.binomial(n_decisions, 1 / n_decisions)) if n_decisions else 0
    for _ in range(n_mutations):
        candidate = space.mutate(candidate, rng)
    return candidate


def _check_settings(population: int, crossover: float) -> None:
    check_whole("population", population, 2)
    if not 0 <= crossover <= 1:
        raise InputError(expected("crossover", "from 0 to 1", crossover))
