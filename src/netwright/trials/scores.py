"""Compute each metric of predictions: one function of a `ScoredRows` for each metric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Predictions = NDArray[np.floating]
Weights = NDArray[np.floating] | None
_MIN_PROBABILITY = 1e-15
"""Probabilities are clipped to it, so that no single row makes the log loss infinite."""


@dataclass(frozen=True)
class ScoredRows:
    """Targets and predictions of scored rows, with cached intermediate results of metrics.

    Args:
        target: (n,) class numbers, or values.
        prediction: (n, classes) probabilities, or (n,) values.
        threshold: for two classes, the smallest probability of the second class that predicts it.
        weights: (n,) how much each row counts; None: all alike.
        labels: (n,) class numbers in place of those that follow from the prediction.
    """

    target: NDArray[Any]
    prediction: Predictions
    threshold: float = 0.5
    weights: Weights = None
    labels: NDArray[np.int64] | None = None

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 for values."""
        return self.prediction.shape[1] if self.prediction.ndim == 2 else 0

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """(n,) the class that each row is labelled as."""
        if self.labels is not None:
            return self.labels
        if self.threshold != 0.5 and self.n_classes == 2:
            return labelled(self.prediction[:, 1], self.threshold)
        return np.asarray(self.prediction.argmax(1))

    @cached_property
    def confusion(self) -> NDArray[np.float64]:
        """(classes, classes) the number or weight of rows of each truth and label."""
        pairs, k = self.target * self.n_classes + self.label, self.n_classes
        return np.bincount(pairs, self.weights, minlength=k**2).reshape(k, k).astype(float)

    @cached_property
    def error(self) -> NDArray[np.floating]:
        """(n,) prediction minus target."""
        return np.asarray(self.prediction - self.target)

    def mean(self, values: NDArray[Any]) -> float:
        """Return the mean over rows, by weight."""
        return float(np.average(values, weights=self.weights))


def labelled(chance: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """Return (rows,) labels, 1 where the second class has a probability of at least the threshold."""
    return (chance >= np.float32(threshold)).astype(np.int64)


def accuracy(c: ScoredRows) -> float:
    """Share of rows labelled correctly."""
    return float(c.confusion.diagonal().sum() / c.confusion.sum())


def balanced_accuracy(c: ScoredRows) -> float:
    """Recall, averaged over the classes that occur."""
    correct, support = c.confusion.diagonal(), c.confusion.sum(1)
    present = support > 0
    return float((correct[present] / support[present]).mean())


def f1(c: ScoredRows) -> float:
    """F1, averaged over the classes that occur or are predicted."""
    correct, support, predicted = c.confusion.diagonal(), c.confusion.sum(1), c.confusion.sum(0)
    total = support + predicted
    by_class = 2 * correct / np.where(total > 0, total, 1)
    return float(by_class[total > 0].mean())


def log_loss(c: ScoredRows) -> float:
    """Mean negative log probability of the truth."""
    truth_probability = c.prediction[np.arange(len(c.target)), c.target]
    return c.mean(-np.log(np.clip(truth_probability, _MIN_PROBABILITY, 1)))


def auc(c: ScoredRows) -> float:
    """Area under the ROC curve: one class against the rest, averaged."""
    from sklearn.metrics import roc_auc_score

    p, weights = np.asarray(c.prediction, float), c.weights
    if not (np.bincount(c.target, weights, minlength=c.n_classes) > 0).all():
        weights = None  # a class without weight has no ROC curve
    ranked = p[:, 1] if c.n_classes == 2 else p
    if c.n_classes > 2:  # float32 rows may miss one by 1e-7, which scikit-learn refuses
        ranked = ranked / ranked.sum(1, keepdims=True)
    return float(roc_auc_score(c.target, ranked, multi_class="ovr", sample_weight=weights))


def has_all_classes(target: NDArray[Any], n_classes: int, weights: Weights = None) -> bool:
    """Return whether there are rows of each class; else there is no ROC curve."""
    return bool((np.bincount(target, minlength=n_classes) > 0).all())


def rmse(c: ScoredRows) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(c.mean(c.error**2)))


def mae(c: ScoredRows) -> float:
    """Mean absolute error."""
    return c.mean(np.abs(c.error))


def r2(c: ScoredRows) -> float:
    """Share of the variance explained."""
    return 1.0 - c.mean(c.error**2) / _variance(c.target, c.weights)


def varies(target: NDArray[Any], n_classes: int, weights: Weights = None) -> bool:
    """Return whether the values differ; else there is no variance to explain."""
    return _variance(np.asarray(target, float), weights) > 0


def _variance(values: NDArray[np.floating], weights: Weights) -> float:
    mean = float(np.average(values, weights=weights))
    return float(np.average((values - mean) ** 2, weights=weights))


def auc_by_ranks(c: ScoredRows) -> float:
    """Area under the ROC curve of two classes, from ranks.

    A fast path for ensembles, which ask thousands of times: `auc` spends most of its time on checks.
    """
    return area_of(c.prediction[:, 1], c.target == 1, c.weights)


def area_of(
    ranked: NDArray[np.floating], positive: NDArray[np.bool_], weights: Weights = None
) -> float:
    """Return the probability that a positive row ranks above a negative one, ties counting half.

    0.5 if there are no rows of either.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return 0.5
    if weights is not None:
        return _weighted_auc(ranked, positive, weights)
    _, index, counts = np.unique(ranked, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # the middle of its ties
    wins = rank[index[positive]].sum() - n_positive * (n_positive + 1) / 2
    return float(wins / (n_positive * n_negative))


def _weighted_auc(
    ranked: NDArray[np.floating], positive: NDArray[np.bool_], weights: NDArray[np.floating]
) -> float:
    """Return the share, by weight, of pairs in the right order, ties counting half."""
    _, index = np.unique(ranked, return_inverse=True)
    low, high = (np.bincount(index, weights * of) for of in (~positive, positive))
    pairs = low.sum() * high.sum()
    below = np.cumsum(low) - low / 2
    return float((high * below).sum() / pairs) if pairs > 0 else 0.5
