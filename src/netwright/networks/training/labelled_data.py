"""Labelled rows in memory, as training takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate


@dataclass(frozen=True)
class LabelledData:
    """Labelled rows in memory.

    Args:
        inputs: (n, ...) uint8 or float32.
        targets: (n,) int64 classes or float32 numbers.
        weights: (n,) float32 factors of the rows' losses; None for equal weights.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Tensor | slice) -> LabelledData:
        """Return the rows of these indices."""
        weights = None if self.weights is None else self.weights[rows]
        return LabelledData(self.inputs[rows], self.targets[rows], weights)

    def with_balanced_classes(self) -> LabelledData:
        """Multiply the weights by factors that give all classes the same total weight.

        Raises:
            InfeasibleCandidate: The targets are numbers.
        """
        if self.targets.is_floating_point():
            raise InfeasibleCandidate(
                'class_weight must be "none" for a regression, got "balanced".'
            )
        weights = torch.ones(len(self)) if self.weights is None else self.weights.float()
        totals = torch.bincount(self.targets, weights=weights)
        return replace(self, weights=weights / totals[self.targets].clamp(min=1e-12))

    def with_normalized_weights(self) -> LabelledData:
        """Divide the weights by their mean, so that the loss does not depend on their unit.

        Raises:
            InfeasibleCandidate: A weight is below 0 or not finite, or all are 0.
        """
        if self.weights is None:
            return self
        weights = self.weights.float()
        if not (torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise InfeasibleCandidate(
                "weights must be finite, at least 0 and not all 0. Drop the rows."
            )
        return replace(self, weights=weights / weights.mean())
