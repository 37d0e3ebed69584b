"""Default configurations of networks for images, which are evaluated before the search begins."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.automl.image.space import stem_strides
from netwright.space.candidate import Value

_TRAINING: dict[str, Value] = {
    "activation": "relu", "model.lr": 4e-3, "model.batch_size": 64,
    "model.optimizer.weight_decay": 1e-2, "model.schedule": "OneCycle", "model.augment": "shift",
}  # fmt: skip


def image_configs(side: int) -> list[dict[str, Value]]:
    """Return five residual networks of different sizes, the smallest first.

    Args:
        side: pixels of the images' shorter side.
    """
    stride = stem_strides(side)[-1]
    stem: dict[str, Value] = {
        "model.network.0.stride": stride,
        "model.network.0.kernel": max(3, stride + 1),
    }
    common = _TRAINING | stem
    return [
        common | _stages(8, (16, 24, 32), times=0),
        common | _stages(16, (32, 64, 96), times=1),
        common | _stages(8, (32, 64, 64), times=0),
        common | _stages(8, (24, 48, 64), times=1),
        common | _stages(32, (64, 96, 128), times=2) | {"model.label_smoothing": 0.05},
    ]


def _stages(stem: int, widths: Sequence[int], times: int) -> dict[str, Value]:
    """Return the decisions of the stem and of every stage that the space may have."""
    decisions: dict[str, Value] = {"model.network.0.channels": stem}
    for stage, width in enumerate(widths, start=1):
        decisions |= {
            f"model.network.{stage}.0.channels": width,
            f"model.network.{stage}.1.times": times,
        }
    return decisions
