"""Default configurations of networks for images, which are evaluated before the search begins.

The first is the fixed fast recipe of Jordan (2024, 2404.00498), with fewer channels: a whitened
stem, three stages of two plain convolutions, Muon, label smoothing, shifts and alternating flips.
"""

from __future__ import annotations

from netwright.space.candidate import Value

SEARCH_WIDTH = 16
"""Channels of the first stage while candidates are compared: most epochs in the same time."""
DEFAULT_WIDTH = 32
"""Channels of the first stage where no clock is read."""
N_STAGES = 3

FAST_TRAINING: dict[str, Value] = {
    "model.lr": 0.12, "model.batch_size": 125, "model.optimizer": "muon",
    "model.optimizer.muon.weight_decay": 0.0, "model.schedule": "LinearDecay",
    "model.augment": "shift_flip", "model.label_smoothing": 0.2,
}  # fmt: skip


def fast_config(width: int) -> dict[str, Value]:
    """Return the decisions of the default: stages of `width`, 4 and 4 times as many channels."""
    decisions = FAST_TRAINING | {
        "activation": "silu", "normalisation": "batch_bias", "model.network.0": "whitened",
        "model.network.4.kind": "max", "model.network.5.p": 0.0, "model.network.7.factor": "1/9",
    }  # fmt: skip
    for stage, channels in enumerate((width, 4 * width, 4 * width), start=1):
        decisions |= {
            f"model.network.{stage}.0.channels": channels,
            f"model.network.{stage}.1.times": 1,
            f"model.network.{stage}.1.0": "plain",
        }
    return decisions


def residual_config(width: int) -> dict[str, Value]:
    """Return the decisions of a residual network trained by SGD with one cycle."""
    decisions: dict[str, Value] = {
        "activation": "relu", "normalisation": "batch", "model.network.0": "conv",
        "model.network.0.conv.channels": 16, "model.network.4.kind": "avg", "model.network.5.p": 0.0,
        "model.network.7.factor": "1", "model.lr": 0.1, "model.batch_size": 125,
        "model.optimizer": "sgd", "model.optimizer.sgd.weight_decay": 5e-4,
        "model.schedule": "OneCycle", "model.augment": "shift_flip", "model.label_smoothing": 0.0,
    }  # fmt: skip
    for stage, channels in enumerate((width, 2 * width, 4 * width), start=1):
        decisions |= {
            f"model.network.{stage}.0.channels": channels,
            f"model.network.{stage}.1.times": 1,
            f"model.network.{stage}.1.0": "residual",
        }
    return decisions


def image_configs(width: int = SEARCH_WIDTH) -> list[dict[str, Value]]:
    """Return the configurations to evaluate first: the default, then others.

    Args:
        width: channels of the first stage.
    """
    return [fast_config(width), residual_config(width)]
