"""Prior mean of the surrogate from scores known before training, such as size and zero-cost scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.knowledge import Knowledge
from netwright.space.candidate import Candidate

Array = NDArray[np.float64]

_MIN_DISTANCE, _MAX_DISTANCE = 0.3, 20.0
"""Distances to the best loss, in median distances: differences well below the first hardly count,
distances above the second are equal."""
_MIN_SCORE_VARIANCE = 1e-12
"""Prior scores with a smaller variance are constant."""
_MIN_TRIALS_TO_DROP_PRIOR = 12
"""Trials after which a prior with a negative rank correlation is dropped."""
_MIN_TRIALS_TO_DOUBT_PRIOR = 15
_MIN_PRIOR_CORRELATION = 0.15
"""After that many trials, a prior with a smaller rank correlation is not used."""
_SHRINKAGE_TRIALS = 3
"""Pseudo-trials of slope 0 in the shrunken least-squares slope."""
_SLOPE_PRIOR_MEAN, _SLOPE_PRIOR_STD = 0.7, 0.25
"""Normal prior of the slope: standard deviations of the target per one of the score."""
_CONSTANT_PRIOR_PRECISION = 1e-6


@dataclass(frozen=True)
class Prior:
    """Scores known before training, merged by rank among reference candidates.

    The logarithms of several scores' quantiles are added, so that a candidate is good only if all
    scores like it (AZ-NAS; Lee and Ham 2024). False if there are no scores.

    Args:
        knowledge: Where the scores come from.
        names: Names of the scores.
        reference: Random candidates.
        scores: For each name, its sorted values among the reference candidates.
        merged: (reference,) Sorted sums of the log quantiles.
    """

    knowledge: Knowledge
    names: tuple[str, ...]
    reference: tuple[Candidate, ...]
    scores: tuple[Array, ...]
    merged: Array

    @classmethod
    def from_reference(cls, knowledge: Knowledge, reference: Sequence[Candidate]) -> Prior:
        known_scores = [knowledge.scores(candidate) for candidate in reference]
        names = tuple(sorted({name for scores in known_scores for name in scores}))
        sorted_scores = tuple(
            np.sort([scores[name] for scores in known_scores if name in scores]) for name in names
        )
        unmerged = cls(knowledge, names, tuple(reference), sorted_scores, np.zeros(0))
        merged = np.sort(unmerged._sum_log_quantiles(reference))
        return cls(knowledge, names, tuple(reference), sorted_scores, merged)

    @cached_property
    def reference_scores(self) -> Array:
        """The merged scores (reference,) of the reference candidates."""
        return self.scores_of(self.reference)

    def __bool__(self) -> bool:
        return bool(self.names)

    def scores_of(self, candidates: Sequence[Candidate]) -> Array:
        """Return standard normal scores (n,): 0 at the reference's median, or if none is known."""
        if not self:
            return np.zeros(len(candidates))
        return _normal_scores(self.merged, self._sum_log_quantiles(candidates))

    def _sum_log_quantiles(self, candidates: Sequence[Candidate]) -> Array:
        total = np.zeros(len(candidates))
        known_scores = [self.knowledge.scores(candidate) for candidate in candidates]
        for name, reference in zip(self.names, self.scores, strict=True):
            values = np.array([scores.get(name, -np.inf) for scores in known_scores])
            total += np.log(_quantiles(reference, values))
        return total


def _quantiles(reference: Array, values: Array) -> Array:
    """Return the share of the sorted reference below each value, ties by half; never 0 or 1."""
    below = np.searchsorted(reference, values, "left") + np.searchsorted(reference, values, "right")
    return np.asarray((below / 2 + 0.5) / (len(reference) + 1))


def _normal_scores(reference: Array, values: Array) -> Array:
    from scipy.special import ndtri

    return np.asarray(ndtri(_quantiles(reference, values)))


def rank_targets(losses: Array) -> Array:
    """Return targets (n,): the normal quantile of each rank, high for low losses, ties equal."""
    from scipy.special import ndtri

    return np.asarray(-ndtri((mean_ranks(losses) - 0.5) / len(losses)))


