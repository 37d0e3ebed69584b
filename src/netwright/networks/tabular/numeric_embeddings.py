"""Embeddings of numeric columns: each column becomes a vector, by weights of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.layer import Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.checks import check_positive


class _PeriodicLinear(nn.Module):
    """Numbers (batch, columns) -> (batch, columns x size)."""

    no_weight_decay = ("phase",)

    def __init__(
        self, columns: int, size: int, frequencies: int, sigma: float, lr_factor: float
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(frequencies)
        self.frequency = nn.Parameter(torch.randn(columns, frequencies) * sigma)
        self.phase = nn.Parameter(torch.empty(columns, frequencies).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(
            torch.empty(columns, frequencies, size - 1).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(columns, size - 1).uniform_(-bound, bound))
        names = ("frequency", "phase", "weight", "bias")
        self.lr_factors = dict.fromkeys(names, lr_factor)

    def forward(self, x: Tensor) -> Tensor:
        column = x.t().unsqueeze(-1)  # (columns, batch, 1)
        angle = 2 * math.pi * column * self.frequency[:, None] + self.phase[:, None]
        mixed = torch.matmul(angle.cos(), self.weight) + self.bias[:, None]
        # each column's embedding, with the number itself as the last dimension
        return torch.cat([mixed, column], -1).transpose(0, 1).flatten(1)


@dataclass(frozen=True)
class PeriodicLinear(Leaf):
    """Periodic embeddings with phases, a dense layer, and the number itself.

    "PBLD" of RealMLP (Holzmueller et al. 2024, 2407.04491, appendix A).

    Args:
        size: Dimensions of the embedding of each column, the number itself included.
        frequencies: Cosines of each column.
        sigma: Standard deviation of the initial frequencies.
        lr_factor: Factor of the learning rate.
    """

    size: int = 4
    frequencies: int = 16
    sigma: float = 0.1
    lr_factor: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        _check_columns(shape)
        check_positive(self, "frequencies")
        if self.size < 2:
            raise InfeasibleCandidate(expected("size", "at least 2", self.size))
        return _PeriodicLinear(shape[0], self.size, self.frequencies, self.sigma, self.lr_factor)


class _PiecewiseLinear(nn.Module):
    """Numbers (batch, columns) -> (batch, columns x size)."""

    low: Tensor
    inverse: Tensor

    def __init__(self, columns: int, bins: int, size: int) -> None:
        super().__init__()
        # until initialised from data: bins for numbers of mean 0 and standard deviation 1
        edges = torch.linspace(-3, 3, bins + 1).expand(columns, -1)
        self.register_buffer("low", edges[:, :-1].clone())
        self.register_buffer("inverse", 1 / (edges[:, 1:] - edges[:, :-1]))
        bound = 1 / math.sqrt(size)
        self.weight = nn.Parameter(torch.zeros(columns, bins, size))
        self.linear = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))

    def encode(self, x: Tensor) -> Tensor:
        """Return the share of each bin that lies below the number: (columns, batch, bins)."""
        column = x.t().unsqueeze(-1)  # (columns, batch, 1)
        return ((column - self.low[:, None]) * self.inverse[:, None]).clamp(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        piecewise = torch.matmul(self.encode(x), self.weight)  # (columns, batch, size)
        linear = x.t().unsqueeze(-1) * self.linear[:, None] + self.bias[:, None]
        return (piecewise + linear).transpose(0, 1).flatten(1)

    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        """Set bins of equally many rows; fewer bins where many rows are equal.

        A bin that does not exist has the inverse width 0, so that its encoding is 0. Targets are
        not used.
        """
        quantiles = torch.linspace(0, 1, self.low.shape[1] + 1, dtype=torch.float64)
        self.low.zero_()
        self.inverse.zero_()
        for i, column in enumerate(x.double().t()):
            edges = torch.quantile(column, quantiles).float().unique()
            widths = edges.diff()
            self.low[i, : len(widths)] = edges[:-1]
            self.inverse[i, : len(widths)] = 1 / widths


@dataclass(frozen=True)
class PiecewiseLinear(Leaf):
    """Piecewise linear encoding of numbers, then a dense layer.

    "PLE" of Gorishniy et al. 2022 (2203.05556, sec. 3.2) in version B of TabM (2410.24210): the
    layer starts at 0 beside a linear one. Unlike there, the outer bins end at the smallest and
    largest training rows: only the linear part distinguishes numbers further outside.

    Args:
        bins: Bins of each column, between quantiles of the training rows.
        size: Dimensions of the embedding of each column.
    """

    bins: int = 48
    size: int = 16

    def build(self, shape: Shape) -> nn.Module:
        _check_columns(shape)
        check_positive(self, "bins", "size")
        return _PiecewiseLinear(shape[0], self.bins, self.size)


def _check_columns(shape: Shape) -> None:
    if len(shape) != 1:
        raise InfeasibleCandidate(expected("input", "columns", shape))
