"""Scores of a system's saved predictions: log loss, AUC or RMSE, the same code for all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHER_IS_BETTER = {"auc": True, "log_loss": False, "rmse": False}
_MIN_PROBABILITY = 1e-15
"""Smaller probabilities count as this: a certain mistake costs 34.5 instead of infinity."""


def score(metric: str, truth: NDArray[Any], predictions: NDArray[np.float64]) -> float:
    """Score predictions: probabilities (n, classes) or values (n,) against class indices or values.

    Raises:
        ValueError: Predictions have another shape or are not finite, which is a failure.
    """
    predictions = np.asarray(predictions, np.float64)
    if len(predictions) != len(truth) or not np.isfinite(predictions).all():
        raise ValueError(
            f"predictions must be {len(truth)} finite rows, got {_described(predictions)}."
        )
    if metric == "rmse":
        return float(np.sqrt(np.mean((predictions - truth) ** 2)))
    if metric == "auc":
        return _auc(truth, predictions[:, 1])
    predictions = predictions / np.maximum(predictions.sum(1, keepdims=True), _MIN_PROBABILITY)
    probability = predictions[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(probability, _MIN_PROBABILITY, 1.0)).mean())


def loss(metric: str, score: float) -> float:
    """Return a score as a loss: 1 - AUC, others unchanged."""
    return 1.0 - score if HIGHER_IS_BETTER[metric] else score


def trivial(metric: str, truth: NDArray[Any], constant: Any) -> float:
    """Score a constant prediction: training frequencies (classes,), or the training mean."""
    constant = np.asarray(constant, np.float64)
    return score(metric, truth, np.tile(constant, (len(truth), *[1] * constant.ndim)))


def _auc(truth: NDArray[Any], predictions: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve by ranks, ties counted half (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    positive = truth == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    above = rankdata(predictions)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def _described(predictions: NDArray[np.float64]) -> str:
    bad = int((~np.isfinite(predictions)).sum())
    return f"{len(predictions)} rows with {bad} numbers that are not finite"
