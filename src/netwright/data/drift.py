"""Whether new rows look like those learnt from: the population stability index of each column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table

_PARTS = 10
_FEW_ROWS = 100
"""Fewer new rows may look like anything."""
_MOST_COLUMNS = 500
_SHIFTED = 0.25
"""An index above is called a major shift (Siddiqi 2006, Credit Risk Scorecards, p. 137)."""
_LEAST = 1e-4


def reference_distribution(table: Table) -> dict[str, Any]:
    """What a card keeps of the rows learnt from: for each column its parts, and their shares.

    Numbers: up to nine cuts between ten parts, and the share without a value. Categories: the ten
    most frequent values.
    """
    found: dict[str, Any] = {}
    for column in table.columns[:_MOST_COLUMNS]:
        values = table.arrays[column.name]
        if column.kind == "numeric":
            known = values[np.isfinite(values)].astype(np.float64)
            levels = np.linspace(0, 1, _PARTS + 1)[1:-1]
            cuts = np.unique(np.quantile(known, levels)) if len(known) else np.zeros(0)
            digits = 6 if column.dtype == "float32" else 17
            parts: list[Any] = [float(f"{cut:.{digits}g}") for cut in cuts]
        elif column.kind in ("category", "boolean"):
            parts = [value for value, _ in Counter(values.tolist()).most_common(_PARTS)]
        else:
            continue
        shares = _shares(values, parts)
        found[column.name] = {"parts": parts, "shares": [round(float(s), 4) for s in shares]}
    return found


def drift_warnings(table: Table, reference: Mapping[str, Any]) -> list[str]:
    """A sentence on the columns whose values have shifted since; none for fewer than 100 rows."""
    if len(table) < _FEW_ROWS:
        return []
    shifts = {
        name: _index(_shares(table.arrays[name], told["parts"]), np.array(told["shares"]))
        for name, told in reference.items()
        if name in table.arrays
    }
    far = sorted((name for name in shifts if shifts[name] > _SHIFTED), key=lambda n: -shifts[n])
    if not far:
        return []
    some = ", ".join(repr(name) for name in far[:5]) + (" and others" if len(far) > 5 else "")
    return [
        f"{len(far)} column{'s have' if len(far) > 1 else ' has'} shifted since the model learnt "
        f"({some}): it may be less right than it was. Train it on newer rows."
    ]


def _shares(values: NDArray[Any], parts: list[Any]) -> NDArray[np.float64]:
    """Of numbers: below the first cut ... above the last, missing. Of texts: each part, others."""
    if values.dtype == object:
        counts = Counter(values.tolist())
        inside = [counts[part] for part in parts]
        return np.array([*inside, len(values) - sum(inside)]) / max(1, len(values))
    finite = np.isfinite(values)
    place = np.searchsorted(np.array(parts), values[finite].astype(np.float64), side="right")
    inside = np.bincount(place, minlength=len(parts) + 1).tolist()
    return np.array([*inside, len(values) - finite.sum()]) / max(1, len(values))


def _index(new: NDArray[np.float64], old: NDArray[np.float64]) -> float:
    """Sum of (new - old) log(new / old)."""
    new, old = np.maximum(new, _LEAST), np.maximum(old, _LEAST)
    return float(((new - old) * np.log(new / old)).sum())
