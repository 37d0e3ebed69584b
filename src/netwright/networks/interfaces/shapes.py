"""Shapes of rows, without the batch: images (c, h, w), sequences (t, c), tables (columns,)."""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
"""The shape of one row."""


def width(shape: Shape) -> int:
    """The channels of images (c, h, w), of sequences (t, c) and of columns (c,)."""
    return shape[0] if len(shape) == 3 else shape[-1]


def around(shape: Shape) -> Shape:
    """All axes but that of the channels."""
    return shape[1:] if len(shape) == 3 else shape[:-1]
