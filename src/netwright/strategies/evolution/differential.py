"""Differential evolution in the unit cube of a space.

Storn and Price 1997, "Differential evolution", rand/1/bin; on discrete decisions as in DEHB (Awad,
Mallik and Hutter 2021, arXiv:2105.09821): individuals are vectors in the unit cube, `from_unit`
turns them into candidates, and coordinates outside the cube are redrawn uniformly.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate, Value
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import constrained_ranks, winner
from netwright.trials.trial import Proposal, Status, Trial

_MAX_MUTANTS = 100
"""Mutants drawn until one is unseen and allowed by the space's rule."""
_MIN_POPULATION = 4
"""rand/1/bin needs a target and three other individuals."""
_INDEX_KEY, _VECTOR_KEY = "place", "point"
"""Keys of a proposal's note: the target's index in the population, and the trial vector."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class DifferentialEvolution:
    """Differential evolution, rand/1/bin (Storn and Price, 1997), with the defaults of DEHB.

    A mutant is an individual plus the scaled difference of two others; it is crossed with its
    target. The child replaces the target unless the target is better; with several objectives,
    unless the target dominates it.

    Args:
        population: Individuals (NP). At least 4: a target and three others.
        mutation_factor: Scale F of the difference. Above 0.
        crossover: Probability CR in [0, 1] that a coordinate comes from the mutant; at least one
            does.

    Raises:
        InputError: A setting is out of range.
    """

    population: int = 20
    mutation_factor: float = 0.5
    crossover: float = 0.5

    def __post_init__(self) -> None:
        fix = "A child needs a target and three other individuals."
        check_whole("population", self.population, _MIN_POPULATION, fix)
        if not self.mutation_factor > 0:
            raise InputError(expected("mutation_factor", "above 0", self.mutation_factor))
        if not 0 <= self.crossover <= 1:
            raise InputError(expected("crossover", "from 0 to 1", self.crossover))

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return DifferentialEvolutionStrategy(self, problem)

    def sub_population(self, problem: Problem, size: int) -> DifferentialEvolutionStrategy:
        """Return the sub-population of one fidelity, as in DEHB.

        Args:
            problem: The problem at that fidelity.
            size: Individuals; raised to 4 if smaller.

        Returns:
            A strategy whose `propose_child` takes mutants from the fidelity below.
        """
        settings = replace(self, population=max(size, _MIN_POPULATION))
        return DifferentialEvolutionStrategy(settings, problem)


class DifferentialEvolutionStrategy:
    """The strategy made by `DifferentialEvolution`.

    A proposal's note holds the index of its target and its vector in the unit cube.
    """

    def __init__(self, settings: DifferentialEvolution, problem: Problem) -> None:
        self.space = problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self.NP, self.F = settings.population, settings.mutation_factor
        self.CR = settings.crossover
        self._population: dict[int, Trial] = {}  # index -> individual
        self._reserved: dict[int, int] = {}  # running trial of the first generation -> its index
        self._n_started = 0
        self._tracker = ProposalTracker(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        empty = self._empty_indices()

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            if n_proposed < len(empty):
                return self._propose_random(empty[n_proposed], seen, rng)
            if len(self._population) < _MIN_POPULATION:
                return None  # the first generation is still running
            target_index = self._target_index(n_proposed)
            others = [self._population[i] for i in sorted(self._population) if i != target_index]
            child = self._propose_mutant(target_index, others, seen, rng)
            return child or self._propose_random(target_index, seen, rng)

        return self._tracker.fill_batch(n, propose)

    @property
    def individuals(self) -> list[Trial]:
        """The population, by index."""
        return [self._population[index] for index in sorted(self._population)]

    @property
    def potential_parents(self) -> set[int]:
        """The ids of the whole population."""
        return {trial.id for trial in self.individuals}

    def propose_child(
        self, pool: Sequence[Trial], seen: Set[Candidate], n_proposed: int, rng: RNG
    ) -> Proposal | None:
        """Return a child whose mutant comes from `pool`, crossed with a target of this population.

        None while the population is incomplete, if the pool is too small, or if no unseen child is
        drawn.
        """
        if len(self._population) < self.NP:
            return None
        target_index = self._target_index(n_proposed)
        target_id = self._population[target_index].id
        others = [trial for trial in pool if trial.id != target_id]
        if len(others) < _MIN_POPULATION - 1:
            return None
        return self._propose_mutant(target_index, others, seen, rng)

    def tell(self, trial: Trial) -> None:
        is_done = self._tracker.record(trial)
        index = trial.proposal.note.get(_INDEX_KEY)
        if not isinstance(index, int):  # a baseline
            index = self._reserved[trial.id] if trial.id in self._reserved else self._free_index()
        elif trial.status is Status.RUNNING:
            self._n_started += 1
        if trial.status is Status.RUNNING:
            if index not in self._population:
                self._reserved[trial.id] = index
            return
        self._reserved.pop(trial.id, None)
        target = self._population.get(index)
        if is_done and (
            target is None or winner([trial, target], self.objectives, self.limits) is trial
        ):
            self._population[index] = trial

    def _target_index(self, n_proposed: int) -> int:
        indices = sorted(self._population)
        return indices[(self._n_started + n_proposed) % len(indices)]  # i = 1, 2, ... NP

    def _empty_indices(self) -> list[int]:
        taken = {*self._population, *self._reserved.values()}
        return [index for index in range(self.NP) if index not in taken]

    def _free_index(self) -> int:
        """Return an empty index, or that of the worst individual if there is none."""
        empty = self._empty_indices()
        if empty or not self._population:
            return empty[0] if empty else 0
        indices = sorted(self._population)
        rank = constrained_ranks(self.individuals, self.objectives, self.limits)
        return indices[int(np.argmax(rank))]

    def _propose_mutant(
        self, target_index: int, others: Sequence[Trial], seen: Set[Candidate], rng: RNG
    ) -> Proposal | None:
        """Return an unseen child that the space allows; None if none is drawn."""
        target = self._vector_of(self._population[target_index])
        for _ in range(_MAX_MUTANTS):
            r1, r2, r3 = (others[i] for i in rng.choice(len(others), 3, replace=False))
            v = self._vector_of(r1) + self.F * (self._vector_of(r2) - self._vector_of(r3))
            outside = (v < 0) | (v > 1)
            v[outside] = rng.random(int(outside.sum()))
            from_mutant = rng.random(len(v)) < self.CR
            from_mutant[rng.integers(len(v))] = True  # at least one coordinate
            u = np.where(from_mutant, v, target)
            candidate = self.space.from_unit(u)
            if candidate not in seen and self.space.contains(candidate):
                parents = (self._population[target_index].id, r1.id)
                note: dict[str, Value] = {
                    _INDEX_KEY: target_index,
                    _VECTOR_KEY: tuple(map(float, u)),
                }
                return Proposal(candidate, origin="difference", parents=parents, note=note)
        return None

    def _propose_random(self, index: int, seen: Set[Candidate], rng: RNG) -> Proposal | None:
        proposal = propose_unseen(self.space, seen, rng)
        if proposal is None:
            return None
        vector = tuple(map(float, self.space.to_unit(proposal.candidate)))
        return replace(proposal, note={_INDEX_KEY: index, _VECTOR_KEY: vector})

    def _vector_of(self, trial: Trial) -> Vector:
        """(decisions,) Return the vector of an individual in the unit cube."""
        noted = trial.proposal.note.get(_VECTOR_KEY)
        vector = self.space.to_unit(trial.candidate)
        if not isinstance(noted, tuple) or len(noted) != len(vector):
            return vector  # a baseline, or another strategy's note
        return np.array(noted, np.float64)
