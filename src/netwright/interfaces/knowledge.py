"""The contract of knowledge: what may be known of a candidate before it is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Candidate
from netwright.trials.trial import Metrics


class Knowledge(Protocol):
    """Knowledge about candidates before their evaluation: deterministic, and cheap to ask for."""

    def canonical(self, candidate: Candidate) -> str:
        """Return the canonical form of a candidate.

        Args:
            candidate: a candidate of the space.

        Returns:
            A key that is equal for candidates of the same network (or pipeline).
        """
        ...

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        """Return groups of features of candidates, such as paths, subtrees and sizes.

        Args:
            candidates: n candidates of the space.

        Returns:
            An (n, d) array for each group. The groups are the same at every call, their d need not
            be; columns of a group need no common scale.
        """
        ...

    def metrics(self, candidate: Candidate) -> Metrics:
        """Return the metrics that are known without evaluating, such as parameters.

        Args:
            candidate: a candidate of the space.

        Returns:
            Name -> value, exactly as in a trial; empty if none is known.
        """
        ...

    def scores(self, candidate: Candidate) -> Metrics:
        """Return hints that correlate with quality, such as size or zero-cost scores.

        Args:
            candidate: a candidate of the space.

        Returns:
            Name -> score, which good candidates tend to have more of; empty if none is known.
        """
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
