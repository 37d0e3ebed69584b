"""Which models to average, and how much of each: greedy selection on held-out predictions.

Caruana, Niculescu-Mizil, Crew and Ksikes 2004, "Ensemble selection from libraries of models": start
with nothing, add the model that makes the average best, again and again, with replacement (sec. 2);
do so for several random halves of the library, and average what comes of it (sec. 2.3, bagging).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, check_whole, expected

Predictions = NDArray[np.floating]
"""(rows, classes) probabilities or (rows,) values, for the same held-out rows."""
Loss = Callable[[Predictions, NDArray[np.int64]], float]
"""A prediction for some of the rows, and which rows these are -> a number of which less is better."""

_LEAST = 4
"""Fewer rows have no halves."""
_SAME = 1e-9
"""Losses so close are ties: sums of floats in another order differ by less."""


@dataclass(frozen=True)
class GreedySelection:
    """The settings of the selection.

    `steps`: models added, at most. `bags`: random subsets of the library, each with the share
    `share` of the models; 0: the whole library once. `halves`: splits of the rows by which an
    average of several has to prove that it is better than the best alone, by `margin` standard
    errors of the mean gain; 0: it need not.
    """

    steps: int = 25
    n_bags: int = 0
    bag_fraction: float = 0.5
    n_repeats: int = 4
    min_standard_errors: float = 1.0

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
        for name in ("bags", "halves"):
            check_whole(name, getattr(self, name), 0)
        if not 0 < self.bag_fraction <= 1:
            raise InputError(expected("share", "above 0 and at most 1", self.bag_fraction))

    def __call__(
        self, library: Sequence[Predictions], loss: Loss, rng: np.random.Generator,
        groups: NDArray[Any] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """(models,) weights that sum to 1, most of them 0. `groups`: as in `halves`.

        A model alone where an average, selected on one half of the rows, is not better on the
        other half than the model that is best on the first, over all `halves`: few rows make any
        average look good. Raises InputError without models, or where they are of different rows.
        """
        _check(library)
        rows = np.arange(len(library[0]))
        alone = _only(int(np.argmin([loss(one, rows) for one in library])), len(library))
        weights = self._select(library, loss, rows, rng)
        if np.count_nonzero(weights) < 2 or not self._proven(library, loss, rng, groups):
            return alone
        return weights

    def _select(
        self, library: Sequence[Predictions], loss: Loss, rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Averaged over the bags."""
        n = len(library)
        size = max(1, round(self.bag_fraction * n))
        subsets = [np.sort(rng.permutation(n)[:size]) for _ in range(self.n_bags)] or [np.arange(n)]
        total = np.zeros(n)
        for subset in subsets:
            chosen = [library[i][rows] for i in subset]
            total[subset] += greedy_selection(chosen, lambda one: loss(one, rows), self.steps)
        weights: NDArray[np.float64] = total / total.sum()
        return weights

    def _proven(
        self, library: Sequence[Predictions], loss: Loss, rng: np.random.Generator,
        groups: NDArray[Any] | None,
    ) -> bool:  # fmt: skip
        gains = []
        for here, there in repeated_two_fold(len(library[0]), self.n_repeats, rng, groups):
            weights = self._select(library, loss, here, rng)
            best = int(np.argmin([loss(one[here], here) for one in library]))
            blended = weighted_average([one[there] for one in library], weights)
            gains.append(loss(library[best][there], there) - loss(blended, there))
        if not gains:
            return not self.n_repeats
        error = float(np.std(gains)) / np.sqrt(len(gains))
        return bool(np.mean(gains) > self.min_standard_errors * error)


def repeated_two_fold(
    n: int, n_repeats: int, rng: np.random.Generator, groups: NDArray[Any] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Numbers of n rows in random halves, so many times, each pair also the other way round.

    `groups` (n,): rows of one group are in one half. None of fewer than four rows or two groups.
    """
    of = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    many = int(of.max(initial=-1)) + 1
    if n < _LEAST or many < 2:
        return
    for _ in range(n_repeats):
        order = rng.permutation(many)
        here, there = order[::2], order[1::2]
        if groups is not None:
            here, there = (np.flatnonzero(np.isin(of, half)) for half in (here, there))
        yield from ((here, there), (there, here))


def greedy_selection(
    library: Sequence[Predictions], loss: Callable[[Predictions], float], steps: int
) -> NDArray[np.float64]:
    """(models,) shares of the best of the averages on the way; of equals, the one of fewer models."""
    counts = np.zeros(len(library), np.int64)
    total = np.zeros_like(library[0], dtype=np.float64)
    best, kept = np.inf, counts
    for step in range(1, steps + 1):
        losses = np.array([loss((total + one) / step) for one in library])
        ties = np.flatnonzero(losses <= losses.min() + _SAME)
        known = ties[counts[ties] > 0]  # one that is in already adds no cost
        chosen = int(known[0] if len(known) else ties[0])
        total += library[chosen]
        counts[chosen] += 1
        if losses[chosen] < best - _SAME:
            best, kept = float(losses[chosen]), counts.copy()
    weights: NDArray[np.float64] = kept / kept.sum()
    return weights


def weighted_average(
    library: Sequence[Predictions], weights: Sequence[float] | NDArray[np.float64]
) -> Predictions:
    """The weighted mean, in float64; models without weight are not looked at."""
    pairs = [(one, w) for one, w in zip(library, weights, strict=True) if w > 0]
    total: Predictions = np.sum([w * one.astype(np.float64) for one, w in pairs], axis=0)
    return total


def _only(place: int, n: int) -> NDArray[np.float64]:
    found = np.zeros(n)
    found[place] = 1.0
    return found


def _check(library: Sequence[Predictions]) -> None:
    if not library:
        raise InputError(expected("library", "at least one model's predictions", 0))
    shapes = {one.shape for one in library}
    if len(shapes) > 1 or not len(library[0]):
        got = ", ".join(map(str, sorted(shapes)))
        raise InputError(expected("predictions", "for the same rows, at least one", got))
    if not all(np.isfinite(one).all() for one in library):
        raise InputError("predictions must be finite, got NaN or infinity. Leave that model out.")
