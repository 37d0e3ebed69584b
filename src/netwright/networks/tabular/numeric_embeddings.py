"""Embeddings of numbers: each column becomes a few numbers, by weights of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.layer import Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.checks import need_positive


class _PeriodicLinear(nn.Module):
    """Numbers (batch, columns) -> (batch, columns x size)."""

    undecayed = ("phase",)

    def __init__(self, columns: int, size: int, frequencies: int, sigma: float, lr: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(frequencies)
        self.frequency = nn.Parameter(torch.randn(columns, frequencies) * sigma)
        self.phase = nn.Parameter(torch.empty(columns, frequencies).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(
            torch.empty(columns, frequencies, size - 1).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(columns, size - 1).uniform_(-bound, bound))
        self.lr_factors = dict.fromkeys(("frequency", "phase", "weight", "bias"), lr)

    def forward(self, x: Tensor) -> Tensor:
        column = x.t().unsqueeze(-1)  # (columns, batch, 1)
        angle = 2 * math.pi * column * self.frequency[:, None] + self.phase[:, None]
        mixed = torch.matmul(angle.cos(), self.weight) + self.bias[:, None]
        # each column's numbers side by side, itself the last of them
        return torch.cat([mixed, column], -1).transpose(0, 1).flatten(1)


@dataclass(frozen=True)
class PeriodicLinear(Leaf):
    """Each number as cosines of learnt frequencies and phases, a dense layer of its own, and itself.

    "PBLD" of RealMLP (Holzmueller et al. 2024, 2407.04491, appendix A): `size` numbers come out for
    each column, the last of which is the number; `sigma` is the deviation from which the
    frequencies start, `lr` the share of the learning rate.
    """

    size: int = 4
    frequencies: int = 16
    sigma: float = 0.1
    lr_factor: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        _need_columns(shape)
        need_positive(self, "frequencies")
        if self.size < 2:
            raise InfeasibleCandidate(expected("size", "at least 2", self.size))
        return _PeriodicLinear(shape[0], self.size, self.frequencies, self.sigma, self.lr_factor)


class _PiecewiseLinear(nn.Module):
    """Numbers (batch, columns) -> (batch, columns x size)."""

    low: Tensor
    inverse: Tensor

    def __init__(self, columns: int, bins: int, size: int) -> None:
        super().__init__()
        # until it starts from data: bins for numbers at mean 0 and deviation 1
        edges = torch.linspace(-3, 3, bins + 1).expand(columns, -1)
        self.register_buffer("low", edges[:, :-1].clone())
        self.register_buffer("inverse", 1 / (edges[:, 1:] - edges[:, :-1]))
        bound = 1 / math.sqrt(size)
        self.weight = nn.Parameter(torch.zeros(columns, bins, size))
        self.linear = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))

    def shares(self, x: Tensor) -> Tensor:
        """How much of each bin lies below the number: (columns, batch, bins) in [0, 1]."""
        column = x.t().unsqueeze(-1)  # (columns, batch, 1)
        return ((column - self.low[:, None]) * self.inverse[:, None]).clamp(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.matmul(self.shares(x), self.weight)  # (columns, batch, size)
        straight = x.t().unsqueeze(-1) * self.linear[:, None] + self.bias[:, None]
        return (mixed + straight).transpose(0, 1).flatten(1)

    def start_from(self, x: Tensor, targets: Tensor) -> None:
        """Bins that hold equally many rows; where many rows are equal there are fewer of them.

        A bin that there is not has the inverse width 0: its share is 0. Targets are not looked at.
        """
        places = torch.linspace(0, 1, self.low.shape[1] + 1, dtype=torch.float64)
        self.low.zero_()
        self.inverse.zero_()
        for i, column in enumerate(x.double().t()):
            edges = torch.quantile(column, places).float().unique()
            width = edges.diff()
            self.low[i, : len(width)] = edges[:-1]
            self.inverse[i, : len(width)] = 1 / width


@dataclass(frozen=True)
class PiecewiseLinear(Leaf):
    """Each number by how far it is through each of `bins` bins, then a dense layer of its own.

    "PLE" of Gorishniy et al. 2022 (2203.05556, sec. 3.2) in the version B of TabM (2410.24210): the
    layer starts at 0 beside a linear one. The outer bins end here where the rows end that it was
    shown: a number far outside says no more than the linear part does.
    """

    bins: int = 48
    size: int = 16

    def build(self, shape: Shape) -> nn.Module:
        _need_columns(shape)
        need_positive(self, "bins", "size")
        return _PiecewiseLinear(shape[0], self.bins, self.size)


def _need_columns(shape: Shape) -> None:
    if len(shape) != 1:
        raise InfeasibleCandidate(expected("input", "columns", shape))
