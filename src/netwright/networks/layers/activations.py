"""Activations and normalisations by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.sequence_norm import SequenceBatchNorm

ActivationName = Literal[
    "none", "relu", "leaky_relu", "gelu", "silu", "mish", "hardswish", "selu", "elu", "tanh"
]
NormName = Literal["none", "batch", "batch_bias", "layer", "group"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "selu": nn.SELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


def make_activation(name: str) -> nn.Module:
    """Return the module of an activation; raise InfeasibleCandidate if there is none."""
    if name not in ACTIVATIONS:
        rule = f"one of {', '.join(ACTIVATIONS)}"
        raise InfeasibleCandidate(expected("activation", rule, name))
    return ACTIVATIONS[name]()


def make_norm(name: str, shape: Shape) -> nn.Module:
    """Return the module of a normalisation for rows of this shape.

    Layer normalisation of images is over channels and pixels. Raises InfeasibleCandidate if the
    name is unknown or the normalisation cannot take the shape.
    """
    channels = shape[0] if len(shape) == 3 else shape[-1]
    if name == "none":
        return nn.Identity()
    if name == "batch":
        by_axes: list[type[nn.Module]] = [nn.BatchNorm1d, SequenceBatchNorm, nn.BatchNorm2d]
        return by_axes[len(shape) - 1](channels)
    if name == "batch_bias":
        return _batch_bias(channels, shape)
    if name == "layer":
        return nn.GroupNorm(1, channels) if len(shape) == 3 else nn.LayerNorm(channels)
    if name == "group":
        groups = next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
        if len(shape) == 2:
            raise InfeasibleCandidate("group normalisation takes images or columns. Use layer.")
        return nn.GroupNorm(groups, channels)
    rule = "batch, batch_bias, layer, group or none"
    raise InfeasibleCandidate(expected("normalisation", rule, name))


_FAST_MOMENTUM = 0.4
"""Weight of a batch in the running statistics: after a training of a few epochs they are recent."""


def _batch_bias(channels: int, shape: Shape) -> nn.Module:
    """Return batch normalisation with a bias but a fixed scale of 1, for short trainings.

    Filters of fixed norm need no second scale (Jordan 2024, 2404.00498, sec. 3).
    """
    if len(shape) == 2:
        raise InfeasibleCandidate("batch_bias takes images or columns, got a sequence. Use batch.")
    make_module = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    module = make_module(channels, momentum=_FAST_MOMENTUM)
    module.weight.requires_grad = False
    return module


def preserves_nonnegative(activation: str) -> bool:
    """Return whether an activation is the identity on inputs of at least 0."""
    return activation in ("none", "relu", "leaky_relu")


def has_kink(activation: str) -> bool:
    """Return whether an activation has a kink at 0."""
    return activation in ("relu", "leaky_relu")
