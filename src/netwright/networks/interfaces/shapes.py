"""Shapes of rows, without the batch: images (c, h, w), sequences (t, c), tables (columns,)."""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
"""The shape of one row."""


def n_channels(shape: Shape) -> int:
    """Return c of images (c, h, w) and sequences (t, c), and the number of columns (columns,)."""
    return shape[0] if len(shape) == 3 else shape[-1]


def spatial_shape(shape: Shape) -> Shape:
    """Return all axes except the channels: (h, w), (t,) or ()."""
    return shape[1:] if len(shape) == 3 else shape[:-1]
