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
NormName = Literal["none", "batch", "layer", "group"]

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


def activation(name: str) -> nn.Module:
    """The activation called `name`."""
    if name not in ACTIVATIONS:
        rule = f"one of {', '.join(ACTIVATIONS)}"
        raise InfeasibleCandidate(expected("activation", rule, name))
    return ACTIVATIONS[name]()


def normalisation(name: str, shape: Shape) -> nn.Module:
    """The normalisation called `name` for rows of this shape; its channels are c."""
    channels = shape[0] if len(shape) == 3 else shape[-1]
    if name == "none":
        return nn.Identity()
    if name == "batch":
        of: list[type[nn.Module]] = [nn.BatchNorm1d, SequenceBatchNorm, nn.BatchNorm2d]
        return of[len(shape) - 1](channels)
    if name == "layer":  # of images: over channels and pixels, one group
        return nn.GroupNorm(1, channels) if len(shape) == 3 else nn.LayerNorm(channels)
    if name == "group":
        groups = next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
        if len(shape) == 2:
            raise InfeasibleCandidate("group normalisation takes images or columns. Use layer.")
        return nn.GroupNorm(groups, channels)
    raise InfeasibleCandidate(expected("normalisation", "batch, layer, group or none", name))


def passes_positive(activation: str) -> bool:
    """Whether an activation leaves alone what is not below 0."""
    return activation in ("none", "relu", "leaky_relu")


def has_kink(activation: str) -> bool:
    """Whether an activation has a kink at 0."""
    return activation in ("relu", "leaky_relu")
