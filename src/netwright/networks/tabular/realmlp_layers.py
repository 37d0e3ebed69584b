"""Layers of RealMLP (Holzmueller et al. 2024, 2407.04491, sec. 3 and appendix A), for columns and
sequences; its embedding of numbers is `PeriodicLinear`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.layer import Given, Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName, activation
from netwright.networks.layers.checks import whole
from netwright.networks.layers.linear import OUTPUTS

_HULL = 5
"""Rows whose mixture a neuron starts to bend at."""


class _Scaling(nn.Module):
    def __init__(self, channels: int, lr: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.lr_factors = {"weight": lr}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@dataclass(frozen=True)
class Scaling(Leaf):
    """A learnt factor for each column, 1 at the start; trained `lr` times as fast as the rest."""

    light = True

    lr_factor: float = 6.0

    def build(self, shape: Shape) -> nn.Module:
        _need_vectors(shape)
        return _Scaling(shape[-1], self.lr_factor)


Start = Literal["data", "normal", "zeros"]


class _NTKLinear(nn.Module):
    """x W / sqrt(columns) + b."""

    def __init__(self, into: int, out: int, begin: Start, lr: float, bias_lr: float) -> None:
        super().__init__()
        self.begin, self.gain = begin, 1 / math.sqrt(into)
        self.weight = nn.Parameter(torch.zeros(out, into))
        self.bias = nn.Parameter(torch.zeros(out))
        self.lr_factors = {"weight": lr, "bias": bias_lr}
        if begin != "zeros":
            nn.init.normal_(self.weight)
        if begin == "normal":
            nn.init.normal_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.gain, self.bias)

    def start_from(self, x: Tensor, targets: Tensor) -> None:
        """Outputs of deviation 1, each neuron 0 somewhere among the rows: "std" and "he+5".

        The point is a mixture of 5 rows, drawn evenly from all mixtures of them; targets are not
        looked at.
        """
        if self.begin != "data":
            return
        out = nn.functional.linear(x.flatten(0, -2), self.weight * self.gain)  # (rows, neurons)
        std = out.std(0, correction=0)
        std = torch.where(std > 1e-6, std, 1.0)  # of equal rows nothing can be told
        self.weight.div_(std[:, None])
        rows = torch.randint(len(out), (_HULL, out.shape[1]))
        shares = torch.empty(_HULL, out.shape[1]).exponential_()
        self.bias.copy_(-(out.gather(0, rows) * shares / shares.sum(0)).sum(0) / std)


@dataclass(frozen=True)
class NTKLinear(Leaf):
    """A dense layer whose weights start at deviation 1 and are divided by sqrt(columns) in use.

    So one learning rate suits every width (neural tangent parametrisation). `start` "data" scales
    the weights so that outputs have deviation 1 on training rows and puts each neuron's zero among
    them; where no rows are shown, biases are 0. "normal" draws both, "zeros" is for a head.
    `lr`, `bias_lr`: shares of the learning rate. Without `features` it is the head.
    """

    features: int | Given = OUTPUTS
    init: Start = "data"
    lr_factor: float = 1.0
    bias_lr_factor: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        _need_vectors(shape)
        if self.init not in ("data", "normal", "zeros"):
            raise InfeasibleCandidate(expected("start", "data, normal or zeros", self.init))
        return _NTKLinear(
            shape[-1], whole(self.features), self.init, self.lr_factor, self.bias_lr_factor
        )


class _ParametricActivation(nn.Module):
    def __init__(self, kind: str, channels: int, lr: float) -> None:
        super().__init__()
        self.act = activation(kind)
        self.weight = nn.Parameter(torch.ones(channels))
        self.lr_factors = {"weight": lr}

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.act(x), self.weight)


@dataclass(frozen=True)
class ParametricActivation(Leaf):
    """x + a (f(x) - x), with a learnt `a` for each neuron: 1 at the start, 0 would be linear."""

    light = True

    kind: ActivationName = "selu"
    lr_factor: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        _need_vectors(shape)
        return _ParametricActivation(self.kind, shape[-1], self.lr_factor)


class _TargetRange(nn.Module):
    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor([-math.inf]))
        self.register_buffer("high", torch.tensor([math.inf]))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:  # a gradient has to come back from outside
            return x
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def start_from(self, x: Tensor, targets: Tensor) -> None:
        if targets.is_floating_point():
            self.low.copy_(targets.min())
            self.high.copy_(targets.max())


@dataclass(frozen=True)
class ClampToTargetRange(Leaf):
    """Predicted numbers end where those of the rows that it was shown end. Last in a regressor.

    Nothing is done while training, to classes, or where no rows were shown.
    """

    light = True

    def build(self, shape: Shape) -> nn.Module:
        _need_vectors(shape)
        return _TargetRange() if shape[-1] == 1 else nn.Identity()


def _need_vectors(shape: Shape) -> None:
    if len(shape) > 2:
        fix = "Put GlobalPool() or Flatten() before it."
        raise InfeasibleCandidate(expected("input", "columns or a sequence", shape, fix))
