"""Hand-made candidates, tried before anything is searched: there is always an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwright.automl.spaces import Brief
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space

_IMAGE_RECIPE: Mapping[str, Value] = {
    "model.lr": 4e-3, "model.batch_size": 64, "model.label_smoothing": 0.05,
    "model.optimizer.weight_decay": 1e-2,
}  # fmt: skip
