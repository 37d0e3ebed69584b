"""Which numbers single precision would merge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import Column

EXACT_SINGLE = 2**24
"""Whole numbers up to here are themselves in float32."""
EXACT_DOUBLE = 2**53
"""Whole numbers up to here are themselves in float64."""
_FAR_FROM_ZERO = 1_000.0
"""Distance from 0 in standard deviations: nearer to it, float32 tells 16,000 steps of each."""
_MERGED_SHARE = 0.01


def needs_double(values: NDArray[np.float64]) -> bool:
    """Whether float32 would merge values of a column that are worth telling apart.

    Whole numbers above 2^24 are (identifiers, unix seconds, 20240131). So are others that lie far
    from 0 for how little they vary, where float32 merges a hundredth of them: its digits are spent
    on what they have in common. Random decimals near 0 are not, though a few may meet.
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        single = finite.astype(np.float32).astype(np.float64)
    if np.array_equal(single, finite):
        return False
    if np.array_equal(finite, np.rint(finite)):
        return True
    spread = float(finite.std())
    if float(np.abs(finite).max()) < _FAR_FROM_ZERO * spread:
        return False
    return len(np.unique(single)) < (1 - _MERGED_SHARE) * len(np.unique(finite))


def double_precision_note(
    column: Column, raw: NDArray[Any], values: NDArray[Any]
) -> list[str]:  # fmt: skip
    """A sentence where even double precision merges whole numbers; `raw`: as they came."""
    if column.kind != "numeric" or not (np.abs(values) >= EXACT_DOUBLE).any():
        return []
    before, after = len(set(raw.tolist())), len(np.unique(values))
    if after >= before:
        return []
    return [
        f"Column {column.name!r} holds whole numbers beyond 2^53, of which double precision tells "
        f"{after:,} of {before:,} apart. Make it a category if each matters."
    ]
