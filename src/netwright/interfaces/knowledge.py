"""What may be known of a candidate before it is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Candidate
from netwright.trials.trial import Metrics


class Knowledge(Protocol):
    """What is known of a candidate before it is paid for. Cheap, and always the same."""

    def canonical(self, candidate: Candidate) -> str:
        """Equal for candidates that are the same network (or pipeline) under another writing."""
        ...

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        """Groups of features, (n, d) each: paths, subtrees, sizes. The same groups at every call;
        within a group columns may be scaled as they like."""
        ...

    def metrics(self, candidate: Candidate) -> Metrics:
        """Metrics known without evaluating, such as parameters: exactly what an evaluation gives."""
        ...

    def scores(self, candidate: Candidate) -> Metrics:
        """Hints, which good candidates tend to have much of: size, zero-cost scores. They may err."""
        ...


class DefaultKnowledge:
    """The knowledge of one who knows the space and nothing else."""

    def canonical(self, candidate: Candidate) -> str:
        return candidate.key

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        return ()

    def metrics(self, candidate: Candidate) -> Metrics:
        return {}

    def scores(self, candidate: Candidate) -> Metrics:
        return {}
