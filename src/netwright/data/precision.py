"""Which columns of numbers need double precision: float32 would merge their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import Column

MAX_EXACT_FLOAT32 = 2**24
"""Every whole number up to here is exact in float32."""
MAX_EXACT_FLOAT64 = 2**53
"""Every whole number up to here is exact in float64."""
MAX_MERGED_FRACTION = 0.01
"""Fraction of a column's distinct decimals that float32 may merge; above, it is float64.

Of random numbers near 0, float32 merges a third of this in a sample; of numbers far from 0 for how
little they vary (unix seconds with fractions), nearly all.
"""
_MAX_DIGITS = 300
"""Most digits of a whole number that float64 can hold."""
_SAMPLE_VALUES = 100_000
"""Values of a column that are checked: among more, float32 merges even random ones."""


def needs_float64(values: NDArray[np.float64]) -> bool:
    """Return whether float32 would merge values of a column that are worth telling apart.

    These are whole numbers above 2^24 (identifiers, unix seconds, 20240131), and decimals of which
    float32 merges more than `MAX_MERGED_FRACTION`: its digits are spent on what they have in
    common.
    """
    sample = values[:: max(1, len(values) // _SAMPLE_VALUES)]
    sample = sample[np.isfinite(sample)]
    if (sample != np.rint(sample)).any():
        return merged_fraction(sample) > MAX_MERGED_FRACTION
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        rounded = finite.astype(np.float32).astype(np.float64)
    if np.array_equal(rounded, finite):
        return False
    return bool((finite == np.rint(finite)).all()) or merged_fraction(finite) > MAX_MERGED_FRACTION


def merged_fraction(values: NDArray[np.float64]) -> float:
    """Return the fraction of a sample's distinct values that float32 cannot tell apart."""
    sample = values[:: max(1, len(values) // _SAMPLE_VALUES)]
    n_distinct = len(np.unique(sample))
    if not n_distinct:
        return 0.0
    with np.errstate(over="ignore"):
        return 1 - len(np.unique(sample.astype(np.float32))) / n_distinct


def double_precision_note(column: Column, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    """Return a note if even float64 merges whole numbers of a column.

    Args:
        column: Of any kind.
        raw: (n,) cells before conversion.
        values: (n,) the same cells, converted.
    """
    if column.kind != "numeric" or not (np.abs(values) >= MAX_EXACT_FLOAT64).any():
        return []
    exact = _whole_numbers(raw)
    rounded = {float(integer) for integer in exact}
    if len(rounded) == len(exact):
        return []
    return [
        f"Column {column.name!r} holds whole numbers beyond 2^53: double precision can tell only "
        f"{len(rounded):,} of {len(exact):,} apart. Make it a category if each of them matters."
    ]


def _whole_numbers(raw: NDArray[Any]) -> set[int]:
    """Return the distinct whole numbers among raw cells, including those written as texts."""
    return {
        int(cell)
        for cell in set(raw.tolist())
        if (isinstance(cell, int) and not isinstance(cell, bool))
        or (
            isinstance(cell, str)
            and len(cell) <= _MAX_DIGITS
            and cell.strip().lstrip("+-").isdecimal()
        )
    }
