"""Numbers that single precision would merge, as several numbers that it does not.

A model takes float32, which tells whole numbers apart up to 2^24. Of larger ones (identifiers, unix
seconds, 20240131) an offset is taken off in double precision; where what is left is still too wide,
its remainder beside float32 is a column of its own, so that no two whole numbers below 2^53 meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.precision import MAX_EXACT_FLOAT32, MAX_MERGED_FRACTION, merged_fraction
from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.dates import days_since, origin


@dataclass(frozen=True)
class Float32Split:
    """A number less `offset` as float32, and `remainders` more float32 for the digits it lacks."""

    offset: float
    remainders: int = 0

    def split(self, values: NDArray[np.floating]) -> list[NDArray[np.float32]]:
        """(rows,) each, the first the most significant; NaN where missing."""
        left = values.astype(np.float64) - np.float64(self.offset)
        parts = []
        with np.errstate(over="ignore", invalid="ignore"):  # infinite ones count as missing
            for _ in range(self.remainders + 1):
                parts.append(left.astype(np.float32))
                left = left - parts[-1].astype(np.float64)
        return parts

    def to_onnx(self, nodes: OnnxGraphBuilder, name: str) -> list[str]:
        """`split` as nodes, of a tensor (rows,) in double precision."""
        left = nodes.add("Sub", [name, nodes.constant(np.float64(self.offset))])
        parts = []
        for place in range(self.remainders + 1):
            parts.append(nodes.cast(left, np.float32))
            if place < self.remainders:
                left = nodes.add("Sub", [left, nodes.cast(parts[-1], np.float64)])
        return parts


def exact_numbers(table: Table, names: Sequence[str]) -> Mapping[str, Float32Split]:
    """The columns among `names` that need more than a float32."""
    kinds = {column.name: column for column in table.columns}
    exact = {}
    for name in names:
        values = table.arrays[name]
        if kinds[name].kind == "date":
            days = days_since(values, origin(values))
            if remainders := _remainders(days[np.isfinite(days)], 0.0):
                exact[name] = Float32Split(0.0, remainders)
        elif values.dtype == np.float64:
            finite = values[np.isfinite(values)]
            offset = float(np.rint(np.median(finite))) if len(finite) else 0.0
            exact[name] = Float32Split(offset, _remainders(finite, offset))
    return exact


def _remainders(values: NDArray[np.float64], offset: float) -> int:
    """How many float32 beside the first tell the values apart."""
    if not len(values):
        return 0
    left = values - offset
    if np.array_equal(values, np.rint(values)):
        widest = float(np.abs(left).max())
        return 0 if widest <= MAX_EXACT_FLOAT32 else 1 if widest <= MAX_EXACT_FLOAT32**2 else 2
    return int(merged_fraction(left) > MAX_MERGED_FRACTION)
