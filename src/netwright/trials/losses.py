"""A metric as a loss, by itself: for what asks again and again, where `score` computes all of them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.trials.metrics import METRICS, Kind, labelled, score, score_labels

Predictions = NDArray[np.floating]
Weights = NDArray[np.floating] | None
OF_LABELS = ("accuracy", "balanced_accuracy", "f1")
_EDGE = 1e-15


class Loss(Protocol):
    """Of predictions, of their truth, and of how much each row counts: less is better."""

    def __call__(
        self, p: Predictions, truth: NDArray[Any], weights: Weights = None, /
    ) -> float: ...


def loss_of(kind: Kind, metric: str, threshold: float = 0.5) -> Loss:
    """Less is better, 0 the best there is: of a metric that rises, what it lacks of 1.

    The usual metrics are computed without all others. `threshold`: as in `trials.metrics.score`.
    """
    if metric == "log_loss":
        return log_loss
    if metric == "auc" and kind == "binary":
        return lambda p, truth, weights=None: 1 - auc(p[:, 1], truth, weights)
    if metric == "rmse":
        return _rmse
    if metric in OF_LABELS:

        def of_labels(p: Predictions, truth: NDArray[Any], weights: Weights = None) -> float:
            label = p.argmax(1) if threshold == 0.5 else labelled(p[:, 1], threshold)
            return 1 - score_labels(truth, label, p.shape[1], weights)[metric]

        return of_labels
    falls = METRICS[metric].direction == "min"

    def loss(p: Predictions, truth: NDArray[Any], weights: Weights = None) -> float:
        scores = score(kind, truth, p, weights=weights)
        usual = scores["rmse" if kind == "regression" else "log_loss"]
        if metric not in scores:
            return usual
        return scores[metric] if falls else 1 - scores[metric]

    return loss


def _rmse(p: Predictions, truth: NDArray[Any], weights: Weights = None) -> float:
    return float(np.sqrt(np.average((p - truth) ** 2, weights=weights)))


def auc(ranked: NDArray[np.floating], truth: NDArray[Any], weights: Weights = None) -> float:
    """Area under the ROC curve from ranks, ties in the middle; .5 of one class."""
    positive = truth == 1
    many, others = int(positive.sum()), int((~positive).sum())
    if not many or not others:
        return 0.5
    if weights is not None:
        return _weighted_auc(ranked, positive, weights)
    _, place, counts = np.unique(ranked, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # the middle of its ties
    return float((rank[place[positive]].sum() - many * (many + 1) / 2) / (many * others))


def _weighted_auc(
    ranked: NDArray[np.floating], positive: NDArray[np.bool_], weights: NDArray[np.floating]
) -> float:
    """The weight of pairs in the right order, ties half, as a share of that of all pairs."""
    _, place = np.unique(ranked, return_inverse=True)
    low, high = (np.bincount(place, weights * of) for of in (~positive, positive))
    pairs = low.sum() * high.sum()
    below = np.cumsum(low) - low / 2
    return float((high * below).sum() / pairs) if pairs > 0 else 0.5


def predicted(said: Predictions) -> NDArray[np.bool_]:
    """(rows,) those with a prediction: the others are NaN."""
    return np.asarray(np.isfinite(said.reshape(len(said), -1)).all(1))


def log_loss(p: Predictions, truth: NDArray[Any], weights: Weights = None) -> float:
    """Mean negative log probability of the truth; (rows, classes), (rows,) class numbers."""
    told = p[np.arange(len(truth)), truth]
    return float(np.average(-np.log(np.clip(told, _EDGE, 1)), weights=weights))
