"""Constant baseline: the same prediction for every row (scikit-learn: DummyClassifier)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Features, Table, Task
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.target_transform import TargetTransform, fit_target_transform


@dataclass(frozen=True)
class ConstantPredictor:
    """Predicts the same for every row.

    Args:
        prediction: class probabilities (classes,) in float32, or a scalar () in float64.
        target: the transform of the target.
        row_count_input: the name of the graph input that gives the number of rows.
    """

    prediction: NDArray[np.floating]
    target: TargetTransform
    row_count_input: str

    @property
    def threshold(self) -> float:
        """Decision threshold of two classes: the likelier one is the label."""
        return 0.5

    def predict(self, features: Features) -> NDArray[np.floating]:
        """Return probabilities (rows, classes) in float32, or values (rows,) in float64."""
        return np.broadcast_to(self.prediction, (len(features), *self.prediction.shape)).copy()

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add nodes that repeat the prediction for each row; return the tensor's name."""
        rows = builder.add("Shape", [self.row_count_input], start=0, end=1)
        row_shape = builder.constant(np.array(self.prediction.shape, np.int64))
        shape = builder.add("Concat", [rows, row_shape], axis=0)
        return builder.add("Expand", [builder.constant(self.prediction), shape])


def fit_constant_predictor(task: Task, metric: str = "") -> ConstantPredictor:
    """Fit the constant on the training rows, with their weights.

    Args:
        task: the task; classes are predicted by their frequencies, numbers by their mean.
        metric: for ``"mae"`` numbers are predicted by their median, the best constant then.
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
    row_count_input = task.features.columns[0].name if isinstance(task.features, Table) else "image"
    return ConstantPredictor(prediction, fit_target_transform(task), row_count_input)
