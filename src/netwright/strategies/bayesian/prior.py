"""What is expected of a candidate before anything is trained: the larger, maybe, the better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.knowledge import Knowledge
from netwright.space.candidate import Candidate

Array = NDArray[np.float64]

_FINEST, _FARTHEST = 0.3, 20.0
"""In median distances to the best: finer differences count little, larger ones no more."""
_ALIKE = 1e-12
"""Variance of scores that tell nothing apart."""
_JUDGED = 12
"""Trials after which a score that goes the wrong way is dropped, whatever was expected of it."""
_SLOPE, _DOUBT = 0.7, 0.25
"""What a score is expected to be worth, in deviations of the target by deviations of the score."""


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


def by_distance(losses: Array) -> Array:
    """(n,) targets of mean 0 and variance 1, high for a low loss: minus log(distance to the best).

    Ranks say how many are better; this says by how much, and near the best in ever finer steps.
    """
    far = losses - losses.min()
    told = far[(far > 0) & np.isfinite(far)]
    if not len(told):  # all alike, or without end
        return by_rank(losses)
    usual = float(np.median(told))
    target = -np.log(_FINEST * usual + np.minimum(far, _FARTHEST * usual))
    return np.asarray((target - target.mean()) / target.std())


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
    if n < 2 or variance <= _ALIKE:
        return 0.0
    if n >= sceptical_after and rank_correlation(prior, y) < least:
        return 0.0
    covariance = float(((prior - prior.mean()) * (y - y.mean())).mean())
    return max(0.0, covariance / variance) * n / (n + 3)


Covariance = Callable[[], Array]
"""Gives the covariance (n, n) of targets, with noise; costly, and not every trend asks for it."""


def least_squares(prior: Array, y: Array, covariance: Covariance) -> tuple[float, float]:
    """Slope and constant of targets y (n,) by the prior (n,), whatever their covariance."""
    steep = slope(prior, y)
    return steep, float((y - steep * prior).mean())


def generalised_least_squares(
    prior: Array, y: Array, covariance: Covariance
) -> tuple[float, float]:
    """Slope and constant of targets y (n,) by the prior (n,), where trials are like each other.

    A search stays with what the prior likes, and in so narrow a range least squares see little of
    its slope; weighed by the covariance, what differs in the prior alone tells. The slope is
    normal beforehand (Rasmussen and Williams 2006, section 2.7), and never below 0.
    """
    blind = prior.var() <= _ALIKE  # nothing to judge it by
    if blind or (len(y) >= _JUDGED and rank_correlation(prior, y) < 0):
        return 0.0, float(y.mean())
    basis = np.column_stack([prior, np.ones(len(y))])  # (n, 2)
    weighed = np.linalg.solve(covariance(), basis)
    precision = basis.T @ weighed + np.diag([_DOUBT**-2, 1e-6])
    steep, constant = np.linalg.solve(precision, weighed.T @ y + [_SLOPE / _DOUBT**2, 0.0])
    if steep < 0:
        steep, constant = 0.0, weighed[:, 1] @ y / weighed[:, 1].sum()
    return float(steep), float(constant)


def level(prior: Array, y: Array, covariance: Covariance) -> tuple[float, float]:
    """No slope: what the prior says nothing of."""
    return 0.0, float(y.mean())
