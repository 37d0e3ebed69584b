"""Scaling of numeric columns: affine, with hard or smooth clipping, and quantiles to a normal."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import as_float32_tuple, as_row

_MAX_SCALED = np.float32(1e4)
"""Scaled values are clipped here; larger ones would overflow inside a network."""
_MIN_WIDTH = 3e-38
"""Smallest divisor: its inverse is still a float32."""
_MAX_KNOT = 1e37
"""Knots are clipped here, so that the difference of two is a float32."""
_SMOOTH_CLIP_RANGE = np.float32(3)
"""Smooth clipping bends values to within -3 and 3 (RealMLP, 2407.04491, sec. 3)."""
_ROWS_PER_KNOT, _MIN_KNOTS, _MAX_KNOTS = 30, 10, 1000
"""Number of quantiles, as for TabM (2410.24210, app. D)."""


@dataclass(frozen=True)
class AffineScaler:
    """``(x - centre) / width`` of each column, clipped.

    Args:
        centre: what is subtracted from each column.
        width: what each column is divided by.
        smooth_clip: bend the tails to within -3 and 3.
    """

    centre: tuple[float, ...]
    width: tuple[float, ...]
    smooth_clip: bool = False

    def transform(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale (rows, columns) of finite numbers."""
        with np.errstate(over="ignore"):  # an overflow to infinity is clipped
            x = np.clip((x - as_row(self.centre)) / as_row(self.width), -_MAX_SCALED, _MAX_SCALED)
        if self.smooth_clip:
            ratio = x / _SMOOTH_CLIP_RANGE
            x = (x / np.sqrt(np.float32(1) + ratio * ratio)).astype(np.float32)
        return x

    def to_onnx(self, builder: OnnxGraphBuilder, x: str) -> str:
        """Add the nodes of `transform` for the tensor `x`."""
        x = builder.add("Sub", [x, builder.constant(as_row(self.centre))])
        x = builder.add("Div", [x, builder.constant(as_row(self.width))])
        bounds = [builder.constant(-_MAX_SCALED), builder.constant(_MAX_SCALED)]
        x = builder.add("Clip", [x, *bounds])
        if not self.smooth_clip:
            return x
        ratio = builder.add("Div", [x, builder.constant(_SMOOTH_CLIP_RANGE)])
        square = builder.add("Mul", [ratio, ratio])
        sum_of_squares = builder.add("Add", [builder.constant(np.float32(1)), square])
        return builder.add("Div", [x, builder.add("Sqrt", [sum_of_squares])])


