"""The prediction that every model has to beat: the same for each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Features, Table, Task
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.target_transform import TargetTransform, fit_target_transform


@dataclass(frozen=True)
class ConstantPredictor:
    """Says the same of every row, whatever is in it.

    Args:
        prediction: (classes,) probabilities in float32, or a number () in float64.
        target: what is predicted.
        counted: the name of an input of the exported file, which tells how many rows there are.
    """

    prediction: NDArray[np.floating]
    target: TargetTransform
    row_count_input: str

    @property
    def threshold(self) -> float:
        """Of two classes, the likelier one is the label."""
        return 0.5

    def predict(self, features: Features) -> NDArray[np.floating]:
        """(rows, classes) probabilities in float32, or (rows,) values in float64."""
        return np.broadcast_to(self.prediction, (len(features), *self.prediction.shape)).copy()

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        """The same as nodes: the prediction, repeated for the rows of an input."""
        rows = nodes.add("Shape", [self.row_count_input], start=0, end=1)
        row_shape = nodes.constant(np.array(self.prediction.shape, np.int64))
        shape = nodes.add("Concat", [rows, row_shape], axis=0)
        return nodes.add("Expand", [nodes.constant(self.prediction), shape])


def fit_constant_predictor(task: Task, metric: str = "") -> ConstantPredictor:
    """The shares of the classes among the training rows, or the mean of their targets.

    By `metric` "mae" the median, which is then the best constant. Rows count by their weights.
    """
    target = task.target[task.train]
    weights = task.weights_of(task.train)
    prediction: NDArray[np.floating]
    if task.classes:
        counts = np.bincount(target.astype(np.int64), weights, minlength=len(task.classes))
        prediction = (counts / counts.sum()).astype(np.float32)
    elif metric == "mae":
        prediction = np.asarray(np.median(target), np.float64)
    else:
        prediction = np.asarray(np.average(target, weights=weights), np.float64)
    counted = task.features.columns[0].name if isinstance(task.features, Table) else "image"
    return ConstantPredictor(prediction, fit_target_transform(task), counted)
