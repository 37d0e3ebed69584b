"""Greedy ensemble selection on held-out predictions (Caruana et al., 2004).

Caruana, Niculescu-Mizil, Crew and Ksikes 2004, "Ensemble selection from libraries of models": start
with nothing and keep adding, with replacement, the model that improves the average most (sec. 2);
repeat for several random subsets of the library and average the weights (sec. 2.3, bagging).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, check_whole, expected

Predictions = NDArray[np.floating]
"""Probabilities (rows, classes) or values (rows,), for the same held-out rows."""
Loss = Callable[[Predictions, NDArray[np.int64]], float]
"""Loss of predictions for some of the rows, given their indices; lower is better."""

_MIN_ROWS_TO_SPLIT = 4
"""With fewer, a half is a single row, which proves nothing."""
_LOSS_TOLERANCE = 1e-9
"""Losses this close are ties: summing floats in another order differs by less."""


@dataclass(frozen=True)
class GreedySelection:
    """Settings of greedy ensemble selection; call it to get the weights.

    The ensemble has to prove itself: selected on half of the rows, it must be better on the other
    half than the model that is best on the first half. Otherwise the single best model gets all
    the weight, since on few rows almost any average looks good.

    Args:
        steps: number of models added, with replacement; the best prefix is kept.
        n_bags: number of random subsets of the library to average over; 0 to use the whole library
            once.
        bag_fraction: share of the library in each bag, in (0, 1].
        n_check_repeats: number of random two-fold splits of the rows for the check; 0 to skip it.
        min_standard_errors: how many standard errors of the mean gain the mean gain must exceed.

    Example:
        >>> def mse(p, rows):
        ...     return float(np.mean((p - y[rows]) ** 2))
        >>> weights = GreedySelection()(predictions, mse, np.random.default_rng(0))
    """

    steps: int = 25
    n_bags: int = 0
    bag_fraction: float = 0.5
    n_check_repeats: int = 4
    min_standard_errors: float = 1.0

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
        for name in ("n_bags", "n_check_repeats"):
            check_whole(name, getattr(self, name), 0)
        if not 0 < self.bag_fraction <= 1:
            rule = "above 0 and at most 1"
            raise InputError(expected("bag_fraction", rule, self.bag_fraction))

    def __call__(
        self,
        library: Sequence[Predictions],
        loss: Loss,
        rng: np.random.Generator,
        groups: NDArray[Any] | None = None,
    ) -> NDArray[np.float64]:
        """Select models and return their weights.

        Args:
            library: the models' predictions for the same rows, each (rows, classes) or (rows,).
            loss: loss of predictions for some of the rows, given their indices.
            rng: draws the bags and the splits.
            groups: (rows,) group of each row; splits keep groups together.

        Returns:
            (models,) weights that sum to 1, most of them 0.

        Raises:
            InputError: The library is empty, or predictions differ in shape or are not finite.
        """
        _check_library(library)
        rows = np.arange(len(library[0]))
        losses = [loss(predictions, rows) for predictions in library]
        single_best = _one_hot(int(np.argmin(losses)), len(library))
        weights = self._select(library, loss, rows, rng)
        if np.count_nonzero(weights) < 2 or not self._beats_single(library, loss, rng, groups):
            return single_best
        return weights

    def _select(
        self,
        library: Sequence[Predictions],
        loss: Loss,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Return (models,) weights selected on these rows, averaged over the bags."""
        n_models = len(library)
        bag_size = max(1, round(self.bag_fraction * n_models))
        bags = [np.sort(rng.permutation(n_models)[:bag_size]) for _ in range(self.n_bags)]
        total = np.zeros(n_models)
        for bag in bags or [np.arange(n_models)]:
            predictions = [library[i][rows] for i in bag]
            total[bag] += greedy_selection(predictions, lambda p: loss(p, rows), self.steps)
        weights: NDArray[np.float64] = total / total.sum()
        return weights

    def _beats_single(
        self,
        library: Sequence[Predictions],
        loss: Loss,
        rng: np.random.Generator,
        groups: NDArray[Any] | None,
    ) -> bool:
        """Return whether a selected ensemble beats the single best model on rows not used for it."""
        gains = []
        for train, test in repeated_two_fold(len(library[0]), self.n_check_repeats, rng, groups):
            weights = self._select(library, loss, train, rng)
            best = int(np.argmin([loss(predictions[train], train) for predictions in library]))
            ensemble = weighted_average([predictions[test] for predictions in library], weights)
            gains.append(loss(library[best][test], test) - loss(ensemble, test))
        if not gains:
            return not self.n_check_repeats
        standard_error = float(np.std(gains)) / np.sqrt(len(gains))
        return bool(np.mean(gains) > self.min_standard_errors * standard_error)


