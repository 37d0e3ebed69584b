"""What is expected of a candidate before anything is trained: the larger, maybe, the better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Candidate
from netwright.strategies.base import Knowledge

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """Scores known beforehand, merged by rank among `reference` candidates.

    With several scores the logarithms of their ranks are added: what one finds bad is bad
    (AZ-NAS; Lee and Ham 2024). `scores`: each one's values in the reference, rising; `merged`:
    their sums, rising. False where no score is known.
    """

    knowledge: Knowledge
    names: tuple[str, ...]
    reference: tuple[Candidate, ...]
    scores: tuple[Array, ...]
    merged: Array

    @classmethod
    def of(cls, knowledge: Knowledge, reference: Sequence[Candidate]) -> Prior:
        known = [knowledge.scores(one) for one in reference]
        found = tuple(sorted({name for one in known for name in one}))
        scores = tuple(np.sort([one[n] for one in known if n in one]) for n in found)
        bare = cls(knowledge, found, tuple(reference), scores, np.zeros(0))
        return cls(knowledge, found, tuple(reference), scores, np.sort(bare._merge(reference)))

    @cached_property
    def of_reference(self) -> Array:
        """(reference,) scores."""
        return self.of_candidates(self.reference)

    def __bool__(self) -> bool:
        return bool(self.names)

    def of_candidates(self, candidates: Sequence[Candidate]) -> Array:
        """(n,) standard normal scores: 0 in the middle of the reference; all 0 when none is known."""
        if not self:
            return np.zeros(len(candidates))
        return _normal(self.merged, self._merge(candidates))

    def _merge(self, candidates: Sequence[Candidate]) -> Array:
        total = np.zeros(len(candidates))
        known = [self.knowledge.scores(one) for one in candidates]
        for name, scores in zip(self.names, self.scores, strict=True):
            values = np.array([one.get(name, -np.inf) for one in known])
            total += np.log(_share(scores, values))
        return total


def _share(scores: Array, values: Array) -> Array:
    """The share of the sorted scores below each value, ties by half; never 0 or 1."""
    below = np.searchsorted(scores, values, "left") + np.searchsorted(scores, values, "right")
    return np.asarray((below / 2 + 0.5) / (len(scores) + 1))


def _normal(scores: Array, values: Array) -> Array:
    from scipy.special import ndtri

    return np.asarray(ndtri(_share(scores, values)))


def by_rank(losses: Array) -> Array:
    """(n,) targets: the normal quantile of each rank, high for a low loss; ties share theirs."""
    from scipy.special import ndtri

    return np.asarray(-ndtri((mean_ranks(losses) - 0.5) / len(losses)))


def mean_ranks(values: Array) -> Array:
    """(n,) ranks from 1, ties at the mean of theirs: `rankdata`, without importing `scipy.stats`."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)  # (distinct,)
    return np.asarray((last - (count - 1) / 2)[place])


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's; 0 where one of them is constant."""
    x, y = mean_ranks(a), mean_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float(x @ y) / size if size > 0 else 0.0


def slope(prior: Array, y: Array, *, sceptical_after: int = 15, least: float = 0.15) -> float:
    """How much the targets rise with the prior: shrunk when trials are few, never below 0.

    0, too, when after some trials the rank correlation of both is small: it is of no use here.
    """
    n = len(y)
    variance = float(prior.var()) if n else 0.0
    if n < 2 or variance <= 1e-12:
        return 0.0
    if n >= sceptical_after and rank_correlation(prior, y) < least:
        return 0.0
    covariance = float(((prior - prior.mean()) * (y - y.mean())).mean())
    return max(0.0, covariance / variance) * n / (n + 3)
