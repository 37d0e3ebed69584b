"""Networks for images that are tried before anything is searched."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.automl.image.space import stem_strides
from netwright.space.candidate import Value

_IMAGE_RECIPE: dict[str, Value] = {
    "activation": "relu", "model.lr": 4e-3, "model.batch_size": 64,
    "model.optimizer.weight_decay": 1e-2, "model.schedule": "OneCycle", "model.augment": "shift",
}  # fmt: skip


def image_configs(side: int) -> list[dict[str, Value]]:
    """A tiny residual network, one of middling size, then others: a first sketch of the front."""
    stride = stem_strides(side)[-1]
    stem: dict[str, Value] = {
        "model.network.0.stride": stride, "model.network.0.kernel": max(3, stride + 1)
    }  # fmt: skip
    recipe = _IMAGE_RECIPE | stem
    return [
        recipe | _stages(8, (16, 24, 32), times=0),
        recipe | _stages(16, (32, 64, 96), times=1),
        recipe | _stages(8, (32, 64, 64), times=0),
        recipe | _stages(8, (24, 48, 64), times=1),
        recipe | _stages(32, (64, 96, 128), times=2) | {"model.label_smoothing": 0.05},
    ]


def _stages(stem: int, widths: Sequence[int], times: int) -> dict[str, Value]:
    """Decisions for every stage that the space may have."""
    found: dict[str, Value] = {"model.network.0.channels": stem}
    for stage, width in enumerate(widths, start=1):
        found |= {
            f"model.network.{stage}.0.channels": width,
            f"model.network.{stage}.1.times": times,
        }
    return found
