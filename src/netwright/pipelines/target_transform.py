"""Transform of the target: what a model learns, and how its scores become predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate, expected
from netwright.pipelines.interfaces import Arrays
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.encoders import class_target_matrix
from netwright.pipelines.preprocessing.steps import TargetMatrix

TargetScale: TypeAlias = Literal["plain", "log"]


@dataclass(frozen=True)
class TargetTransform:
    """Softmax of class scores, or the inverse of a standardized (log) target.

    Args:
        n_classes: the number of classes; 0 for regression.
        mean: mean of the training targets, of their logarithms if `log_range` is set.
        std: standard deviation of the same.
        log_range: the lowest and highest logarithm that is predicted; None if the model learns the
            target itself.
    """

    n_classes: int
    mean: float = 0.0
    std: float = 1.0
    log_range: tuple[float, float] | None = None

    @property
    def n_outputs(self) -> int:
        """Raw scores per row."""
        return self.n_classes or 1

    def transform(self, target: Arrays) -> Arrays:
        """Return what the model learns: int64 class indices, or standardized float32 values."""
        if self.n_classes:
            return target.astype(np.int64)
        values = target if self.log_range is None else np.log(target)
        return ((values - self.mean) / self.std).astype(np.float32)

    def to_tensor(self, target: Arrays) -> torch.Tensor:
        """Return `transform` as a tensor."""
        return torch.from_numpy(self.transform(target))

    def to_matrix(self, target: Arrays) -> TargetMatrix:
        """Return the matrix (rows, k) from which supervised preprocessing steps learn."""
        if self.n_classes:
            return class_target_matrix(target)
        return self.transform(target).astype(np.float64)[:, None]

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[np.floating]:
        """Convert raw scores (rows, outputs) to predictions.

        Returns:
            Probabilities (rows, classes) in float32, or values (rows,) in float64.
        """
        if not self.n_classes:
            values = outputs[:, 0].astype(np.float64) * self.std + self.mean
            return values if self.log_range is None else np.exp(np.clip(values, *self.log_range))
        shifted = np.exp(outputs - outputs.max(1, keepdims=True))
        probabilities: NDArray[np.float32] = shifted / shifted.sum(1, keepdims=True)
        return probabilities

    def to_onnx(self, builder: OnnxGraphBuilder, scores: str) -> str:
        """Add the nodes of `predictions`; return the name of their output."""
        if self.n_classes:
            return builder.add("Softmax", [scores], axis=1)
        # float64: in float32 a target far from 0 would lose its last digits
        flat = builder.add("Squeeze", [scores, builder.constant(np.array([1], np.int64))])
        flat = builder.cast(flat, np.float64)
        scaled = builder.add("Mul", [flat, builder.constant(np.float64(self.std))])
        values = builder.add("Add", [scaled, builder.constant(np.float64(self.mean))])
        if self.log_range is None:
            return values
        bounds = [builder.constant(np.float64(bound)) for bound in self.log_range]
        return builder.add("Exp", [builder.add("Clip", [values, *bounds])])

    def max_difference(self, first: Arrays, second: Arrays) -> float:
        """Return the largest difference of two predictions for the same rows.

        In probability for classes, in standard deviations of the (log) target for regression.
        """
        if not len(first):
            return 0.0
        if self.log_range is not None:
            first, second = np.log(first), np.log(second)
        return float(np.abs(first - second).max() / (1.0 if self.n_classes else self.std))


def fit_target_transform(task: Task, scale: TargetScale = "plain") -> TargetTransform:
    """Fit the transform on the training rows.

    Raises:
        InfeasibleCandidate: `scale` is "log" and a target is not positive.
    """
    if task.kind != "regression":
        return TargetTransform(len(task.classes))
    values = np.asarray(task.target[task.train], np.float64)
    if scale == "plain":
        return TargetTransform(0, float(values.mean()), float(values.std()) or 1.0)
    if task.target.min() <= 0:
        rule = "positive for its logarithm to be learnt"
        raise InfeasibleCandidate(expected("the target", rule, float(task.target.min())))
    logs = np.log(values)
    std = float(logs.std()) or 1.0
    # one standard deviation beyond the training targets: exp of a stray output has no bound
    log_range = float(logs.min()) - std, float(logs.max()) + std
    return TargetTransform(0, float(logs.mean()), std, log_range)