@dataclass(frozen=True)
class QuantileScaler:
    """Piecewise linear map of each column through its points (knot, level).

    Args:
        knots: the knots of each column, strictly increasing; values outside get the level of the
            nearest.
        levels: the levels of each column.
    """

    knots: tuple[tuple[float, ...], ...]
    levels: tuple[tuple[float, ...], ...]

    def transform(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale (rows, columns) of finite numbers."""
        scaled = np.empty_like(x)
        for i, (knots, levels, widths, rises) in enumerate(self._segments()):
            clipped = np.clip(x[:, i], knots[0], knots[-1])
            j = np.searchsorted(knots, clipped, side="right") - 1
            scaled[:, i] = levels[j] + (clipped - knots[j]) / widths[j] * rises[j]
        return scaled

    def to_onnx(self, builder: OnnxGraphBuilder, x: str) -> str:
        """Add the nodes of `transform`: a binary search of the segment, for all columns at once."""
        segments = self._segments()
        size = 1 << (max(len(column[0]) for column in segments) - 1).bit_length()
        tables = [
            builder.constant(np.concatenate([_padded(column[i], size) for column in segments]))
            for i in range(4)
        ]  # knots, levels, widths, rises: (columns x size,) each
        first = np.array([[column[0][0] for column in segments]], np.float32)
        last = np.array([[column[0][-1] for column in segments]], np.float32)
        x = builder.add("Max", [x, builder.constant(first)])
        x = builder.add("Min", [x, builder.constant(last)])
        starts = np.arange(len(segments), dtype=np.int64)[None, :] * size
        index = builder.constant(starts)  # (1, columns), broadcast to (rows, columns)
        step = size // 2
        while step:
            ahead = builder.add("Add", [index, builder.constant(np.int64(step))])
            knot = builder.add("Gather", [tables[0], ahead], axis=0)
            is_reached = builder.add("LessOrEqual", [knot, x])
            index = builder.add("Where", [is_reached, ahead, index])
            step //= 2
        knot, level, width, rise = (
            builder.add("Gather", [table, index], axis=0) for table in tables
        )
        fraction = builder.add("Div", [builder.add("Sub", [x, knot]), width])
        return builder.add("Add", [level, builder.add("Mul", [fraction, rise])])

    def _segments(self) -> list[tuple[NDArray[np.float32], ...]]:
        """Return for each column knots, levels, and their differences to the next knot and level.

        Nothing lies above the last knot, whose differences are 1 and 0.
        """
        segments = []
        for knots, levels in zip(self.knots, self.levels, strict=True):
            widths, rises = np.append(np.diff(knots), 1.0), np.append(np.diff(levels), 0.0)
            arrays = knots, levels, widths, rises
            segments.append(tuple(np.asarray(array, np.float32) for array in arrays))
        return segments


Scaler: TypeAlias = AffineScaler | QuantileScaler


def fit_standard(values: NDArray[np.float64]) -> AffineScaler:
    """Fit mean 0 and standard deviation 1 on (rows, columns); constant columns are divided by 1."""
    if not values.size:
        return _affine(np.zeros(values.shape[1]), np.ones(values.shape[1]))
    return _affine(values.mean(0), values.std(0))


def fit_robust(values: NDArray[np.float64]) -> AffineScaler:
    """Fit median 0 and interquartile range 1 on (rows, columns), with smooth clipping.

    ``x / sqrt(1 + (x / 3)^2)`` (RealMLP; Holzmueller et al. 2024, 2407.04491, sec. 3).
    """
    if not values.size:
        return _affine(np.zeros(values.shape[1]), np.ones(values.shape[1]), smooth_clip=True)
    q25, centre, q75 = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    # more than half of the rows equal: fall back on the range, as the source does
    width = np.where(q75 > q25, q75 - q25, (values.max(0) - values.min(0)) / 2)
    return _affine(centre, width, smooth_clip=True)


def fit_quantiles(values: NDArray[np.float32]) -> QuantileScaler:
    """Fit empirical quantiles to those of a normal on (rows, columns), NaN where missing.

    Equal quantiles become one knot at their mean probability. Probabilities are kept half a row
    away from 0 and 1, where the normal's quantiles are infinite.
    """
    columns = [_knots_and_levels(column[np.isfinite(column)]) for column in values.T]
    return QuantileScaler(
        tuple(knots for knots, _ in columns), tuple(levels for _, levels in columns)
    )


def _knots_and_levels(
    values: NDArray[np.float32],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not len(values):
        return (0.0,), (0.0,)
    by_rows = int(np.clip(len(values) // _ROWS_PER_KNOT, _MIN_KNOTS, _MAX_KNOTS))
    probabilities = np.linspace(0, 1, min(len(values), by_rows))
    clipped = np.clip(values.astype(np.float64), -_MAX_KNOT, _MAX_KNOT)
    quantiles = np.quantile(clipped, probabilities)
    knots, knot_index = np.unique(quantiles.astype(np.float32), return_inverse=True)
    mean_probabilities = np.bincount(knot_index, probabilities) / np.bincount(knot_index)
    half_a_row = 0.5 / len(values)
    normal = NormalDist()
    levels = [
        normal.inv_cdf(float(p)) for p in np.clip(mean_probabilities, half_a_row, 1 - half_a_row)
    ]
    if len(knots) == 1:
        return as_float32_tuple(knots), (0.0,)
    return as_float32_tuple(knots), as_float32_tuple(np.array(levels))


def _affine(
    centre: NDArray[np.float64], width: NDArray[np.float64], *, smooth_clip: bool = False
) -> AffineScaler:
    width = np.where(width > 1e-12 * np.abs(centre), width, 1.0)  # else it is rounding error
    width = np.clip(width, _MIN_WIDTH, 1 / _MIN_WIDTH)
    return AffineScaler(as_float32_tuple(centre), as_float32_tuple(width), smooth_clip)


def _padded(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Pad with infinity, which no value reaches."""
    return np.append(values, np.full(size - len(values), np.inf, np.float32))
