"""Random search: the baseline of every other strategy, and a template for new ones."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.interfaces.strategy import Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.trials.trial import Proposal, Trial

_MAX_DRAWS = 100
_MAX_LISTED_SPACE_SIZE = 10_000
"""Spaces up to this size are enumerated when random draws find no unseen candidate (well under a
second)."""


@dataclass(frozen=True)
class RandomSearch:
    """Independent random draws from the space, without repetition.

    The search ends when the space has no unseen candidate left.
    """

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return RandomStrategy(problem)


class RandomStrategy:
    """The strategy made by `RandomSearch`."""

    def __init__(self, problem: Problem) -> None:
        self.space = problem.space
        self._tracker = ProposalTracker(problem)

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        return self._tracker.fill_batch(n, lambda seen, _: propose_unseen(self.space, seen, rng))

    def tell(self, trial: Trial) -> None:
        self._tracker.record(trial)


def propose_unseen(
    space: Space[Any],
    seen: Set[Candidate],
    rng: np.random.Generator,
    origin: str = "random",
) -> Proposal | None:
    """Propose a random candidate that is not in `seen`; None if `sample_unseen` finds none."""
    candidate = sample_unseen(space, seen, rng)
    return None if candidate is None else Proposal(candidate, origin=origin)


def sample_unseen(
    space: Space[Any], seen: Set[Candidate], rng: np.random.Generator
) -> Candidate | None:
    """Draw a random candidate that is not in `seen`.

    Args:
        space: The search space.
        seen: Candidates to exclude.
        rng: Source of randomness.

    Returns:
        The candidate, or None if 100 draws found no unseen one. Spaces of at most 10,000
        candidates are then enumerated, so None means that every candidate has been seen.
    """
    for _ in range(_MAX_DRAWS):
        candidate = space.sample(rng)
        if candidate not in seen:
            return candidate
    if space.size > _MAX_LISTED_SPACE_SIZE:
        return None
    unseen = [candidate for candidate in space if candidate not in seen]
    return unseen[rng.integers(len(unseen))] if unseen else None
