"""Generations: parents breed, and the best of parents and children are the next parents.

A genetic algorithm with elitism (Holland 1975; De Jong 1975), and NSGA-II (Deb, Pratap, Agarwal and
Meyarivan 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II"), which differ in who
breeds and who survives. With several workers nobody waits for the end of a generation: what is
asked for beyond it is bred from the same parents and counts for the next one.
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

_TRIES = 100

Select = Callable[[Sequence[Trial], RNG], Trial]
"""Parents, best first -> one that breeds."""
Survive = Callable[[Sequence[Trial], Sequence[Trial]], list[Trial]]
"""Parents and children -> the next parents, best first."""


@dataclass(frozen=True)
class Genetic:
    """Genetic algorithm: tournaments among parents, crossover, mutation, elitism.

    `crossover` is the probability that a child has two parents; each of its decisions then mutates
    with probability one over their number. The best `elites` of the parents stay.
    """

    population: int = 20
    tournament_size: int = 3
    crossover: float = 0.9
    elites: int = 2

    def __post_init__(self) -> None:
        _check(self.population, self.crossover)
        check_whole("elites", self.elites, 0)
        if self.elites >= self.population:
            rule = f"below the population ({self.population})"
            raise InputError(expected("elites", rule, self.elites))
        check_whole("sample", self.tournament_size, 1)

    def __call__(self, problem: Problem) -> Strategy:
        def select(parents: Sequence[Trial], rng: RNG) -> Trial:
            chosen = rng.integers(len(parents), size=self.tournament_size)
            return winner([parents[i] for i in chosen], problem.objectives, problem.limits)

        def best(trials: Sequence[Trial], n: int) -> list[Trial]:
            return [
                trials[i] for i in crowded_order(trials, problem.objectives, problem.limits)[:n]
            ]

        def survive(parents: Sequence[Trial], children: Sequence[Trial]) -> list[Trial]:
            elite = best(parents, self.elites)
            return elite + best(children, self.population - len(elite))

        return _Generations(problem, self.population, self.crossover, select, survive)


@dataclass(frozen=True)
class NSGA2:
    """NSGA-II: the front in every objective, spread out evenly.

    Parents are drawn by binary tournaments of the crowded-comparison operator; the best
    `population` of parents and children survive.
    """

    population: int = 20
    crossover: float = 0.9

    def __post_init__(self) -> None:
        _check(self.population, self.crossover)

    def __call__(self, problem: Problem) -> Strategy:
        def select(parents: Sequence[Trial], rng: RNG) -> Trial:
            return parents[int(rng.integers(len(parents), size=2).min())]  # they lie best first

        def survive(parents: Sequence[Trial], children: Sequence[Trial]) -> list[Trial]:
            both = [*parents, *children]  # R_t = P_t u Q_t
            return [
                both[i]
                for i in crowded_order(both, problem.objectives, problem.limits)[: self.population]
            ]

        return _Generations(problem, self.population, self.crossover, select, survive)


class _Generations:
    """The strategy of both: random candidates first, then children of the parents."""

    def __init__(
        self, problem: Problem, population: int, crossover: float, select: Select, survive: Survive
    ) -> None:
        self.space = problem.space
        self.population, self.crossover = population, crossover
        self._select, self._survive = select, survive
        self._parents: list[Trial] = []
        self._children: list[Trial] = []
        self._told = ProposalTracker(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        breeders = self._parents or self._survive([], self._children)  # best first

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            started = len(self._children) + len(self._told.running) + asked
            first = not self._parents and started < self.population
            child = None if first or not breeders else self._bred(breeders, known, rng)
            return child or propose_unseen(self.space, known, rng)

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        if self._told.record(trial):
            self._children.append(trial)
        if len(self._children) == self.population:
            self._parents = self._survive(self._parents, self._children)
            self._children = []

    @property
    def potential_parents(self) -> set[int]:
        """Parents, and the children of whom the next parents are chosen."""
        return {trial.id for trial in [*self._parents, *self._children]}

    def _bred(self, breeders: Sequence[Trial], known: Set[Candidate], rng: RNG) -> Proposal | None:
        """A child that is not known yet; None when there seems to be no other."""
        for _ in range(_TRIES):
            mother, father = self._select(breeders, rng), self._select(breeders, rng)
            child = mother.candidate
            parents: tuple[int, ...] = (mother.id,)
            if mother.id != father.id and rng.random() < self.crossover:
                child = self.space.crossover(mother.candidate, father.candidate, rng)
                parents = (mother.id, father.id)
            child = mutated(self.space, child, rng)
            if child not in known:
                origin = "crossover" if len(parents) > 1 else "mutation"
                return Proposal(child, origin=origin, parents=parents)
        return None


def mutated(space: Space[Any], candidate: Candidate, rng: RNG) -> Candidate:
    """Each decision changes with probability one over their number."""
    number = sum(len(one.values) != 1 for one in space.decisions if one.path in candidate.values)
    for _ in range(int(rng.binomial(number, 1 / number)) if number else 0):
        candidate = space.mutate(candidate, rng)
    return candidate


def _check(population: int, crossover: float) -> None:
    check_whole("population", population, 2)
    if not 0 <= crossover <= 1:
        raise InputError(expected("crossover", "from 0 to 1", crossover))
