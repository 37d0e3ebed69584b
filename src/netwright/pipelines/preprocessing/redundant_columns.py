"""Removal of redundant columns: constant ones and duplicates of others."""

from __future__ import annotations

import hashlib

import numpy as np

from netwright.data.task import Table
from netwright.pipelines.interfaces import Arrays


def drop_redundant_columns(table: Table) -> Table:
    """Drop constant columns and duplicates of earlier columns; keep at least one column."""
    columns, seen = [], set()
    for column in table.columns:
        values = table.arrays[column.name]
        is_category = column.kind in ("category", "boolean")
        fingerprint = (is_category, column.kind == "text", _digest(values))
        if fingerprint not in seen and _varies(values):
            columns.append(column)
        seen.add(fingerprint)
    columns = columns or list(table.columns[:1])
    arrays = {column.name: table.arrays[column.name] for column in columns}
    return Table(tuple(columns), arrays, table.n_source_columns)


def _varies(values: Arrays) -> bool:
    """Return whether there are two different values, a missing one included."""
    if not len(values):
        return False
    same = values == values[0]
    if values.dtype.kind == "f" and np.isnan(values[0]):
        same = np.isnan(values)
    return not bool(np.all(same))


def _digest(values: Arrays) -> bytes:
    """Return a digest that is the same for equal values, whatever the bits of NaN and of 0."""
    if values.dtype == object:
        texts = [text.encode("utf-8", "surrogatepass") for text in values.tolist()]
        lengths = np.array([len(text) for text in texts], np.int64).tobytes()
        return hashlib.blake2b(lengths + b"".join(texts), digest_size=16).digest()
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0))
    raw = values.dtype.str.encode() + np.ascontiguousarray(values).tobytes()
    return hashlib.blake2b(raw, digest_size=16).digest()
