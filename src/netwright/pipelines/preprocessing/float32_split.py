"""Split of float64 columns into several float32 columns, where one would merge values.

Models take float32, which tells integers apart up to 2^24. From larger ones (identifiers, unix
seconds, 20240131) an offset is subtracted in double precision. If the rest is still too wide, the
error of rounding it to float32 becomes a column of its own, so that no two integers below 2^53
coincide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.precision import MAX_EXACT_FLOAT32, MAX_MERGED_FRACTION, merged_fraction
from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.dates import days_since, earliest


@dataclass(frozen=True)
class Float32Split:
    """Representation of a float64 column as float32 columns.

    Args:
        offset: what is subtracted first.
        remainders: number of further columns, each the rounding error that the ones before leave.
    """

    offset: float
    remainders: int = 0

    def split(self, values: NDArray[np.floating]) -> list[NDArray[np.float32]]:
        """Return columns (rows,), the most significant first; NaN where missing."""
        rest = values.astype(np.float64) - np.float64(self.offset)
        columns = []
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values count as missing
            for _ in range(self.remainders + 1):
                columns.append(rest.astype(np.float32))
                rest = rest - columns[-1].astype(np.float64)
        return columns

    def to_onnx(self, builder: OnnxGraphBuilder, name: str) -> list[str]:
        """Add the nodes of `split` for the float64 tensor `name` (rows,)."""
        rest = builder.add("Sub", [name, builder.constant(np.float64(self.offset))])
        columns = []
        for i in range(self.remainders + 1):
            columns.append(builder.cast(rest, np.float32))
            if i < self.remainders:
                rest = builder.add("Sub", [rest, builder.cast(columns[-1], np.float64)])
        return columns


def fit_splits(table: Table, names: Sequence[str]) -> Mapping[str, Float32Split]:
    """Return the splits of those columns that need more than one cast to float32."""
    kinds = {column.name: column.kind for column in table.columns}
    splits = {}
    for name in names:
        values = table.arrays[name]
        if kinds[name] == "date":
            days = days_since(values, earliest(values))
            if remainders := _count_remainders(days[np.isfinite(days)], 0.0):
                splits[name] = Float32Split(0.0, remainders)
        elif values.dtype == np.float64:
            finite = values[np.isfinite(values)]
            offset = float(np.rint(np.median(finite))) if len(finite) else 0.0
            splits[name] = Float32Split(offset, _count_remainders(finite, offset))
    return splits


def _count_remainders(values: NDArray[np.float64], offset: float) -> int:
    """Return how many columns beside the first tell the values apart."""
    if not len(values):
        return 0
    rest = values - offset
    if not np.array_equal(values, np.rint(values)):
        return int(merged_fraction(rest) > MAX_MERGED_FRACTION)
    max_abs = float(np.abs(rest).max())
    if max_abs <= MAX_EXACT_FLOAT32:
        return 0
    return 1 if max_abs <= MAX_EXACT_FLOAT32**2 else 2
