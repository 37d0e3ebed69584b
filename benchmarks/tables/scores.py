"""One judge for all: log loss, AUC or RMSE of the predictions that a system left on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RISES = {"auc": True, "log_loss": False, "rmse": False}
_LEAST = 1e-15
"""Below it a probability counts as this: a sure mistake costs 34.5, not infinity."""


def score(metric: str, truth: NDArray[Any], said: NDArray[np.float64]) -> float:
    """`truth` (n,) class numbers or values; `said` (n, classes) probabilities or (n,) values.

    ValueError where predictions are of another shape or not finite: that is a failure, not a score.
    """
    said = np.asarray(said, np.float64)
    if len(said) != len(truth) or not np.isfinite(said).all():
        raise ValueError(f"predictions must be {len(truth)} finite rows, got {_described(said)}.")
    if metric == "rmse":
        return float(np.sqrt(np.mean((said - truth) ** 2)))
    if metric == "auc":
        return _auc(truth, said[:, 1])
    said = said / np.maximum(said.sum(1, keepdims=True), _LEAST)
    chance = said[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(chance, _LEAST, 1.0)).mean())


def loss(metric: str, value: float) -> float:
    """The same, the smaller the better: 1 - AUC."""
    return 1.0 - value if RISES[metric] else value


def trivial(metric: str, truth: NDArray[Any], constant: Any) -> float:
    """What saying the same of every row scores: the shares (classes,) learnt from, or the mean."""
    constant = np.asarray(constant, np.float64)
    return score(metric, truth, np.tile(constant, (len(truth), *[1] * constant.ndim)))


def _auc(truth: NDArray[Any], said: NDArray[np.float64]) -> float:
    """Area under the ROC curve by ranks, ties halved (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    positive = truth == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    above = rankdata(said)[positive].sum() - ones * (ones + 1) / 2
    return float(above / (ones * zeros))


def _described(said: NDArray[np.float64]) -> str:
    bad = int((~np.isfinite(said)).sum())
    return f"{len(said)} rows with {bad} numbers that are not finite"
