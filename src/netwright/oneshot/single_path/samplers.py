"""Path samplers: they draw the candidates that each step of shared-weight training trains."""

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

_MAX_START_DRAWS = 100
"""Random candidates to try where neither corner of the space can be built."""
_MAX_COMPARED_SUBSETS = 64
"""Subsets of the largest (or smallest) size to compare in a decision."""
_MAX_DEALT_VALUES = 32
"""A number with more values is dealt by equal intervals of its range, not value by value."""


class PathBatch(NamedTuple):
    """Candidates of one training step, whose gradients are summed before the weights move.

    `distill`: all but the first learn from the first's output for the same rows, not from labels.
    """

    candidates: tuple[Candidate, ...]
    distill: bool = False


@dataclass(frozen=True)
class SamplingContext:
    """The space and the shared weights that a sampler draws for."""

    space: Space[Any]
    shared: SharedWeights

    def is_feasible(self, candidate: Candidate) -> bool:
        """Return whether the candidate keeps the space's rule and its network can be built."""
        return self.space.contains(candidate) and self.shared.is_feasible(candidate)

    @cached_property
    def largest(self) -> Candidate:
        """Candidate with the most FLOPs, ties broken by parameters.

        Coordinate ascent: one decision at a time, until no change makes the network larger.
        """
        return self._extreme(1)

    @cached_property
    def smallest(self) -> Candidate:
        """Candidate with the fewest FLOPs, found as `largest`."""
        return self._extreme(-1)

    def _extreme(self, sign: int) -> Candidate:
        best = self._start(sign)
        best_size = self._size(best, sign)
        assert best_size is not None  # _start returns a feasible candidate
        previous: Candidate | None = None
        while best != previous:
            previous = best
            for decision in self.space.decisions:
                values = _extreme_values(decision, sign) if decision.path in best.values else ()
                for value in values:
                    neighbour = self._complete({**best.values, decision.path: value}, sign)
                    size = self._size(neighbour, sign)
                    if size is not None and size > best_size:
                        best, best_size = neighbour, size
        return best

    def _start(self, sign: int) -> Candidate:
        """Return all last options and highest numbers (or first and lowest), else a random draw."""
        rng = np.random.default_rng(0)
        draws = (self.space.sample(rng) for _ in range(_MAX_START_DRAWS))
        for candidate in (self._complete({}, sign), *draws):
            if self.is_feasible(candidate):
                return candidate
        raise InfeasibleCandidate(
            f"at least one candidate must be feasible, got none in {_MAX_START_DRAWS} random draws."
        )

    def _complete(self, values: Mapping[str, Value], sign: int) -> Candidate:
        """Return the candidate with these values where they are active, extremes elsewhere."""
        completed: dict[str, Value] = {}
        for decision in self.space.decisions:
            if decision.is_active(completed):
                completed[decision.path] = values.get(
                    decision.path, decision.from_unit(1.0 if sign > 0 else 0.0)
                )
        return Candidate(completed)

    def _size(self, candidate: Candidate, sign: int) -> tuple[int, int] | None:
        """Return signed FLOPs and parameters; None if it is infeasible or breaks the rule."""
        if not self.space.contains(candidate):
            return None
        try:
            size = costs(self.shared.network_of(candidate), self.shared.input_shape)
        except InfeasibleCandidate:
            return None
        return sign * size.flops, sign * size.parameters


def _extreme_values(decision: Decision, sign: int) -> Sequence[Value]:
    """Return the values that may make a candidate largest (or smallest, if `sign` is -1).

    Of numbers both ends, of subsets the largest (or smallest), of options all.
    """
    if isinstance(decision.choice, NumberChoice):
        return (decision.from_unit(0.0), decision.from_unit(1.0))
    if isinstance(decision.choice, SubsetOfChoice):
        sizes = {subset: len(subset) for subset in decision.values if isinstance(subset, tuple)}
        extreme_size = max(sizes.values()) if sign > 0 else min(sizes.values())
        subsets = [subset for subset, size in sizes.items() if size == extreme_size]
        return subsets[:_MAX_COMPARED_SUBSETS]
    return decision.values


class Sampler(Protocol):
    """Draws the candidates of one step; a frozen dataclass of settings, identified by its repr."""

    def step(self, context: SamplingContext, rng: RNG) -> PathBatch:
        """Draw the candidates that the next step trains.

        Args:
            context: The space, and the shared weights that are trained.
            rng: Source of all draws.

        Returns:
            The candidates, and whether they are distilled from the first.

        Raises:
            SpaceError: No draw passes the space's rule.
        """
        ...


@dataclass(frozen=True)
class UniformSampler:
    """One uniformly drawn path a step (Guo et al., 2020, 1904.00420).

    Args:
        by: "choice" draws each choice uniformly, "leaf" draws uniformly among whole candidates.
    """

    by: Literal["choice", "leaf"] = "choice"

    def step(self, context: SamplingContext, rng: RNG) -> PathBatch:
        """As `Sampler.step`: one path."""
        return PathBatch((context.space.sample(rng, self.by),))