def log_distance_targets(losses: Array) -> Array:
    """Return targets (n,), standardised: minus the log distance to the best loss.

    Unlike ranks, they keep the size of differences, with a finer resolution near the best.
    """
    distances = losses - losses.min()
    positive = distances[(distances > 0) & np.isfinite(distances)]
    if not len(positive):  # all equal, or all others infinite
        return rank_targets(losses)
    median = float(np.median(positive))
    targets = -np.log(_MIN_DISTANCE * median + np.minimum(distances, _MAX_DISTANCE * median))
    return np.asarray((targets - targets.mean()) / targets.std())


def mean_ranks(values: Array) -> Array:
    """Return ranks (n,) from 1, tied values at their mean rank.

    Equals `scipy.stats.rankdata`, without the slow import of `scipy.stats`.
    """
    _, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts)  # (distinct values,)
    return np.asarray((last_ranks - (counts - 1) / 2)[indices])


def rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation; 0 if an array is constant."""
    x, y = mean_ranks(a), mean_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float(x @ y) / norm if norm > 0 else 0.0


def shrunken_slope(
    prior_scores: Array,
    y: Array,
    *,
    sceptical_after: int = _MIN_TRIALS_TO_DOUBT_PRIOR,
    min_correlation: float = _MIN_PRIOR_CORRELATION,
) -> float:
    """Return the least-squares slope of targets y (n,) by prior scores (n,), shrunk for small n.

    Never below 0; also 0 if the rank correlation is below `min_correlation` after
    `sceptical_after` trials.
    """
    n = len(y)
    variance = float(prior_scores.var()) if n else 0.0
    if n < 2 or variance <= _MIN_SCORE_VARIANCE:
        return 0.0
    if n >= sceptical_after and rank_correlation(prior_scores, y) < min_correlation:
        return 0.0
    covariance = float(((prior_scores - prior_scores.mean()) * (y - y.mean())).mean())
    return max(0.0, covariance / variance) * n / (n + _SHRINKAGE_TRIALS)


ComputeCovariance = Callable[[], Array]
"""Computes the covariance (n, n) of noisy targets; a callable, since few trends need it."""


def least_squares(
    prior_scores: Array, y: Array, covariance: ComputeCovariance
) -> tuple[float, float]:
    """Return slope and constant of targets y (n,) by prior scores (n,), ignoring the covariance."""
    slope = shrunken_slope(prior_scores, y)
    return slope, float((y - slope * prior_scores).mean())


def generalised_least_squares(
    prior_scores: Array, y: Array, covariance: ComputeCovariance
) -> tuple[float, float]:
    """Return slope and constant of correlated targets y (n,) by prior scores (n,).

    A search stays where the prior scores are high, and ordinary least squares underestimates the
    slope in such a narrow range; weighing by the covariance corrects that. The slope has a normal
    prior (Rasmussen and Williams 2006, section 2.7) and is never below 0.
    """
    is_constant = prior_scores.var() <= _MIN_SCORE_VARIANCE
    if is_constant or (
        len(y) >= _MIN_TRIALS_TO_DROP_PRIOR and rank_correlation(prior_scores, y) < 0
    ):
        return 0.0, float(y.mean())
    basis = np.column_stack([prior_scores, np.ones(len(y))])  # (n, 2)
    weighted = np.linalg.solve(covariance(), basis)
    precision = basis.T @ weighted + np.diag([_SLOPE_PRIOR_STD**-2, _CONSTANT_PRIOR_PRECISION])
    prior_term = [_SLOPE_PRIOR_MEAN / _SLOPE_PRIOR_STD**2, 0.0]
    slope, constant = np.linalg.solve(precision, weighted.T @ y + prior_term)
    if slope < 0:
        slope, constant = 0.0, weighted[:, 1] @ y / weighted[:, 1].sum()
    return float(slope), float(constant)


def constant_trend(
    prior_scores: Array, y: Array, covariance: ComputeCovariance
) -> tuple[float, float]:
    """Return slope 0 and the mean: for targets that the prior scores say nothing about."""
    return 0.0, float(y.mean())