def repeated_two_fold(
    n: int, n_repeats: int, rng: np.random.Generator, groups: NDArray[Any] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split n rows into random halves, `n_repeats` times; each split is yielded in both orders.

    Args:
        n: number of rows.
        n_repeats: number of splits.
        rng: draws the splits.
        groups: (n,) group of each row; a group lies in one half.

    Yields:
        Indices of the rows of (one half, the other). Nothing for fewer than four rows or two groups.
    """
    group_ids = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(group_ids.max(initial=-1)) + 1
    if n < _MIN_ROWS_TO_SPLIT or n_groups < 2:
        return
    for _ in range(n_repeats):
        order = rng.permutation(n_groups)
        first, second = order[::2], order[1::2]
        if groups is not None:
            first, second = (np.flatnonzero(np.isin(group_ids, half)) for half in (first, second))
        yield from ((first, second), (second, first))


def greedy_selection(
    library: Sequence[Predictions], loss: Callable[[Predictions], float], steps: int
) -> NDArray[np.float64]:
    """Greedy forward selection with replacement.

    Args:
        library: the models' predictions.
        loss: loss of averaged predictions.
        steps: number of models added.

    Returns:
        (models,) weights of the best average on the way; ties go to models already selected.
    """
    counts = np.zeros(len(library), np.int64)
    total = np.zeros_like(library[0], dtype=np.float64)
    best_loss, best_counts = np.inf, counts
    for step in range(1, steps + 1):
        losses = np.array([loss((total + predictions) / step) for predictions in library])
        ties = np.flatnonzero(losses <= losses.min() + _LOSS_TOLERANCE)
        selected_ties = ties[counts[ties] > 0]  # a selected model adds no cost at prediction
        chosen = int(selected_ties[0] if len(selected_ties) else ties[0])
        total += library[chosen]
        counts[chosen] += 1
        if losses[chosen] < best_loss - _LOSS_TOLERANCE:
            best_loss, best_counts = float(losses[chosen]), counts.copy()
    weights: NDArray[np.float64] = best_counts / best_counts.sum()
    return weights


def weighted_average(
    library: Sequence[Predictions], weights: Sequence[float] | NDArray[np.float64]
) -> Predictions:
    """Return the weighted sum of predictions in float64, skipping models of weight 0."""
    pairs = [(p, weight) for p, weight in zip(library, weights, strict=True) if weight > 0]
    total: Predictions = np.sum([weight * p.astype(np.float64) for p, weight in pairs], axis=0)
    return total


def _one_hot(index: int, n: int) -> NDArray[np.float64]:
    weights = np.zeros(n)
    weights[index] = 1.0
    return weights


def _check_library(library: Sequence[Predictions]) -> None:
    if not library:
        raise InputError(expected("library", "at least one model's predictions", 0))
    shapes = {predictions.shape for predictions in library}
    if len(shapes) > 1 or not len(library[0]):
        got = ", ".join(map(str, sorted(shapes)))
        raise InputError(expected("predictions", "for the same rows, at least one", got))
    if not all(np.isfinite(predictions).all() for predictions in library):
        raise InputError("predictions must be finite, got NaN or infinity. Leave that model out.")
