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
    """Whether rows of these targets have a metric, whatever the prediction is."""

    def __call__(
        self, target: NDArray[Any], n_classes: int, weights: Weights = None, /
    ) -> bool: ...


def _always(target: NDArray[Any], n_classes: int, weights: Weights = None, /) -> bool:
    return True


@dataclass(frozen=True)
class Metric:
    """What a trial is judged by.

    Args:
        direction: whether more or less is better.
        unit: "" for a share or a score.
        meaning: a few words.
        kinds: the tasks whose predictions it scores; empty for a cost.
        score: computes it; None for a cost.
        defined: whether rows of these targets have it, whatever the prediction is.
        fast: computes it faster for two classes, to rounding, for what asks thousands of times.
        of_labels: whether it looks at labels alone, and so depends on the threshold.
        predictor: of a cost that is known before training, ``module:function`` below netwright: takes
            a network, the shape of a row, and what `build` is given.
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


_CLASSES: tuple[Kind, ...] = ("binary", "multiclass")
_VALUES: tuple[Kind, ...] = ("regression",)

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(
        "max", "", "share of rows labelled right", _CLASSES, scores.accuracy, of_labels=True
    ),
    "balanced_accuracy": Metric(
        "max",
        "",
        "recall, averaged over the classes",
        _CLASSES,
        scores.balanced_accuracy,
        of_labels=True,
    ),
    "f1": Metric("max", "", "F1, averaged over the classes", _CLASSES, scores.f1, of_labels=True),
    "log_loss": Metric(
        "min", "nats", "mean negative log probability of the truth", _CLASSES, scores.log_loss
    ),
    "auc": Metric(
        "max",
        "",
        "area under the ROC curve (one against rest, averaged)",
        _CLASSES,
        scores.auc,
        scores.has_all_classes,
        scores.auc_by_ranks,
    ),
    "rmse": Metric("min", "target", "root of the mean squared error", _VALUES, scores.rmse),
    "mae": Metric("min", "target", "mean absolute error", _VALUES, scores.mae),
    "r2": Metric("max", "", "share of the variance explained", _VALUES, scores.r2, scores.varies),
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
    """The metrics that `score` gives for these rows, whatever the prediction is.

    auc needs a row of every class, r2 targets that differ.
    """
    return tuple(name for name in scored(kind) if METRICS[name].defined(target, n_classes))


def score(
    kind: Kind, target: NDArray[Any], prediction: NDArray[Any], threshold: float = 0.5,
    weights: NDArray[np.floating] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Every metric of a prediction; `weights` (n,): how much each row counts.

    Classification: `target` (n,) class numbers, `prediction` (n, classes) probabilities.
    `threshold`: of two classes, the probability from which on a row is labelled as the second.
    Regression: both (n,). A metric that the rows do not define (one class only) is left out.
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
