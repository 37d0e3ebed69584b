"""Random search: the yardstick of every other strategy, and the example to start one from."""

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

_TRIES = 100
_LISTED = 10_000


@dataclass(frozen=True)
class RandomSearch:
    """Draws candidates independently, none twice; over when the space has no other."""

    def __call__(self, problem: Problem) -> Strategy:
        return _Draws(problem)


class _Draws:
    """The strategy of `RandomSearch`."""

    def __init__(self, problem: Problem) -> None:
        self.space = problem.space
        self._told = ProposalTracker(problem)

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        return self._told.batch(n, lambda known, _: propose_unseen(self.space, known, rng))

    def tell(self, trial: Trial) -> None:
        self._told.record(trial)


def propose_unseen(
    space: Space[Any], known: Set[Candidate], rng: np.random.Generator, origin: str = "random"
) -> Proposal | None:
    """A proposal of a random candidate that is not known; None when there seems to be no other."""
    candidate = sample_unseen(space, known, rng)
    return None if candidate is None else Proposal(candidate, origin=origin)


def sample_unseen(
    space: Space[Any], known: Set[Candidate], rng: np.random.Generator
) -> Candidate | None:
    """A random candidate that is not among the `known`; None when there seems to be no other.

    Draws a bounded number of times; a space of at most 10,000 candidates is then listed, so that
    there None is certain.
    """
    for _ in range(_TRIES):
        candidate = space.sample(rng)
        if candidate not in known:
            return candidate
    if space.size > _LISTED:
        return None
    left = [candidate for candidate in space if candidate not in known]
    return left[rng.integers(len(left))] if left else None
