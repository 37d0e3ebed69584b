"""Which numbers single precision would merge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import Column

MAX_EXACT_FLOAT32 = 2**24
"""Whole numbers up to here are themselves in float32."""
MAX_EXACT_FLOAT64 = 2**53
"""Whole numbers up to here are themselves in float64."""
MAX_MERGED_FRACTION = 0.01
"""Of decimals: random ones near 0 lose a third of this to float32 in a sample, those far from 0 for
how little they vary (unix seconds with fractions) nearly all."""
_MAX_DIGITS = 300
"""Of a whole number that a double can hold."""
_SAMPLE = 100_000
"""Decimals that are looked at: of more, even random ones meet."""


def needs_double(values: NDArray[np.float64]) -> bool:
    """Whether float32 would merge values of a column that are worth telling apart.

    Whole numbers above 2^24 are (identifiers, unix seconds, 20240131). So are decimals of which
    float32 merges more than `MERGED_SHARE`: its digits are spent on what they have in common.
    """
    sample = values[:: max(1, len(values) // _SAMPLE)]
    sample = sample[np.isfinite(sample)]
    if (sample != np.rint(sample)).any():
        return merged_fraction(sample) > MAX_MERGED_FRACTION
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        single = finite.astype(np.float32).astype(np.float64)
    if np.array_equal(single, finite):
        return False
    return bool((finite == np.rint(finite)).all()) or merged_fraction(finite) > MAX_MERGED_FRACTION


def merged_fraction(values: NDArray[np.float64]) -> float:
    """Share of the distinct values of a sample that float32 does not tell apart."""
    sample = values[:: max(1, len(values) // _SAMPLE)]
    distinct = len(np.unique(sample))
    with np.errstate(over="ignore"):
        return 1 - len(np.unique(sample.astype(np.float32))) / distinct if distinct else 0.0


def double_precision_note(
    column: Column, raw: NDArray[Any], values: NDArray[Any]
) -> list[str]:  # fmt: skip
    """A sentence where even double precision merges whole numbers; `raw`: as they came."""
    if column.kind != "numeric" or not (np.abs(values) >= MAX_EXACT_FLOAT64).any():
        return []
    before = _whole_numbers(raw)
    after = {float(number) for number in before}
    if len(after) == len(before):
        return []
    return [
        f"Column {column.name!r} holds whole numbers beyond 2^53, of which double precision tells "
        f"{len(after):,} of {len(before):,} apart. Make it a category if each matters."
    ]


def _whole_numbers(raw: NDArray[Any]) -> set[int]:
    """The distinct whole numbers among raw values, texts of such included."""
    return {
        int(value)
        for value in set(raw.tolist())
        if (isinstance(value, int) and not isinstance(value, bool))
        or (
            isinstance(value, str)
            and len(value) <= _MAX_DIGITS
            and value.strip().lstrip("+-").isdecimal()
        )
    }
