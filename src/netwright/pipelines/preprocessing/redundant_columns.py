"""Columns that say nothing, or nothing new: constant ones, and copies of others."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table


def distinct(table: Table) -> Table:
    """The columns that vary over these rows, of equal ones the first; at least one column."""
    kept, seen = [], set()
    for column in table.columns:
        values = table.arrays[column.name]
        mark = (column.kind in ("category", "boolean"), column.kind == "text", _content(values))
        if mark not in seen and _varies(values):
            kept.append(column)
        seen.add(mark)
    kept = kept or list(table.columns[:1])
    return Table(tuple(kept), {c.name: table.arrays[c.name] for c in kept}, table.n_source_columns)


def _varies(values: NDArray[Any]) -> bool:
    """Whether there are two values, a missing one counted."""
    if not len(values):
        return False
    same = values == values[0]
    if values.dtype.kind == "f" and np.isnan(values[0]):
        same = np.isnan(values)
    return not bool(np.all(same))


def _content(values: NDArray[Any]) -> bytes:
    """A digest of the values: equal ones have the same, however NaN and 0 are written."""
    if values.dtype == object:
        texts = [text.encode("utf-8", "surrogatepass") for text in values.tolist()]
        lengths = np.array([len(text) for text in texts], np.int64).tobytes()
        return hashlib.blake2b(lengths + b"".join(texts), digest_size=16).digest()
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0))
    raw = values.dtype.str.encode() + np.ascontiguousarray(values).tobytes()
    return hashlib.blake2b(raw, digest_size=16).digest()
