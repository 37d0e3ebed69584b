"""Which candidates a step of shared weights trains: uniform paths, fair ones, a sandwich, a policy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from netwright.errors import InfeasibleCandidate, InputError, check_whole
from netwright.networks.costs import costs
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice, Options, SubsetOfChoice
from netwright.space.decision import Decision
from netwright.space.space import RNG, Space

_STARTS = 100
"""Random candidates among which there has to be one that can be built."""
_SUBSETS = 64
"""So many are compared, to find the largest candidate."""
_SHORT = 32
"""A longer range of numbers is dealt in shares."""


class PathBatch(NamedTuple):
    """The candidates of one step, whose gradients are added up before the weights move.

    `taught`: all but the first learn from what the first gives for the same rows, not from labels.
    """

    candidates: tuple[Candidate, ...]
    distill: bool = False


@dataclass(frozen=True)
class SamplingContext:
    """What a sampler draws from."""

    space: Space[Any]
    shared: SharedWeights

    def is_feasible(self, candidate: Candidate) -> bool:
        """Whether it keeps the space's rule, and its network can be built."""
        return self.space.contains(candidate) and self.shared.is_feasible(candidate)

    @cached_property
    def largest(self) -> Candidate:
        """The candidate of the most operations, then of the most weights: found decision by
        decision, until no other value of any makes it larger."""
        return self._extreme(1)

    @cached_property
    def smallest(self) -> Candidate:
        """As `largest`, of the fewest."""
        return self._extreme(-1)

    def _extreme(self, sign: int) -> Candidate:
        best = self._start(sign)
        size = self._size(best, sign)
        assert size is not None  # it can be built
        before: Candidate | None = None
        while best != before:
            before = best
            for decision in self.space.decisions:
                for value in _values(decision, sign) if decision.path in best.values else ():
                    other = self._completed({**best.values, decision.path: value}, sign)
                    found = self._size(other, sign)
                    if found is not None and found > size:
                        best, size = other, found
        return best

    def _start(self, sign: int) -> Candidate:
        """All last options and highest numbers, or all first and lowest; else a random candidate."""
        rng = np.random.default_rng(0)
        for one in (self._completed({}, sign), *(self.space.sample(rng) for _ in range(_STARTS))):
            if self.is_feasible(one):
                return one
        raise InfeasibleCandidate(f"no candidate could be built, among {_STARTS} of the space.")

    def _completed(self, given: Mapping[str, Value], sign: int) -> Candidate:
        """With all that is given, as far as it is asked."""
        values: dict[str, Value] = {}
        for one in self.space.decisions:
            if one.is_active(values):
                values[one.path] = given.get(one.path, one.from_unit(float(sign > 0)))
        return Candidate(values)

    def _size(self, candidate: Candidate, sign: int) -> tuple[int, int] | None:
        """None of what cannot be built, or breaks the rule."""
        if not self.space.contains(candidate):
            return None
        try:
            found = costs(self.shared.network_of(candidate), self.shared.input_shape)
        except InfeasibleCandidate:
            return None
        return sign * found.flops, sign * found.parameters


def _values(decision: Decision, sign: int) -> Sequence[Value]:
    """Those that may make a candidate largest (or smallest): of numbers both ends, of subsets those
    of the most (or fewest) members."""
    if isinstance(decision.choice, NumberChoice):
        return (decision.from_unit(0.0), decision.from_unit(1.0))
    if isinstance(decision.choice, SubsetOfChoice):
        lengths = {value: len(value) for value in decision.values if isinstance(value, tuple)}
        wanted = max(lengths.values()) if sign > 0 else min(lengths.values())
        return [value for value, length in lengths.items() if length == wanted][:_SUBSETS]
    return decision.values


class Sampler(Protocol):
    """Draws the candidates of one step; a frozen dataclass of settings, whose repr names it."""

    def step(self, source: SamplingContext, rng: RNG) -> PathBatch: ...


@dataclass(frozen=True)
class UniformSampler:
    """One path a step, uniform choice by choice (Guo et al. 2020, 1904.00420), or over whole
    candidates (`by` "leaf")."""

    by: Literal["choice", "leaf"] = "choice"

    def step(self, source: SamplingContext, random: RNG) -> PathBatch:
        return PathBatch((source.space.sample(random, self.by),))


