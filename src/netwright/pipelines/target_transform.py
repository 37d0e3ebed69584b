"""What a model learns and what its scores become: classes, or a number on a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate, expected
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.encoders import class_aims
from netwright.pipelines.preprocessing.steps import TargetMatrix

TargetScale: TypeAlias = Literal["plain", "log"]


@dataclass(frozen=True)
class TargetTransform:
    """How outputs become predictions: class probabilities, or a number scaled back."""

    n_classes: int
    """0 for regression."""
    mean: float = 0.0
    std: float = 1.0
    log_range: tuple[float, float] | None = None
    """Where logarithms are learnt, of which `mean` and `std` are: the least and greatest said."""

    @property
    def n_outputs(self) -> int:
        return self.n_classes or 1

    def transform(self, target: NDArray[Any]) -> NDArray[Any]:
        """What the loss compares with: class numbers, or the target at mean 0 and deviation 1."""
        if self.n_classes:
            return target.astype(np.int64)
        values = target if self.log_range is None else np.log(target)
        return ((values - self.mean) / self.std).astype(np.float32)

    def to_tensor(self, target: NDArray[Any]) -> torch.Tensor:
        """The same as a tensor."""
        return torch.from_numpy(self.transform(target))

    def to_matrix(self, target: NDArray[Any]) -> TargetMatrix:
        """What supervised steps learn from, of the training rows' targets."""
        if self.n_classes:
            return class_aims(target)
        return self.transform(target).astype(np.float64)[:, None]

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[np.floating]:
        """(rows, classes) probabilities in float32, or (rows,) values in float64."""
        if not self.n_classes:
            values = outputs[:, 0].astype(np.float64) * self.std + self.mean
            return values if self.log_range is None else np.exp(np.clip(values, *self.log_range))
        shifted = np.exp(outputs - outputs.max(1, keepdims=True))
        probabilities: NDArray[np.float32] = shifted / shifted.sum(1, keepdims=True)
        return probabilities

    def to_onnx(self, nodes: OnnxGraphBuilder, scores: str) -> str:
        """`predictions` as nodes: (rows, classes) float32, or (rows,) float64."""
        if self.n_classes:
            return nodes.add("Softmax", [scores], axis=1)
        # in float64: a target far from 0 would lose its last digits
        flat = nodes.add("Squeeze", [scores, nodes.constant(np.array([1], np.int64))])
        flat = nodes.cast(flat, np.float64)
        scaled = nodes.add("Mul", [flat, nodes.constant(np.float64(self.std))])
        value = nodes.add("Add", [scaled, nodes.constant(np.float64(self.mean))])
        if self.log_range is None:
            return value
        ends = [nodes.constant(np.float64(end)) for end in self.log_range]
        return nodes.add("Exp", [nodes.add("Clip", [value, *ends])])

    def max_difference(self, some: NDArray[Any], others: NDArray[Any]) -> float:
        """The largest between predictions: of a probability, or in deviations of the target."""
        if not len(some):
            return 0.0
        if self.log_range is not None:
            some, others = np.log(some), np.log(others)
        return float(np.abs(some - others).max() / (1.0 if self.n_classes else self.std))


def fit_target_transform(task: Task, scale: TargetScale = "plain") -> TargetTransform:
    """Fitted on the training rows.

    Raises InfeasibleCandidate where the logarithm is wanted of a number that has none.
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
    # one deviation beyond what was seen: the exponential of a stray output has no bounds
    ends = float(logs.min()) - std, float(logs.max()) + std
    return TargetTransform(0, float(logs.mean()), std, ends)
