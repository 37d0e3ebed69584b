"""Sources of belief about candidates before any is evaluated: size, zero-cost scores, a user's guess.

Each source ranks candidates on its own; none is merged with another. How far each is trusted is
decided by the trials, see `belief_mixture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, closest, expected
from netwright.interfaces.knowledge import Knowledge
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice
from netwright.space.space import Space

Array = NDArray[np.float64]
Score = Callable[[Sequence[Candidate]], Array]
"""Candidates -> (n,) scores, higher for better ones; -inf if nothing is known of one."""

USER_BELIEF = "belief"
"""Name of the source that is made of a user's guess."""
EARLIER_TRIALS = "earlier trials"
"""Name of the source that is made of the trials of another search."""
_MAX_CORRELATION = 0.999
"""Two sources that order the reference candidates alike, but for this, are one."""
_SIZES = ("parameters", "flops", "depth")
"""Scores that measure size, best known first."""


@dataclass(frozen=True)
class Belief:
    """A source of belief: a score, and its values among reference candidates.

    Args:
        name: Of the score.
        score: Of candidates.
        reference: (r,) The scores of the reference candidates, rising.
    """

    name: str
    score: Score
    reference: Array

    def quantiles(self, candidates: Sequence[Candidate]) -> Array:
        """Return the share of the reference below each candidate (n,), ties by half; in (0, 1)."""
        values = self.score(candidates)
        below = np.searchsorted(self.reference, values, "left")
        below = below + np.searchsorted(self.reference, values, "right")
        return np.asarray((below / 2 + 0.5) / (len(self.reference) + 1))


@dataclass(frozen=True)
class Beliefs:
    """All sources of belief of a search, and the random candidates that they are compared on.

    Args:
        sources: Those that differ.
        reference: (r,) The reference candidates.
        confidence: Prior weight of the user's guess, if it is among the sources.
    """

    sources: tuple[Belief, ...] = ()
    reference: tuple[Candidate, ...] = ()
    confidence: float = 0.0

    @classmethod
    def from_reference(
        cls, scores: Mapping[str, Score], reference: Sequence[Candidate], confidence: float = 0.0
    ) -> Beliefs:
        """Make a source of each score that orders the reference in a way of its own.

        Args:
            scores: Name -> score.
            reference: Random candidates.
            confidence: Prior weight of the score `USER_BELIEF`.
        """
        sources: list[Belief] = []
        orders: list[Array] = []
        for name, score in scores.items():
            belief = Belief(name, score, np.sort(score(reference)))
            order = belief.quantiles(reference) - 0.5
            norm = float(np.linalg.norm(order - order.mean()))
            if not norm:
                continue
            order = (order - order.mean()) / norm
            if all(order @ other < _MAX_CORRELATION for other in orders):
                sources.append(belief)
                orders.append(order)
        return cls(tuple(sources), tuple(reference), confidence)

    def __bool__(self) -> bool:
        return bool(self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(source.name for source in self.sources)

    def scores_of(self, candidates: Sequence[Candidate]) -> Array:
        """Return standard normal scores (sources, n): 0 at the median of the reference."""
        from scipy.special import ndtri

        scores = [ndtri(source.quantiles(candidates)) for source in self.sources]
        return np.array(scores).reshape(len(self.sources), len(candidates))

    @cached_property
    def reference_scores(self) -> Array:
        """The scores (sources, r) of the reference candidates."""
        return self.scores_of(self.reference)

    def agreement(self, candidates: Sequence[Candidate]) -> Array:
        """Return (n,) how well all sources together like candidates; 0 without sources.

        The logarithms of the quantiles are added, so that a candidate is good only if all sources
        like it (AZ-NAS; Lee and Ham 2024). For the first trials, when no source has earned more
        than another.
        """
        total = np.zeros(len(candidates))
        for source in self.sources:
            total += np.log(source.quantiles(candidates))
        return total

    @cached_property
    def reference_agreement(self) -> Array:
        """The agreement (r,) on the reference candidates."""
        return self.agreement(self.reference)

    @property
    def size(self) -> Belief | None:
        """The source that measures size best; None if there is none."""
        by_name = {source.name: source for source in self.sources}
        return next((by_name[name] for name in _SIZES if name in by_name), None)

    @property
    def user(self) -> Belief | None:
        """The user's own belief; None if there is none."""
        return next((source for source in self.sources if source.name == USER_BELIEF), None)

    @cached_property
    def prior_weights(self) -> Array:
        """(1 + sources,) weights before any trial: of no belief, then of each source.

        No belief has half, the others share the rest; a user's guess has its confidence, and what
        is left is divided among the others.
        """
        others = [name for name in self.names if name != USER_BELIEF]
        confidence = self.confidence if USER_BELIEF in self.names else 0.0
        none = 0.5 * (1 - confidence) if others else 1 - confidence
        share = (1 - confidence - none) / max(len(others), 1)
        return np.array([none, *(confidence if n == USER_BELIEF else share for n in self.names)])


def known_scores(knowledge: Knowledge, candidates: Sequence[Candidate]) -> dict[str, Score]:
    """Return the scores that are known of any of these candidates, by name."""

    def score(name: str) -> Score:
        return lambda some: np.array([knowledge.scores(c).get(name, -np.inf) for c in some])

    names = {name for candidate in candidates for name in knowledge.scores(candidate)}
    sizes = [name for name in _SIZES if name in names]
    return {name: score(name) for name in [*sizes, *sorted(names - {*sizes})]}


def user_score(space: Space[Any], guess: Mapping[str, Value]) -> Score:
    """Return a score that falls with the distance from a user's guess.

    The distance is the squared one of the guessed decisions: of numbers on the scale of the space, of
    options 1 if they differ, as for decisions that a candidate has not.

    Args:
        space: Of the candidates.
        guess: Path -> the value that the user believes in.

    Raises:
        InputError: The space has no such decision, or the decision no such value.
    """
    decisions = {decision.path: decision for decision in space.decisions}
    for path, guessed in guess.items():
        if path not in decisions:
            fix = closest(path, decisions)
            raise InputError(expected("prior", "about decisions of the space", path, fix))
        if not decisions[path].contains(guessed):
            rule = decisions[path].describe_values()
            raise InputError(expected(f"prior[{path!r}]", rule, guessed))

    def distance(path: str, candidate: Candidate) -> float:
        decision = decisions[path]
        if path not in candidate.values:
            return 1.0
        decided = candidate.values[path]
        if not isinstance(decision.choice, NumberChoice):
            return float(decided != guess[path])
        return (decision.to_unit(decided) - decision.to_unit(guess[path])) ** 2

    return lambda candidates: (
        -np.array([sum(distance(path, candidate) for path in guess) for candidate in candidates])
    )