@dataclass(frozen=True)
class StrictlyFairSampler:
    """In each step every option is trained as often as any other of its choice (Chu et al. 2021,
    FairNAS, 1907.01845, algorithm 1).

    There are as many paths as the widest choice has options. Every choice deals its options from a
    shuffled deck, and shuffles anew when that is empty: where all have as many options, each is
    trained exactly once; else none more than once more than another of the choices that were
    asked. A subset is dealt by its members, of a size that is drawn; a long range of numbers in as
    many equal shares as there are paths.
    """

    def step(self, source: SamplingContext, random: RNG) -> PathBatch:
        decisions = source.space.decisions
        paths = max((n for n in map(_cards, decisions) if n <= _SHORT), default=1)
        decks = {one.path: _Deck(one, paths, random) for one in decisions}
        candidates = []
        for _ in range(max(paths, 1)):
            values: dict[str, Value] = {}
            for one in decisions:
                if one.is_active(values):
                    values[one.path] = decks[one.path].deal()
            candidates.append(Candidate(values))
        return PathBatch(tuple(candidates))


def _cards(decision: Decision) -> int:
    """How many options there are to be fair to: the members of a subset, 0 of real numbers."""
    if isinstance(decision.choice, Options) and not decision.fixed:
        return decision.n_options
    return len(decision.values)


class _Deck:
    """Deals the options of a decision so that none comes up twice before each has once."""

    def __init__(self, decision: Decision, paths: int, random: RNG) -> None:
        self._decision, self._random = decision, random
        self._shares = paths if not 0 < _cards(decision) <= _SHORT else 0
        self._left: list[int] = []

    def deal(self) -> Value:
        decision, choice = self._decision, self._decision.choice
        if isinstance(choice, SubsetOfChoice) and not decision.fixed:
            some = decision.values[int(self._random.integers(len(decision.values)))]
            assert isinstance(some, tuple)  # a subset: its size is drawn
            held: list[int] = []
            while len(held) < len(some):
                held.append(self._next(len(choice.labels), held))
            return tuple(choice.labels[i] for i in sorted(held))
        if self._shares:
            return decision.from_unit(
                (self._next(self._shares, []) + self._random.random()) / self._shares
            )
        return decision.values[self._next(len(decision.values), [])]

    def _next(self, size: int, held: list[int]) -> int:
        """The next card that is not held already."""
        if not set(self._left) - set(held):
            self._left += [int(i) for i in self._random.permutation(size)]
        place = next(i for i, card in enumerate(self._left) if card not in held)
        return self._left.pop(place)


@dataclass(frozen=True)
class SandwichSampler:
    """The largest candidate, the smallest, and `random` others in each step; all learn from what the
    largest gives for the rows (Yu and Huang 2019, 1903.05134: the sandwich rule with in-place
    distillation)."""

    n_random: int = 2

    def __post_init__(self) -> None:
        check_whole("random", self.n_random, 0)

    def step(self, source: SamplingContext, random: RNG) -> PathBatch:
        others = (source.space.sample(random) for _ in range(self.n_random))
        return PathBatch((source.largest, source.smallest, *others), distill=True)


@dataclass(frozen=True)
class StrategySampler:
    """One path a step, drawn by a policy that learns meanwhile: the weights' half of ENAS (Pham et
    al. 2018, 1802.03268).

    `name` stands for the policy in a checkpoint; where it is by then is the caller's to keep.
    """

    draw: Callable[[RNG], Candidate] = field(repr=False)
    name: str

    def step(self, source: SamplingContext, random: RNG) -> PathBatch:
        return PathBatch((self.draw(random),))


@dataclass(frozen=True)
class PolicySampler:
    """Stands for the draws of the strategy that searches, which whoever runs both puts in its place
    as `Drawn`: ENAS is this with REINFORCE."""

    def step(self, source: SamplingContext, random: RNG) -> PathBatch:
        raise InputError(f"{self} must be replaced by Drawn, got asked for a step.")
