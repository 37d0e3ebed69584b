"""A metric as a loss, by itself: for what asks again and again, where `score` computes all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.trials.metrics import METRICS, Kind, labelled, score, score_labels

Predictions = NDArray[np.floating]
OF_LABELS = ("accuracy", "balanced_accuracy", "f1")
_EDGE = 1e-15


def loss_of(
    kind: Kind, metric: str, threshold: float = 0.5
) -> Callable[[Predictions, NDArray[Any]], float]:
    """Less is better, 0 the best there is: of a metric that rises, what it lacks of 1.

    The usual metrics are computed without all others. `threshold`: as in `trials.metrics.score`.
    """
    if metric == "log_loss":
        return log_loss
    if metric == "auc" and kind == "binary":
        return lambda p, truth: 1 - auc(p[:, 1], truth)
    if metric == "rmse":
        return lambda p, truth: float(np.sqrt(np.mean((p - truth) ** 2)))
    if metric in OF_LABELS and threshold != 0.5:
        return lambda p, truth: 1 - score_labels(truth, labelled(p[:, 1], threshold), 2)[metric]
    if metric in OF_LABELS:
        return lambda p, truth: 1 - score_labels(truth, p.argmax(1), p.shape[1])[metric]
    falls = METRICS[metric].direction == "min"

    def loss(p: Predictions, truth: NDArray[Any]) -> float:
        scores = score(kind, truth, p)
        usual = scores["rmse" if kind == "regression" else "log_loss"]
        if metric not in scores:
            return usual
        return scores[metric] if falls else 1 - scores[metric]

    return loss


def auc(ranked: NDArray[np.floating], truth: NDArray[Any]) -> float:
    """Area under the ROC curve from ranks, ties in the middle; .5 of one class."""
    positive = truth == 1
    many, others = int(positive.sum()), int((~positive).sum())
    if not many or not others:
        return 0.5
    _, place, counts = np.unique(ranked, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # the middle of its ties
    return float((rank[place[positive]].sum() - many * (many + 1) / 2) / (many * others))


def predicted(said: Predictions) -> NDArray[np.bool_]:
    """(rows,) those with a prediction: the others are NaN."""
    return np.asarray(np.isfinite(said.reshape(len(said), -1)).all(1))


def log_loss(p: Predictions, truth: NDArray[Any]) -> float:
    """Mean negative log probability of the truth; (rows, classes), (rows,) class numbers."""
    told = p[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(told, _EDGE, 1)).mean())
