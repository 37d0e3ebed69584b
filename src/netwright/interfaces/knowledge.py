"""The contract of knowledge: what may be known of a candidate before it is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Candidate
from netwright.trials.trial import Metrics


class Knowledge(Protocol):
    """What is known of a candidate before it is evaluated; cheap to ask for, and deterministic."""

    def canonical(self, candidate: Candidate) -> str:
        """Return a key that is equal for candidates of the same network (or pipeline)."""
        ...

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        """Return groups of features, (n, d) each: paths, subtrees, sizes.

        The groups are the same at every call; columns of a group need no common scale.
        """
        ...

    def metrics(self, candidate: Candidate) -> Metrics:
        """Return metrics known without evaluating, such as parameters: exactly those of a trial."""
        ...

    def scores(self, candidate: Candidate) -> Metrics:
        """Return hints that correlate with quality, such as size or zero-cost scores."""
        ...


class DefaultKnowledge:
    """The default: nothing is known but the space."""

    def canonical(self, candidate: Candidate) -> str:
        return candidate.key

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        return ()

    def metrics(self, candidate: Candidate) -> Metrics:
        return {}

    def scores(self, candidate: Candidate) -> Metrics:
        return {}
