"""Preparation: raw columns or pixels -> the one tensor a network takes.

A step is a description (its fields may be open choices) with a `fit`; what was learnt is a frozen
dataclass of plain values that can do the same thing twice: to arrays (`inputs`) and as ONNX nodes
(`emit`). Both are written side by side, in float32 and in the same order, so that they agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import MISSING_DATE
from netwright.data.task import Images, Table
from netwright.pipelines.nodes import Nodes

_DAY = 86_400e9
"""Nanoseconds."""
_FAR = np.float32(1e4)
"""Scaled values end here: what is further out would overflow in the network, and say no more."""


@dataclass(frozen=True)
class Numeric:
    """Numbers and dates: fill what is missing with the median, say so in a column, and scale.

    An infinite number counts as missing: no scale can take it.

    "standard" divides the distance from the mean by the standard deviation. "robust" divides the
    distance from the median by the spread of the middle half and squeezes the tails smoothly:
    x / sqrt(1 + (x / 3)^2) (Holzmueller et al. 2024, 2407.04491, sec. 3).
    """

    scale: Literal["standard", "robust"] = "standard"
    indicator: bool = True

    def fit(self, table: Table) -> FittedNumeric:
        columns = tuple(c.name for c in table.columns if c.kind in ("numeric", "date"))
        dates = {c.name: _origin(table.arrays[c.name]) for c in table.columns if c.kind == "date"}
        raw = _matrix(table, columns, dates)  # (rows, columns)
        missing = ~np.isfinite(raw)
        fill = np.array([_median(column) for column in raw.T], np.float32)
        filled = np.where(missing, fill, raw)
        centre, width = self._spread(filled)
        flagged = np.flatnonzero(missing.any(0)) if self.indicator else ()
        return FittedNumeric(
            columns, dates, _floats(fill), _floats(centre), _floats(width),
            squeeze=self.scale == "robust", flagged=tuple(int(i) for i in flagged),
        )  # fmt: skip

    def _spread(
        self, filled: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre and width (columns,); a column without any width keeps 1."""
        values = filled.astype(np.float64)
        if not values.size:
            return np.zeros(values.shape[1]), np.ones(values.shape[1])
        centre, width = values.mean(0), values.std(0)
        if self.scale == "robust":
            low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            # over half of the rows equal: fall back on the range, as the source does
            width = np.where(high > low, high - low, (values.max(0) - values.min(0)) / 2)
        return centre, np.where(width > 1e-12 * np.abs(centre), width, 1.0)


@dataclass(frozen=True)
class FittedNumeric:
    """`columns` in order; `dates` name -> origin in ns; one float each of the rest a column."""

    columns: tuple[str, ...]
    dates: Mapping[str, int]
    fill: tuple[float, ...]
    centre: tuple[float, ...]
    width: tuple[float, ...]
    squeeze: bool
    flagged: tuple[int, ...]

    @property
    def outputs(self) -> int:
        return len(self.columns) + len(self.flagged)

    def inputs(self, table: Table) -> NDArray[np.float32]:
        """(rows, columns + flagged), float32."""
        raw = _matrix(table, self.columns, self.dates)  # (rows, columns)
        missing = ~np.isfinite(raw)
        x = np.where(missing, _row(self.fill), raw)
        x = np.clip((x - _row(self.centre)) / _row(self.width), -_FAR, _FAR)
        if self.squeeze:
            third = x / np.float32(3)
            x = x / np.sqrt(np.float32(1) + third * third)
        return np.concatenate([x, missing[:, list(self.flagged)].astype(np.float32)], axis=1)

    def emit(self, nodes: Nodes) -> str:
        columns = [self._column(nodes, name) for name in self.columns]
        raw = nodes.columns(columns)  # (rows, columns)
        missing = nodes.add("IsNaN", [nodes.add("Sub", [raw, raw])])  # inf - inf is NaN too
        x = nodes.add("Where", [missing, nodes.constant(_row(self.fill)), raw])
        x = nodes.add("Sub", [x, nodes.constant(_row(self.centre))])
        x = nodes.add("Div", [x, nodes.constant(_row(self.width))])
        x = nodes.add("Clip", [x, nodes.constant(-_FAR), nodes.constant(_FAR)])
        if self.squeeze:
            third = nodes.add("Div", [x, nodes.constant(np.float32(3))])
            square = nodes.add("Mul", [third, third])
            one = nodes.constant(np.float32(1))
            root = nodes.add("Sqrt", [nodes.add("Add", [one, square])])
            x = nodes.add("Div", [x, root])
        if not self.flagged:
            return x
        which = nodes.constant(np.array(self.flagged, np.int64))
        flags = nodes.add("Gather", [nodes.cast(missing, np.float32), which], axis=1)
        return nodes.add("Concat", [x, flags], axis=1)

    def _column(self, nodes: Nodes, name: str) -> str:
        """A date becomes days since its origin; a number is taken as it is."""
        if name not in self.dates:
            return name
        missing = nodes.add("Equal", [name, nodes.constant(np.int64(MISSING_DATE))])
        origin = nodes.constant(np.float64(self.dates[name]))
        since = nodes.add("Sub", [nodes.cast(name, np.float64), origin])
        days = nodes.add("Div", [since, nodes.constant(np.float64(_DAY))])
        nan = nodes.constant(np.float32(np.nan))
        return nodes.add("Where", [missing, nan, nodes.cast(days, np.float32)])


