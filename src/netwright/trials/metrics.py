"""The metrics netwright knows by name: direction, unit, and how they are computed.

Names are public: runs on disk, limits and objectives use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, closest

Kind = Literal["binary", "multiclass", "regression"]
Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Metric:
    """A metric's direction, its unit ("" for a share or a score) and what it means."""

    direction: Direction
    unit: str
    meaning: str
    kinds: tuple[Kind, ...] = ()
    """The tasks whose predictions it scores; empty for a cost."""


_CLASSES: tuple[Kind, ...] = ("binary", "multiclass")

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("max", "", "share of rows labelled right", _CLASSES),
    "balanced_accuracy": Metric("max", "", "recall, averaged over the classes", _CLASSES),
    "f1": Metric("max", "", "F1, averaged over the classes", _CLASSES),
    "log_loss": Metric("min", "nats", "mean negative log probability of the truth", _CLASSES),
    "auc": Metric("max", "", "area under the ROC curve (one against rest, averaged)", _CLASSES),
    "rmse": Metric("min", "target", "root of the mean squared error", ("regression",)),
    "mae": Metric("min", "target", "mean absolute error", ("regression",)),
    "r2": Metric("max", "", "share of the variance explained", ("regression",)),
    "parameters": Metric("min", "", "trainable numbers of the network"),
    "flops": Metric("min", "FLOP", "floating-point operations a row: 2 a multiply-add"),
    "memory": Metric("min", "byte", "peak of the activations of one row, at prediction"),
    "latency": Metric("min", "ms", "one row at a time, one thread: median"),
    "latency_spread": Metric("min", "ms", "one row at a time, one thread: interquartile range"),
    "latency_threads": Metric("min", "ms", "one row at a time, all threads: median"),
    "batch_latency": Metric("min", "ms", "a thousand rows in batches, one thread: median"),
    "batch_latency_threads": Metric("min", "ms", "a thousand rows in batches, all threads: median"),
    "size": Metric("min", "byte", "the exported file"),
    "train_seconds": Metric("min", "s", "wall time of the training"),
    "epochs": Metric("min", "", "passes over the training rows"),
    "inherited": Metric("max", "", "share of the weights that come from a parent"),
}


def metric(name: str) -> Metric:
    """The metric called `name`; InputError with the nearest name when there is none."""
    if name not in METRICS:
        fix = closest(name, METRICS) or f"Known: {', '.join(METRICS)}."
        raise InputError(f"metric must be one that netwright knows, got {name!r}. {fix}")
    return METRICS[name]


def default_metric(kind: Kind) -> str:
    """What is optimised when nothing is said: auc, accuracy or rmse."""
    return {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}[kind]


def scored(kind: Kind) -> tuple[str, ...]:
    """The metrics that judge predictions of such a task."""
    return tuple(name for name, one in METRICS.items() if kind in one.kinds)


def defined(kind: Kind, target: NDArray[Any], n_classes: int) -> tuple[str, ...]:
    """The metrics that `score` gives for these rows, whatever the prediction is.

    auc needs a row of every class, r2 targets that differ.
    """
    left_out = set()
    if kind == "regression":
        if not np.asarray(target, float).var() > 0:
            left_out.add("r2")
    elif not (np.bincount(target, minlength=n_classes) > 0).all():
        left_out.add("auc")
    return tuple(name for name in scored(kind) if name not in left_out)


def score(
    kind: Kind, target: NDArray[Any], prediction: NDArray[Any], threshold: float = 0.5,
    weights: NDArray[np.floating] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Every metric of a prediction; `weights` (n,): how much each row counts.

    Classification: `target` (n,) class numbers, `prediction` (n, classes) probabilities.
    `threshold`: of two classes, the probability from which on a row is labelled as the second.
    Regression: both (n,). A metric that the rows do not define (one class only) is left out.
    """
    if kind == "regression":
        return _score_regression(target, prediction, weights)
    return _score_classes(target, prediction, threshold, weights)


def _score_regression(
    target: NDArray[Any], prediction: NDArray[Any], weights: NDArray[np.floating] | None
) -> dict[str, float]:
    def mean(values: NDArray[Any]) -> float:
        return float(np.average(values, weights=weights))

    target = np.asarray(target, float)
    error = np.asarray(prediction, float) - target
    scores = {"rmse": float(np.sqrt(mean(error**2))), "mae": mean(np.abs(error))}
    variance = mean((target - mean(target)) ** 2)
    if variance > 0:
        scores["r2"] = 1.0 - mean(error**2) / variance
    return scores


def _score_classes(
    target: NDArray[Any], probabilities: NDArray[Any], threshold: float,
    weights: NDArray[np.floating] | None,
) -> dict[str, float]:  # fmt: skip
    from sklearn.metrics import roc_auc_score

    probabilities = np.asarray(probabilities, float)
    n, classes = probabilities.shape
    label = probabilities.argmax(1)
    if threshold != 0.5 and classes == 2:
        label = labelled(probabilities[:, 1], threshold)
    truth_probability = probabilities[np.arange(n), target]
    losses = -np.log(np.clip(truth_probability, 1e-15, 1))
    scores = score_labels(target, label, classes, weights)
    scores["log_loss"] = float(np.average(losses, weights=weights))
    if (np.bincount(target, minlength=classes) > 0).all():
        if not (np.bincount(target, weights, minlength=classes) > 0).all():
            weights = None  # there is no area of a class that does not count
        ranked = probabilities[:, 1] if classes == 2 else probabilities
        if classes > 2:  # float32 rows may miss one by 1e-7, which scikit-learn refuses
            ranked = ranked / ranked.sum(1, keepdims=True)
        scores["auc"] = float(
            roc_auc_score(target, ranked, multi_class="ovr", sample_weight=weights)
        )
    return scores


def labelled(chance: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """(rows,) 1 where the second class, of these probabilities, is the label."""
    return (chance >= np.float32(threshold)).astype(np.int64)


def score_labels(
    target: NDArray[Any], label: NDArray[Any], classes: int,
    weights: NDArray[np.floating] | None = None,
) -> dict[str, float]:  # fmt: skip
    """The metrics that look at labels alone: of class numbers (n,)."""
    confusion = np.bincount(target * classes + label, weights, minlength=classes**2)
    confusion = confusion.reshape(classes, classes).astype(float)  # (truth, label)
    right, truth, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = truth > 0
    f1 = 2 * right / np.where(truth + said > 0, truth + said, 1)
    return {
        "accuracy": float(right.sum() / confusion.sum()),
        "balanced_accuracy": float((right[present] / truth[present]).mean()),
        "f1": float(f1[present | (said > 0)].mean()),
    }
