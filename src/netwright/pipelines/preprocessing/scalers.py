"""Scales of numbers: a straight line with soft or hard ends, and quantiles to a normal."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import floats, row

_FAR = np.float32(1e4)
"""Scaled values end here: what is further out would overflow in the network, and say no more."""
_TINY = 3e-38
_HUGE = 1e37
"""Knots end here, so that the difference of two is a float32."""


@dataclass(frozen=True)
class AffineScaler:
    """(x - centre) / width for each column; `squeeze` bends the tails to within -3 and 3."""

    centre: tuple[float, ...]
    width: tuple[float, ...]
    smooth_clip: bool = False

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rows, columns) of finite numbers -> the same shape."""
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and ends at _FAR
            x = np.clip((x - row(self.centre)) / row(self.width), -_FAR, _FAR)
        if self.smooth_clip:
            third = x / np.float32(3)
            x = (x / np.sqrt(np.float32(1) + third * third)).astype(np.float32)
        return x

    def to_onnx(self, nodes: OnnxGraphBuilder, x: str) -> str:
        x = nodes.add("Sub", [x, nodes.constant(row(self.centre))])
        x = nodes.add("Div", [x, nodes.constant(row(self.width))])
        x = nodes.add("Clip", [x, nodes.constant(-_FAR), nodes.constant(_FAR)])
        if not self.smooth_clip:
            return x
        third = nodes.add("Div", [x, nodes.constant(np.float32(3))])
        square = nodes.add("Mul", [third, third])
        one = nodes.constant(np.float32(1))
        root = nodes.add("Sqrt", [nodes.add("Add", [one, square])])
        return nodes.add("Div", [x, root])


@dataclass(frozen=True)
class QuantileScaler:
    """A broken line for each column: through (knot, level), level from the first knot to the last.

    `knots` rise strictly; what lies outside of them gets the level of the nearest.
    """

    knots: tuple[tuple[float, ...], ...]
    levels: tuple[tuple[float, ...], ...]

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rows, columns) of finite numbers -> the same shape."""
        found = np.empty_like(x)
        for i, (q, z, gap, rise) in enumerate(self._lines()):
            inside = np.clip(x[:, i], q[0], q[-1])
            at = np.searchsorted(q, inside, side="right") - 1
            found[:, i] = z[at] + (inside - q[at]) / gap[at] * rise[at]
        return found

    def to_onnx(self, nodes: OnnxGraphBuilder, x: str) -> str:
        """The piece that each value lies in is found by halving, for all columns at once."""
        lines = self._lines()
        size = 1 << (max(len(line[0]) for line in lines) - 1).bit_length()
        tables = [
            nodes.constant(np.concatenate([_padded(line[part], size) for line in lines]))
            for part in range(4)
        ]  # (columns x size,) each
        first = np.array([[line[0][0] for line in lines]], np.float32)
        last = np.array([[line[0][-1] for line in lines]], np.float32)
        x = nodes.add("Max", [x, nodes.constant(first)])
        x = nodes.add("Min", [x, nodes.constant(last)])
        starts = np.arange(len(lines), dtype=np.int64)[None, :] * size
        at = nodes.constant(starts)  # (1, columns), and (rows, columns) from the first step on
        step = size // 2
        while step:
            ahead = nodes.add("Add", [at, nodes.constant(np.int64(step))])
            knot = nodes.add("Gather", [tables[0], ahead], axis=0)
            at = nodes.add("Where", [nodes.add("LessOrEqual", [knot, x]), ahead, at])
            step //= 2
        q, z, gap, rise = (nodes.add("Gather", [table, at], axis=0) for table in tables)
        share = nodes.add("Div", [nodes.add("Sub", [x, q]), gap])
        return nodes.add("Add", [z, nodes.add("Mul", [share, rise])])

    def _lines(self) -> list[tuple[NDArray[np.float32], ...]]:
        """Knots, levels, and their distances to the next; none is above the last."""
        lines = []
        for knots, levels in zip(self.knots, self.levels, strict=True):
            line = knots, levels, np.append(np.diff(knots), 1.0), np.append(np.diff(levels), 0.0)
            lines.append(tuple(np.asarray(part, np.float32) for part in line))
        return lines


Scaling: TypeAlias = AffineScaler | QuantileScaler


def standard(values: NDArray[np.float64]) -> AffineScaler:
    """Distance from the mean by the standard deviation; a column without any width keeps 1."""
    if not values.size:
        return _affine(np.zeros(values.shape[1]), np.ones(values.shape[1]))
    return _affine(values.mean(0), values.std(0))


def robust(values: NDArray[np.float64]) -> AffineScaler:
    """Distance from the median by the spread of the middle half, the tails squeezed smoothly.

    x / sqrt(1 + (x / 3)^2) (Holzmueller et al. 2024, 2407.04491, sec. 3).
    """
    if not values.size:
        return _affine(np.zeros(values.shape[1]), np.ones(values.shape[1]), squeeze=True)
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    # over half of the rows equal: fall back on the range, as the source does
    width = np.where(high > low, high - low, (values.max(0) - values.min(0)) / 2)
    return _affine(centre, width, squeeze=True)


def quantiles(values: NDArray[np.float32]) -> QuantileScaler:
    """Empirical quantiles to those of a normal, of (rows, columns) with NaN where missing.

    As many knots as rows / 30, within 10 and 1000 (TabM, 2410.24210, app. D). Equal quantiles are
    one knot at their mean share. Shares are kept half a row from 0 and 1: a normal ends nowhere.
    """
    lines = [_line(column[np.isfinite(column)]) for column in values.T]
    return QuantileScaler(tuple(knots for knots, _ in lines), tuple(levels for _, levels in lines))


def _line(known: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not len(known):
        return (0.0,), (0.0,)
    many = min(len(known), int(np.clip(len(known) // 30, 10, 1000)))
    shares = np.linspace(0, 1, many)
    found = np.quantile(np.clip(known.astype(np.float64), -_HUGE, _HUGE), shares)
    knots, place = np.unique(found.astype(np.float32), return_inverse=True)
    share = np.bincount(place, shares) / np.bincount(place)
    half = 0.5 / len(known)
    normal = NormalDist()
    levels = [normal.inv_cdf(float(p)) for p in np.clip(share, half, 1 - half)]
    return floats(knots), floats(np.array(levels)) if len(knots) > 1 else (0.0,)


def _affine(
    centre: NDArray[np.float64], width: NDArray[np.float64], squeeze: bool = False
) -> AffineScaler:
    width = np.where(width > 1e-12 * np.abs(centre), width, 1.0)
    width = np.clip(width, _TINY, 1 / _TINY)  # what float32 can divide by
    return AffineScaler(floats(centre), floats(width), squeeze)


def _padded(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Up to `size` with what no value reaches."""
    return np.append(values, np.full(size - len(values), np.inf, np.float32))
