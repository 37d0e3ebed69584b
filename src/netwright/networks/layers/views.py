"""Layers without trained weights that change the view of images, before any filter sees them.

Which one helps depends on what pixels and axes mean: an axis of sensors or frequencies has no
neighbours to filter over, codes have no order, and positions matter where content is laid out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.channel_map import (
    NEW,
    ChannelMap,
    all_new,
    shift_origins,
)
from netwright.networks.interfaces.layer import BuiltNetwork, Leaf, Morphism
from netwright.networks.interfaces.morphism_rules import start_afresh
from netwright.networks.interfaces.shapes import Shape, n_channels, spatial_shape
from netwright.networks.layers.checks import check_images

_INITIAL_RANGE = 3.0
"""Largest initial level of `OneHotPixels`: pixels have mean 0 and standard deviation 1."""


def _expanded_origins(origin: Tensor, copies: int) -> Tensor:
    """Return the origins after each channel becomes `copies` channels, which stay together."""
    by_copy = origin[:, None] * copies + torch.arange(copies)  # (channels, copies)
    return torch.where(origin[:, None] >= 0, by_copy, NEW).flatten()


class _AxisAsChannels(nn.Module):
    """(batch, c, h, w) -> (batch, c h, 1, w), or (batch, c w, 1, h) if `of_columns`."""

    def __init__(self, *, of_columns: bool) -> None:
        super().__init__()
        self.of_columns = of_columns

    def forward(self, x: Tensor) -> Tensor:
        if self.of_columns:
            x = x.transpose(2, 3)
        return x.flatten(1, 2).unsqueeze(2)


@dataclass(frozen=True)
class AxisAsChannels(Leaf):
    """One axis of images as channels: "rows" (c, h, w) -> (c h, 1, w), "columns" -> (c w, 1, h).

    For images whose axes mean different things, such as sensors by time. Follow it by filters along
    the axis that is left: `AxialConv`, or `Conv` with kernel 1.

    Args:
        axis: "rows" or "columns": what becomes a channel each.

    Example:
        >>> network = (AxisAsChannels("rows"), AxialConv(64, kernel=9), GlobalPool(), Linear())
    """

    cheap_to_run = True
    preserves_zero = True

    axis: Literal["rows", "columns"] = "rows"

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        if self.axis not in ("rows", "columns"):
            raise InfeasibleCandidate(expected("axis", "rows or columns", self.axis))
        return _AxisAsChannels(of_columns=self.axis == "columns")

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        if len(shape) != 3 or self.axis not in ("rows", "columns"):
            return None
        c, h, w = shape
        return (c * h, 1, w) if self.axis == "rows" else (c * w, 1, h)

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        if parent.network != self:
            return start_afresh(morphism.transfer, parent, child, input_map, target_map)
        if spatial_shape(parent.input_shape) != spatial_shape(child.input_shape):
            return all_new(parent.output_shape, child.output_shape)
        copies = n_channels(child.output_shape) // n_channels(child.input_shape)
        origin = _expanded_origins(input_map.origin, copies)
        return ChannelMap(parent.output_shape, child.output_shape, origin)


class _OneHotPixels(nn.Module):
    """(batch, c, h, w) -> (batch, c max_levels, h, w) of zeros and ones."""

    levels: Tensor

    def __init__(self, channels: int, max_levels: int) -> None:
        super().__init__()
        levels = torch.linspace(-_INITIAL_RANGE, _INITIAL_RANGE, max_levels)
        # (c, max_levels), ascending, padded with inf, to which no pixel is nearest
        self.register_buffer("levels", levels.repeat(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        infinity = torch.full_like(self.levels[:, :1], math.inf)
        middle = (self.levels[:, :-1] + self.levels[:, 1:]) / 2
        low = torch.cat([-infinity, middle], 1)[:, :, None, None]  # (c, max_levels, 1, 1)
        high = torch.cat([middle, infinity], 1)[:, :, None, None]
        pixel = x.unsqueeze(2)  # (batch, c, 1, h, w)
        is_nearest = (pixel >= low) & (pixel < high)  # (batch, c, max_levels, h, w)
        return is_nearest.flatten(1, 2).to(x.dtype)

    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        """Set the levels of each channel to its distinct values; targets are not used.

        If there are too many, to evenly spaced quantiles of the distinct values, each counted once:
        a frequent background would take most quantiles of the pixels.
        """
        max_levels = self.levels.shape[1]
        self.levels.fill_(math.inf)
        for channel_levels, pixels in zip(self.levels, x.transpose(0, 1), strict=True):
            values = pixels.unique()  # ascending
            if len(values) > max_levels:
                ranks = torch.linspace(0, len(values) - 1, max_levels, dtype=torch.float64)
                values = values[ranks.round().long()]
            channel_levels[: len(values)] = values


@dataclass(frozen=True)
class OneHotPixels(Leaf):
    """One-hot encoding of pixels that are codes: (c, h, w) -> (c max_levels, h, w).

    Output channel ``i * max_levels + j`` is 1 where level j of channel i is the nearest. The levels
    are the distinct values among training rows, in ascending order, found by data-dependent
    initialisation; unseen values go to the nearest level. Where that is not run (supernets, weights
    inherited from a network without this layer) the levels are evenly spaced from -3 to 3, which
    bins standardised pixels. Inside a `ChannelTower` all channels share their levels.

    Args:
        max_levels: Levels of each channel, at least 2; the channels of levels that do not exist are
            0 everywhere.

    Example:
        >>> network = (OneHotPixels(10), RowAndColumnMeans(), Conv(32), GlobalPool(), Linear())
    """

    cheap_to_run = True

    max_levels: int = 16

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        if self.max_levels < 2:
            raise InfeasibleCandidate(expected("max_levels", "at least 2", self.max_levels))
        return _OneHotPixels(shape[0], self.max_levels)

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        if len(shape) != 3 or self.max_levels < 2:
            return None
        return (shape[0] * self.max_levels, *shape[1:])

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return True

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        if parent.network != self:
            return start_afresh(morphism.transfer, parent, child, input_map, target_map)
        is_inherited = input_map.origin >= 0
        parent_levels = parent.module.get_buffer("levels")
        child_levels = child.module.get_buffer("levels")
        child_levels[is_inherited] = parent_levels[input_map.origin[is_inherited]]
        origin = _expanded_origins(input_map.origin, self.max_levels)
        return ChannelMap(parent.output_shape, child.output_shape, origin)


class _Coordinates(nn.Module):
    """(batch, c, h, w) -> (batch, c + 2, h, w)."""

    positions: Tensor

    def __init__(self, h: int, w: int) -> None:
        super().__init__()
        rows = _centred_positions(h)[:, None].expand(h, w)
        columns = _centred_positions(w).expand(h, w)
        # (1, 2, h, w); not saved, since it follows from the shape
        self.register_buffer("positions", torch.stack([rows, columns])[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.positions.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        return torch.cat([x, positions], 1)


def _centred_positions(n: int) -> Tensor:
    """Return n evenly spaced positions from -1 to 1; 0 if there is only one."""
    return torch.linspace(-1, 1, n) if n > 1 else torch.zeros(n)


@dataclass(frozen=True)
class Coordinates(Leaf):
    """Appends each pixel's row and column, from -1 to 1, as channels: (c, h, w) -> (c + 2, h, w).

    Filters can then depend on the position (CoordConv; Liu et al. 2018, 1807.03247).

    Example:
        >>> network = (Coordinates(), Conv(32), GlobalPool(), Linear())
    """

    cheap_to_run = True

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        return _Coordinates(shape[1], shape[2])

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        return (shape[0] + 2, *shape[1:]) if len(shape) == 3 else None

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        appended = n_channels(parent.input_shape) + torch.arange(2)
        origin = torch.cat([input_map.origin, appended])
        return ChannelMap(parent.output_shape, child.output_shape, origin)


class _RowAndColumnMeans(nn.Module):
    """(batch, c, h, w) -> (batch, 3 c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        row_means = x.mean(3, keepdim=True).expand_as(x)
        column_means = x.mean(2, keepdim=True).expand_as(x)
        return torch.cat([x, row_means, column_means], 1)


@dataclass(frozen=True)
class RowAndColumnMeans(Leaf):
    """Appends the mean of each pixel's row and column: (c, h, w) -> (3 c, h, w).

    The channels come first, then their row means, then their column means. One layer lets every
    pixel see its whole row and column, without weights; after `OneHotPixels` these are counts.

    Example:
        >>> network = (RowAndColumnMeans(), Conv(32), GlobalPool(), Linear())
    """

    cheap_to_run = True
    preserves_zero = True

    def build(self, shape: Shape) -> nn.Module:
        check_images(shape)
        return _RowAndColumnMeans()

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape; None if `build` refuses the input, which gives the reason."""
        return (3 * shape[0], *shape[1:]) if len(shape) == 3 else None

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        c = n_channels(parent.input_shape)
        origin = torch.cat([shift_origins(input_map.origin, start) for start in (0, c, 2 * c)])
        return ChannelMap(parent.output_shape, child.output_shape, origin)
