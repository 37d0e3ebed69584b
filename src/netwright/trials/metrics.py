"""The metrics netwright knows by name: direction, unit, meaning, and how they are computed.

Names are public: runs on disk, limits and objectives use them. A new metric of predictions is a
function in `trials.scores` and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, closest
from netwright.trials import scores
from netwright.trials.scores import ScoredRows, Weights

Kind = Literal["binary", "multiclass", "regression"]
Direction = Literal["min", "max"]


Score = Callable[[ScoredRows], float]


class Defined(Protocol):
    """Returns whether a metric is defined for these targets, whatever the prediction is."""

    def __call__(
        self, target: NDArray[Any], n_classes: int, weights: Weights = None, /
    ) -> bool: ...


def _always(target: NDArray[Any], n_classes: int, weights: Weights = None, /) -> bool:
    return True


@dataclass(frozen=True)
class Metric:
    """A metric of trials.

    Args:
        direction: "max" if higher is better, else "min".
        unit: "" for a share or a score.
        meaning: a short description.
        kinds: the tasks whose predictions it scores; empty for a cost.
        score: computes it; None for a cost.
        defined: whether rows of these targets have it, whatever the prediction is.
        fast: computes it faster for two classes, but for rounding; for code that needs it
            thousands of times.
        of_labels: whether it depends on labels alone, and so on the threshold.
        predictor: of a cost that is known before training, the import path ``module:function`` below
            netwright of its function of a network, the shape of a row, and the arguments of `build`.
    """

    direction: Direction
    unit: str
    meaning: str
    kinds: tuple[Kind, ...] = ()
    score: Score | None = None
    defined: Defined = _always
    fast: Score | None = None
    of_labels: bool = False
    predictor: str = ""


_CLASSIFICATION: tuple[Kind, ...] = ("binary", "multiclass")
_REGRESSION: tuple[Kind, ...] = ("regression",)

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(
        "max",
        "",
        "share of rows labelled correctly",
        _CLASSIFICATION,
        scores.accuracy,
        of_labels=True,
    ),
    "balanced_accuracy": Metric(
        "max",
        "",
        "recall, averaged over the classes",
        _CLASSIFICATION,
        scores.balanced_accuracy,
        of_labels=True,
    ),
    "f1": Metric(
        "max", "", "F1, averaged over the classes", _CLASSIFICATION, scores.f1, of_labels=True
    ),
    "log_loss": Metric(
        "min",
        "nats",
        "mean negative log probability of the truth",
        _CLASSIFICATION,
        scores.log_loss,
    ),
    "auc": Metric(
        "max",
        "",
        "area under the ROC curve (one against rest, averaged)",
        _CLASSIFICATION,
        scores.auc,
        scores.has_all_classes,
        scores.auc_by_ranks,
    ),
    "rmse": Metric("min", "target", "root of the mean squared error", _REGRESSION, scores.rmse),
    "mae": Metric("min", "target", "mean absolute error", _REGRESSION, scores.mae),
    "r2": Metric(
        "max", "", "share of the variance explained", _REGRESSION, scores.r2, scores.varies
    ),
    "parameters": Metric("min", "", "trainable parameters of the network"),
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
    "rows_per_second": Metric("max", "", "training rows in a second of training steps"),
    "inherited": Metric("max", "", "share of the weights that come from a parent"),
}


def metric(name: str) -> Metric:
    """Return the metric of a name; raise InputError with the closest name if there is none."""
    if name not in METRICS:
        fix = closest(name, METRICS) or f"Known: {', '.join(METRICS)}."
        raise InputError(f"metric must be one that netwright knows, got {name!r}. {fix}")
    return METRICS[name]


NETWORK_COSTS = ("parameters", "flops", "memory")


def network_costs(names: Iterable[str]) -> set[str]:
    """Return those of the metrics that only a network has, such as its number of parameters."""
    predicted = {name for name, row in METRICS.items() if row.predictor}
    return set(names) & {*NETWORK_COSTS, *predicted}


def default_metric(kind: Kind) -> str:
    """Return the metric optimised by default: auc, accuracy or rmse."""
    return {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}[kind]


def scored(kind: Kind) -> tuple[str, ...]:
    """Return the names of the metrics that score predictions of this kind of task."""
    return tuple(name for name, metric in METRICS.items() if kind in metric.kinds)


def defined(kind: Kind, target: NDArray[Any], n_classes: int) -> tuple[str, ...]:
    """Return the names of the metrics that these rows define, whatever the prediction is.

    auc needs a row of every class, r2 targets that differ.
    """
    return tuple(name for name in scored(kind) if METRICS[name].defined(target, n_classes))


def score(
    kind: Kind,
    target: NDArray[Any],
    prediction: NDArray[Any],
    threshold: float = 0.5,
    weights: NDArray[np.floating] | None = None,
) -> dict[str, float]:
    """Return every metric of a prediction that the rows define.

    Args:
        kind: of the task.
        target: (n,) class indices, or values.
        prediction: (n, classes) probabilities, or (n,) values.
        threshold: of two classes, the probability from which on a row is labelled as the second.
        weights: (n,) how much each row counts; None: all alike.
    """
    prediction = np.asarray(prediction, float)
    if kind == "regression":
        target = np.asarray(target, float)
    compared = ScoredRows(target, prediction, threshold, weights)
    classes = 0 if kind == "regression" else compared.n_classes
    scores = {}
    for name in scored(kind):
        metric = METRICS[name]
        if metric.score and metric.defined(target, classes, weights):
            scores[name] = metric.score(compared)
    return scores