@dataclass(frozen=True)
class StrictlyFairSampler:
    """Strict fairness: in each step all options of a choice are trained equally often.

    FairNAS (Chu et al., 2021, 1907.01845, algorithm 1). A step has as many paths as the widest
    choice has options. Every choice deals its options from a shuffled deck, and shuffles again when
    that is empty. Where all choices have equally many options each is trained exactly once; else no
    option is trained more than once more than another of its choice, if that is active in all
    paths. A subset is dealt by its members, its size drawn at random; a number with many values by
    equal intervals, as many as there are paths.
    """

    def step(self, context: SamplingContext, rng: RNG) -> PathBatch:
        """As `Sampler.step`: as many paths as the widest choice has options.

        The space's rule is not applied.
        """
        decisions = context.space.decisions
        n_options = map(_n_options, decisions)
        n_paths = max((n for n in n_options if n <= _MAX_DEALT_VALUES), default=1)
        decks = {decision.path: _Deck(decision, n_paths, rng) for decision in decisions}
        candidates = []
        for _ in range(max(n_paths, 1)):
            values: dict[str, Value] = {}
            for decision in decisions:
                if decision.is_active(values):
                    values[decision.path] = decks[decision.path].deal()
            candidates.append(Candidate(values))
        return PathBatch(tuple(candidates))


def _n_options(decision: Decision) -> int:
    """Return the number of options to be fair to: of a subset its members, of a real number 0."""
    if isinstance(decision.choice, Options) and not decision.fixed:
        return decision.n_options
    return len(decision.values)


class _Deck:
    """Deck of a decision's options: none comes up twice before each has come up once."""

    def __init__(self, decision: Decision, n_paths: int, rng: RNG) -> None:
        self._decision, self._rng = decision, rng
        by_value = 0 < _n_options(decision) <= _MAX_DEALT_VALUES
        self._n_intervals = 0 if by_value else n_paths
        self._cards: list[int] = []

    def deal(self) -> Value:
        decision, choice = self._decision, self._decision.choice
        if isinstance(choice, SubsetOfChoice) and not decision.fixed:
            subset = decision.values[int(self._rng.integers(len(decision.values)))]
            assert isinstance(subset, tuple)  # only its size counts
            members: list[int] = []
            while len(members) < len(subset):
                members.append(self._next(len(choice.labels), members))
            return tuple(choice.labels[i] for i in sorted(members))
        if self._n_intervals:
            interval = self._next(self._n_intervals, [])
            return decision.from_unit((interval + self._rng.random()) / self._n_intervals)
        return decision.values[self._next(len(decision.values), [])]

    def _next(self, n_cards: int, excluded: list[int]) -> int:
        """Draw the next card that is not excluded."""
        if not set(self._cards) - set(excluded):
            self._cards += [int(card) for card in self._rng.permutation(n_cards)]
        index = next(i for i, card in enumerate(self._cards) if card not in excluded)
        return self._cards.pop(index)


@dataclass(frozen=True)
class SandwichSampler:
    """Sandwich rule with in-place distillation (Yu and Huang, 2019, 1903.05134).

    Each step trains the largest candidate, the smallest, and some random ones; all but the largest
    learn from its output.

    Args:
        n_random: Random candidates in a step, 0 or more.
    """

    n_random: int = 2

    def __post_init__(self) -> None:
        check_whole("n_random", self.n_random, 0)

    def step(self, context: SamplingContext, rng: RNG) -> PathBatch:
        """As `Sampler.step`: the largest candidate, the smallest, and `n_random` random ones.

        Raises:
            InfeasibleCandidate: No candidate is found that can be built.
        """
        random_candidates = (context.space.sample(rng) for _ in range(self.n_random))
        candidates = (context.largest, context.smallest, *random_candidates)
        return PathBatch(candidates, distill=True)


@dataclass(frozen=True)
class StrategySampler:
    """One path a step, drawn by a strategy that learns meanwhile.

    This is the weights' half of ENAS (Pham et al., 2018, 1802.03268). `name` identifies the
    strategy in a checkpoint; the caller must restore the strategy's own state.
    """

    draw: Callable[[RNG], Candidate] = field(repr=False)
    name: str

    def step(self, context: SamplingContext, rng: RNG) -> PathBatch:
        """As `Sampler.step`: the strategy's next draw."""
        return PathBatch((self.draw(rng),))


@dataclass(frozen=True)
class PolicySampler:
    """Placeholder for the draws of the searching strategy: with REINFORCE this is ENAS.

    `OneShot` replaces it by a `StrategySampler` of its `search`.

    Example:
        >>> training = nw.SampledPathTraining(nw.PolicySampler())
        >>> nw.OneShot(nw.SinglePathNAS(training), search=nw.Reinforce())
    """

    def step(self, context: SamplingContext, rng: RNG) -> PathBatch:
        """As `Sampler.step`, but a placeholder draws nothing.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{self} must be replaced by a StrategySampler before it is used.")
