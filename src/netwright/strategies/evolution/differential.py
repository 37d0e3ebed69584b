"""Differential evolution in the unit cube of a space.

Storn and Price 1997, "Differential evolution", rand/1/bin; on discrete decisions as in DEHB (Awad,
Mallik and Hutter 2021, arXiv:2105.09821): individuals live in the cube, `from_unit` decides, and
what leaves the cube is drawn anew.
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

_TRIES = 100

Point = NDArray[np.float64]


@dataclass(frozen=True)
class DifferentialEvolution:
    """rand/1/bin: a point plus the scaled difference of two others, crossed with its rival.

    `scale` (F) and `crossover` (CR) are those of DEHB. A child takes its rival's place unless the
    rival is better; with several objectives, unless the rival dominates it.
    """

    population: int = 20
    mutation_factor: float = 0.5
    crossover: float = 0.5

    def __post_init__(self) -> None:
        check_whole("population", self.population, 4, "A child has a rival and three others.")
        if not self.mutation_factor > 0:
            raise InputError(expected("scale", "above 0", self.mutation_factor))
        if not 0 <= self.crossover <= 1:
            raise InputError(expected("crossover", "from 0 to 1", self.crossover))

    def __call__(self, problem: Problem) -> Strategy:
        return _Cube(self, problem)

    def sub_population(self, problem: Problem, size: int) -> _Cube:
        """That of one fidelity, which can `breed` from the one below, as in DEHB."""
        return _Cube(replace(self, population=max(size, 4)), problem)


class _Cube:
    """The strategy: places, each with a trial; a proposal's note has its place and its point."""

    def __init__(self, settings: DifferentialEvolution, problem: Problem) -> None:
        self.space = problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self.NP, self.F, self.CR = settings.population, settings.mutation_factor, settings.crossover
        self._places: dict[int, Trial] = {}
        self._busy: dict[int, int] = {}  # trial -> place, while the first generation fills
        self._started = 0
        self._told = ProposalTracker(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        taken = {*self._places, *self._busy.values()}
        empty = [place for place in range(self.NP) if place not in taken]

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            if asked < len(empty):
                return self._drawn(empty[asked], known, rng)
            if len(self._places) < 4:
                return None  # the first generation runs still
            rival = self._rival(asked)
            others = [self._places[i] for i in sorted(self._places) if i != rival]
            return self._child(rival, others, known, rng) or self._drawn(rival, known, rng)

        return self._told.batch(n, one)

    @property
    def members(self) -> list[Trial]:
        """The individual of each place."""
        return [self._places[place] for place in sorted(self._places)]

    @property
    def potential_parents(self) -> set[int]:
        """All who are alive."""
        return {trial.id for trial in self.members}

    def breed(
        self, pool: Sequence[Trial], known: Set[Candidate], asked: int, rng: RNG
    ) -> Proposal | None:
        """A child whose mutant comes from `pool`, crossed with its rival here.

        None before every place is taken, when the pool is too small, or when there seems to be no
        other.
        """
        if len(self._places) < self.NP:
            return None
        rival = self._rival(asked)
        others = [one for one in pool if one.id != self._places[rival].id]
        return self._child(rival, others, known, rng) if len(others) >= 3 else None

    def tell(self, trial: Trial) -> None:
        done = self._told.record(trial)
        place = trial.proposal.note.get("place")
        if not isinstance(place, int):  # a baseline
            place = self._busy[trial.id] if trial.id in self._busy else self._free()
        elif trial.status is Status.RUNNING:
            self._started += 1
        if trial.status is Status.RUNNING:
            if place not in self._places:
                self._busy[trial.id] = place
            return
        self._busy.pop(trial.id, None)
        rival = self._places.get(place)
        if done and (
            rival is None or winner([trial, rival], self.objectives, self.limits) is trial
        ):
            self._places[place] = trial

    def _rival(self, asked: int) -> int:
        places = sorted(self._places)
        return places[(self._started + asked) % len(places)]  # i = 1, 2, ... NP

    def _free(self) -> int:
        """An empty place; where there is none, that of the worst."""
        taken = {*self._places, *self._busy.values()}
        empty = [place for place in range(self.NP) if place not in taken]
        if empty or not self._places:
            return empty[0] if empty else 0
        places = sorted(self._places)
        rank = constrained_ranks([self._places[i] for i in places], self.objectives, self.limits)
        return places[int(np.argmax(rank))]

    def _child(
        self, rival: int, others: Sequence[Trial], known: Set[Candidate], rng: RNG
    ) -> Proposal | None:
        """A child that is not known and passes the space's rule; None when there seems to be none."""
        target = self._point(self._places[rival])
        for _ in range(_TRIES):
            r1, r2, r3 = (others[i] for i in rng.choice(len(others), 3, replace=False))
            v = self._point(r1) + self.F * (self._point(r2) - self._point(r3))
            outside = (v < 0) | (v > 1)
            v[outside] = rng.random(int(outside.sum()))
            crossed = rng.random(len(v)) < self.CR
            crossed[rng.integers(len(v))] = True  # at least one from the mutant
            u = np.where(crossed, v, target)
            candidate = self.space.from_unit(u)
            if candidate not in known and self.space.contains(candidate):
                parents = (self._places[rival].id, r1.id)
                note: dict[str, Value] = {"place": rival, "point": tuple(map(float, u))}
                return Proposal(candidate, origin="difference", parents=parents, note=note)
        return None

    def _drawn(self, place: int, known: Set[Candidate], rng: RNG) -> Proposal | None:
        proposal = propose_unseen(self.space, known, rng)
        if proposal is None:
            return None
        point = tuple(map(float, self.space.to_unit(proposal.candidate)))
        return replace(proposal, note={"place": place, "point": point})

    def _point(self, trial: Trial) -> Point:
        """(decisions,) where an individual lies."""
        point = trial.proposal.note.get("point")
        own = self.space.to_unit(trial.candidate)
        if not isinstance(point, tuple) or len(point) != len(own):
            return own  # a baseline, or a note of others
        return np.array(point, np.float64)
