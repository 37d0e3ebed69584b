"""Layers of RealMLP (Holzmueller et al. 2024, 2407.04491, sec. 3 and appendix A).

For columns and sequences; RealMLP's embedding of numbers is `PeriodicLinear`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.layer import Given, Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName, make_activation
from netwright.networks.layers.checks import require_given
from netwright.networks.layers.linear import OUTPUTS

_HULL_POINTS = 5
"""Rows in whose convex hull a neuron's zero is drawn: the 5 of the paper's "he+5"."""

_MIN_STD = 1e-6
"""Outputs of a smaller standard deviation, as of equal rows, are not rescaled."""


class _Scaling(nn.Module):
    """A learnt factor for each channel."""

    def __init__(self, channels: int, lr_factor: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.lr_factors = {"weight": lr_factor}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@dataclass(frozen=True)
class Scaling(Leaf):
    """A learnt factor for each column, initially 1.

    Args:
        lr_factor: Factor of the learning rate.
    """

    cheap_to_run = True

    lr_factor: float = 6.0

    def build(self, shape: Shape) -> nn.Module:
        _check_vectors(shape)
        return _Scaling(shape[-1], self.lr_factor)


NTKInit = Literal["data", "normal", "zeros"]


class _NTKLinear(nn.Module):
    """x W / sqrt(columns) + b."""

    def __init__(
        self, inputs: int, outputs: int, init: NTKInit, lr_factor: float, bias_lr_factor: float
    ) -> None:
        super().__init__()
        self.init, self.gain = init, 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.lr_factors = {"weight": lr_factor, "bias": bias_lr_factor}
        if init != "zeros":
            nn.init.normal_(self.weight)
        if init == "normal":
            nn.init.normal_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.gain, self.bias)

    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        """Scale outputs to standard deviation 1, and put each neuron's zero among the rows.

        "std" and "he+5" of the paper: the zero is at a random convex combination of 5 rows.
        Targets are not used.
        """
        if self.init != "data":
            return
        outputs = nn.functional.linear(x.flatten(0, -2), self.weight * self.gain)  # (rows, neurons)
        std = outputs.std(0, correction=0)
        std = torch.where(std > _MIN_STD, std, 1.0)
        self.weight.div_(std[:, None])
        rows = torch.randint(len(outputs), (_HULL_POINTS, outputs.shape[1]))
        # normalised exponential draws are uniform on the simplex
        weights = torch.empty(_HULL_POINTS, outputs.shape[1]).exponential_()
        self.bias.copy_(-(outputs.gather(0, rows) * weights / weights.sum(0)).sum(0) / std)


@dataclass(frozen=True)
class NTKLinear(Leaf):
    """A dense layer in the neural tangent parametrisation: x W / sqrt(columns) + b, W ~ N(0, 1).

    One learning rate then suits every width.

    Args:
        features: Outputs; by default as many as the task has, so that the layer is the head.
        init: "data" scales outputs to standard deviation 1 on training rows and puts each neuron's
            zero among them (biases are 0 where no rows are shown); "normal" draws weights and
            biases; "zeros" is for a head.
        lr_factor: Factor of the weights' learning rate.
        bias_lr_factor: Factor of the biases' learning rate.
    """

    features: int | Given = OUTPUTS
    init: NTKInit = "data"
    lr_factor: float = 1.0
    bias_lr_factor: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        _check_vectors(shape)
        if self.init not in ("data", "normal", "zeros"):
            raise InfeasibleCandidate(expected("init", "data, normal or zeros", self.init))
        return _NTKLinear(
            shape[-1],
            require_given(self.features),
            self.init,
            self.lr_factor,
            self.bias_lr_factor,
        )


class _ParametricActivation(nn.Module):
    """x + a (f(x) - x), with a learnt `a` for each channel."""

    def __init__(self, kind: str, channels: int, lr_factor: float) -> None:
        super().__init__()
        self.act = make_activation(kind)
        self.weight = nn.Parameter(torch.ones(channels))
        self.lr_factors = {"weight": lr_factor}

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.act(x), self.weight)


@dataclass(frozen=True)
class ParametricActivation(Leaf):
    """x + a (f(x) - x) with a learnt `a` for each neuron, initially 1; 0 would be linear.

    Args:
        kind: The activation f, a name in `ACTIVATIONS`.
        lr_factor: Factor of the learning rate.
    """

    cheap_to_run = True

    kind: ActivationName = "selu"
    lr_factor: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        _check_vectors(shape)
        return _ParametricActivation(self.kind, shape[-1], self.lr_factor)


class _ClampToTargetRange(nn.Module):
    """Clamps outputs to [low, high] in evaluation mode."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor([-math.inf]))
        self.register_buffer("high", torch.tensor([math.inf]))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:  # outputs outside the range need a gradient
            return x
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        """Set the range to that of the targets of a regression."""
        if targets.is_floating_point():
            self.low.copy_(targets.min())
            self.high.copy_(targets.max())


@dataclass(frozen=True)
class ClampToTargetRange(Leaf):
    """Clamp predictions to the range of the training targets. Last in a network for regression.

    The identity in training mode, for classes, and where no rows were shown.
    """

    cheap_to_run = True

    def build(self, shape: Shape) -> nn.Module:
        _check_vectors(shape)
        return _ClampToTargetRange() if shape[-1] == 1 else nn.Identity()


def _check_vectors(shape: Shape) -> None:
    if len(shape) > 2:
        fix = "Put GlobalPool() or Flatten() before it."
        raise InfeasibleCandidate(expected("input", "columns or a sequence", shape, fix))
