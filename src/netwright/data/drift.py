"""Data drift: compare new rows with the training rows by the population stability index (PSI)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table

_N_BINS = 10
_MIN_NEW_ROWS = 100
"""Fewer new rows may have any distribution by chance."""
_MAX_COLUMNS = 500
"""Columns of which a model file stores the distribution, so that it stays small."""
_MAJOR_SHIFT = 0.25
"""A PSI above is called a major shift (Siddiqi 2006, Credit Risk Scorecards, p. 137)."""
_MIN_BIN_FRACTION = 1e-4
"""An empty bin counts as this fraction of the rows: at 0 the PSI would be infinite."""


def reference_distribution(table: Table) -> dict[str, Any]:
    """Return what a model's card stores of the training rows: the bins of each column.

    Of a column of numbers, ``parts`` are up to nine bin edges (deciles); of categories, the ten
    most frequent ones. ``shares`` are the fractions of the rows in each bin and, last, in none.
    """
    distribution: dict[str, Any] = {}
    for column in table.columns[:_MAX_COLUMNS]:
        values = table.arrays[column.name]
        if column.kind == "numeric":
            finite = values[np.isfinite(values)].astype(np.float64)
            quantiles = np.linspace(0, 1, _N_BINS + 1)[1:-1]
            edges = np.unique(np.quantile(finite, quantiles)) if len(finite) else np.zeros(0)
            digits = 6 if column.dtype == "float32" else 17
            bins: list[Any] = [float(f"{edge:.{digits}g}") for edge in edges]
        elif column.kind in ("category", "boolean"):
            bins = [category for category, _ in Counter(values.tolist()).most_common(_N_BINS)]
        else:
            continue
        fractions = [round(float(fraction), 4) for fraction in _bin_fractions(values, bins)]
        distribution[column.name] = {"parts": bins, "shares": fractions}
    return distribution


def drift_warnings(table: Table, reference: Mapping[str, Any]) -> list[str]:
    """Return a warning on the columns that have drifted; none for fewer than 100 rows.

    Args:
        table: The new rows.
        reference: What `reference_distribution` returned for the training rows.
    """
    if len(table) < _MIN_NEW_ROWS:
        return []
    psi = {
        name: _population_stability_index(
            _bin_fractions(table.arrays[name], column["parts"]), np.array(column["shares"])
        )
        for name, column in reference.items()
        if name in table.arrays
    }
    drifted = sorted((name for name in psi if psi[name] > _MAJOR_SHIFT), key=lambda n: -psi[n])
    if not drifted:
        return []
    names = ", ".join(map(repr, drifted[:5])) + (" and others" if len(drifted) > 5 else "")
    return [
        f"{len(drifted)} column{'s have' if len(drifted) > 1 else ' has'} drifted since training "
        f"({names}): predictions may be less accurate. Retrain the model on newer rows."
    ]


def _bin_fractions(values: NDArray[Any], bins: list[Any]) -> NDArray[np.float64]:
    """Return the fraction of the values in each bin.

    Of numbers: below the first edge, ..., above the last edge, missing. Of texts: each category,
    all others.
    """
    if values.dtype == object:
        counts = Counter(values.tolist())
        in_bins = [counts[category] for category in bins]
        return np.array([*in_bins, len(values) - sum(in_bins)]) / max(1, len(values))
    finite = np.isfinite(values)
    bin_of = np.searchsorted(np.array(bins), values[finite].astype(np.float64), side="right")
    in_bins = np.bincount(bin_of, minlength=len(bins) + 1).tolist()
    return np.array([*in_bins, len(values) - finite.sum()]) / max(1, len(values))


def _population_stability_index(new: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the sum over the bins of (new - reference) log(new / reference)."""
    new = np.maximum(new, _MIN_BIN_FRACTION)
    reference = np.maximum(reference, _MIN_BIN_FRACTION)
    return float(((new - reference) * np.log(new / reference)).sum())