@dataclass(frozen=True)
class Categories:
    """Categories, booleans and text: each value its own code from 1, anything else 0.

    A value seen in fewer than `least` rows counts as unseen. Missing ("") is a value like others.
    """

    least: int = 1

    def fit(self, table: Table) -> FittedCategories:
        columns = tuple(c.name for c in table.columns if c.kind in ("category", "boolean"))
        known = []
        for name in columns:
            counts = Counter(table.arrays[name].tolist())  # no array of the longest text's width
            known.append(tuple(sorted(v for v, n in counts.items() if n >= self.least)))
        return FittedCategories(columns, tuple(known))


@dataclass(frozen=True)
class FittedCategories:
    """`columns` in order, and the values known of each: the i-th has code i + 1."""

    columns: tuple[str, ...]
    known: tuple[tuple[str, ...], ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many codes each column has, the unseen one counted."""
        return tuple(len(values) + 1 for values in self.known)

    def inputs(self, table: Table) -> NDArray[np.float32]:
        """(rows, columns): codes as float32, exact up to 2^24 of them."""
        codes = [
            _codes(table.arrays[name], known)
            for name, known in zip(self.columns, self.known, strict=True)
        ]
        return np.stack(codes, axis=1) if codes else np.zeros((len(table), 0), np.float32)

    def emit(self, nodes: Nodes) -> str:
        coded = []
        for name, known in zip(self.columns, self.known, strict=True):
            if known:
                codes = {value: i for i, value in enumerate(known, start=1)}
                codes |= {v: codes[k] for k in known for v in _spellings(k) if v not in codes}
                code = nodes.add(
                    "LabelEncoder", [name], domain="ai.onnx.ml",
                    keys_strings=list(codes), values_int64s=list(codes.values()), default_int64=0,
                )  # fmt: skip
            else:  # all values too rare: LabelEncoder refuses an empty list
                code = nodes.add(
                    "LabelEncoder", [name], domain="ai.onnx.ml",
                    keys_strings=[""], values_int64s=[0], default_int64=0,
                )  # fmt: skip
            coded.append(code)
        return nodes.cast(nodes.columns(coded), np.float32)


@dataclass(frozen=True)
class Scale:
    """Pixels: each channel to mean 0 and standard deviation 1 over the training images."""

    def fit(self, images: Images) -> FittedScale:
        pixels = images.pixels  # (rows, h, w, c) uint8
        mean, std = [], []
        for channel in range(pixels.shape[3]):  # counting needs no copy as floats
            counts = np.bincount(pixels[..., channel].ravel(), minlength=256).astype(np.float64)
            levels = np.arange(256.0)
            m = float((counts * levels).sum() / counts.sum())
            mean.append(m)
            std.append(float(np.sqrt((counts * (levels - m) ** 2).sum() / counts.sum())) or 1.0)
        return FittedScale(_floats(np.array(mean)), _floats(np.array(std)))


@dataclass(frozen=True)
class FittedScale:
    """Mean and standard deviation of each channel, in levels of 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def inputs(self, images: Images) -> NDArray[np.uint8]:
        """(rows, c, h, w), still uint8: the network's first layer scales, batch by batch."""
        return np.ascontiguousarray(images.pixels.transpose(0, 3, 1, 2))

    def emit(self, nodes: Nodes, name: str) -> str:
        return nodes.cast(nodes.add("Transpose", [name], perm=[0, 3, 1, 2]), np.float32)


def _matrix(table: Table, columns: Sequence[str], dates: Mapping[str, int]) -> NDArray[np.float32]:
    """(rows, columns) of numbers, NaN where missing; dates as days since their origin."""
    matrix = np.empty((len(table), len(columns)), np.float32)
    for i, name in enumerate(columns):
        values = table.arrays[name]
        if name in dates:
            # in float64: 9999-12-31 less 1950 is beyond whole nanoseconds
            days = (values.astype(np.float64) - np.float64(dates[name])) / np.float64(_DAY)
            values = np.where(values == MISSING_DATE, np.nan, days)
        matrix[:, i] = values
    return matrix


def _origin(nanoseconds: NDArray[np.int64]) -> int:
    """The first date of a column; 0 when there is none."""
    known = nanoseconds[nanoseconds != MISSING_DATE]
    return int(known.min()) if len(known) else 0


def _median(column: NDArray[np.float32]) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else 0.0


def _codes(values: NDArray[np.object_], known: tuple[str, ...]) -> NDArray[np.float32]:
    """(rows,) codes of strings: 1 + the place in the sorted `known`, 0 when not there."""
    code = {value: i for i, value in enumerate(known, start=1)}
    return np.fromiter((code.get(v, 0) for v in values.tolist()), np.float32, len(values))


def _spellings(text: str) -> tuple[str, ...]:
    """What those who feed the file by hand may write for a canonical text."""
    if text in ("true", "false"):
        return (text.title(), text.upper())
    whole = text.removeprefix("-").isdecimal()
    return (f"{text}.0",) if whole else ()


def _row(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[None, :]  # (1, columns)


def _floats(values: NDArray[np.floating]) -> tuple[float, ...]:
    """As float32 and back, so that what is saved is what was used."""
    return tuple(float(value) for value in np.asarray(values, np.float32))
