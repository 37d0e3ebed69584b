"""Single metrics as losses, for code that evaluates one metric many times."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.trials.metrics import METRICS, Kind
from netwright.trials.scores import Predictions, ScoredRows, Weights


class Loss(Protocol):
    """A loss of predictions, their truth, and the weights of rows; lower is better."""

    def __call__(
        self, p: Predictions, truth: NDArray[Any], weights: Weights = None, /
    ) -> float: ...


def loss_of(kind: Kind, metric: str, threshold: float = 0.5) -> Loss:
    """Return a metric as a loss of which 0 is the best: 1 minus a metric that is maximised.

    For rows that do not define the metric, the loss is the usual one of the kind of task.

    Args:
        kind: of the task.
        metric: a metric of predictions.
        threshold: as in `trials.metrics.score`.
    """
    row = METRICS[metric]
    fast = row.fast if kind == "binary" else None
    score = fast or row.score
    usual = METRICS["rmse" if kind == "regression" else "log_loss"].score
    assert score  # only metrics of predictions have a loss
    assert usual

    def loss(p: Predictions, truth: NDArray[Any], weights: Weights = None) -> float:
        compared = ScoredRows(truth, p, threshold, weights)
        if not fast and not row.defined(truth, compared.n_classes, weights):
            return usual(compared)
        metric_value = score(compared)
        return metric_value if row.direction == "min" else 1 - metric_value

    return loss


log_loss = loss_of("multiclass", "log_loss")
"""Mean negative log probability of the truth; of (rows, classes) and (rows,) class numbers."""

_MIN_PROBABILITY = 1e-7
"""Smaller probabilities are counted as this one: a single row would outweigh all others."""


def predicted(predictions: Predictions) -> NDArray[np.bool_]:
    """Return (rows,) whether a row has a prediction; the others are NaN."""
    return np.asarray(np.isfinite(predictions.reshape(len(predictions), -1)).all(1))


def row_losses(kind: Kind, p: Predictions, truth: NDArray[Any]) -> NDArray[np.float64]:
    """Return each row's negative log probability of the truth, or its squared error.

    Args:
        kind: of the task.
        p: (rows, classes) probabilities, or (rows,) values.
        truth: (rows,) class indices, or values.
    """
    if kind == "regression":
        squares: NDArray[np.float64] = (p.astype(np.float64) - truth) ** 2
        return squares
    of_truth = p[np.arange(len(p)), truth.astype(np.int64)].astype(np.float64)
    return -np.log(np.clip(of_truth, _MIN_PROBABILITY, 1.0))
