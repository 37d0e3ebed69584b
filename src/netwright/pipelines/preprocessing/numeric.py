"""Numbers and dates: fill or keep what is missing, say so in a column, and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table
from netwright.errors import InputError, Phrase, check_among, expected
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.arithmetic_features import (
    ArithmeticFeature,
    best_pairs,
    emit_pairs,
    paired,
)
from netwright.pipelines.preprocessing.dates import (
    DatePart,
    days_since,
    emit_days,
    emit_parts,
    origin,
    parts_of,
    varying,
)
from netwright.pipelines.preprocessing.float32_split import Float32Split, exact_numbers
from netwright.pipelines.preprocessing.scalers import (
    AffineScaler,
    QuantileScaler,
    Scaling,
    quantiles,
    robust,
    standard,
)
from netwright.pipelines.preprocessing.steps import FittedStep, TargetMatrix, floats, row


@dataclass(frozen=True)
class Numeric:
    """Numbers and dates: fill what is missing with the median, say so in a column, and scale.

    An infinite number counts as missing: no scale can take it. With `missing` "keep" it is NaN
    instead, for models that branch on it. A date is its days since the first one; with `parts`,
    year, month, day, weekday and hour stand beside them where they vary.

    With `pairs`, up to so many sums, differences, products and quotients of two columns stand
    behind them, where they say of the target what the columns alone do not (`pairs.best_pairs`).

    "standard" divides the distance from the mean by the standard deviation. "robust" divides the
    distance from the median by the spread of the middle half and squeezes the tails smoothly.
    "quantile" maps quantiles to those of a normal. See `scales` for their sources.
    """

    scale: Literal["standard", "robust", "quantile", "none"] = "standard"
    add_indicator: bool = True
    missing: Literal["fill", "keep"] = "fill"
    date_parts: bool = False
    arithmetic_features: int = 0

    def __post_init__(self) -> None:
        check_among("scale", self.scale, ("standard", "robust", "quantile", "none"))
        check_among("missing", self.missing, ("fill", "keep"))

    @staticmethod
    def state_types() -> tuple[type, ...]:
        """The classes that what it learns is made of."""
        return (FittedNumeric, ArithmeticFeature, AffineScaler, QuantileScaler, Float32Split)

    def fit(self, table: Table, aims: TargetMatrix | None = None) -> FittedNumeric:
        """`aims`: the target of the rows, which pairs need; InputError without."""
        columns = tuple(c.name for c in table.columns if c.kind in ("numeric", "date"))
        when = {c.name: table.arrays[c.name] for c in table.columns if c.kind == "date"}
        dates = {name: origin(values) for name, values in when.items()}
        parts = {name: varying(values) for name, values in when.items()} if self.date_parts else {}
        parts = {name: found for name, found in parts.items() if found}
        exact = exact_numbers(table, columns)
        raw = _matrix(table, columns, dates, parts, exact)  # (rows, columns + parts + remainders)
        pairs = self._pairs(raw, aims)
        raw = np.concatenate([raw, paired(raw, pairs)], axis=1)
        missing = ~np.isfinite(raw)
        fill = np.array([_median(column) for column in raw.T], np.float32)
        flagged = np.flatnonzero(missing[:, : len(columns)].any(0)) if self.add_indicator else ()
        return FittedNumeric(
            columns, dates, parts, floats(fill), self._scaling(np.where(missing, fill, raw), raw),
            keep=self.missing == "keep", flagged=tuple(int(i) for i in flagged), arithmetic_features=pairs,
            exact=exact,
        )  # fmt: skip

    def _pairs(
        self, raw: NDArray[np.float32], aims: TargetMatrix | None
    ) -> tuple[ArithmeticFeature, ...]:
        if not self.arithmetic_features:
            return ()
        if aims is None:
            raise InputError(expected("the target", "given to pairs of columns", Phrase("none")))
        return best_pairs(raw, aims, self.arithmetic_features)

    def _scaling(self, filled: NDArray[np.float32], raw: NDArray[np.float32]) -> Scaling | None:
        match self.scale:
            case "none":
                return None
            case "quantile":
                return quantiles(raw)
            case "robust":
                return robust(filled.astype(np.float64))
            case _:
                return standard(filled.astype(np.float64))


@dataclass(frozen=True)
class FittedNumeric(FittedStep):
    """`columns` in order, the `parts` of dates, remainders, then `pairs` of these; one number of
    `fill` and `scaling` for each.

    `dates`: name -> origin in ns. `flagged`: places in `columns` that had missing values. `exact`:
    how numbers and dates are told apart that single precision would merge.
    """

    columns: tuple[str, ...]
    dates: Mapping[str, int]
    date_parts: Mapping[str, tuple[DatePart, ...]]
    fill: tuple[float, ...]
    scaling: Scaling | None
    keep: bool
    flagged: tuple[int, ...]
    arithmetic_features: tuple[ArithmeticFeature, ...] = ()
    exact: Mapping[str, Float32Split] = field(default_factory=dict)

    @property
    def n_columns(self) -> int:
        return len(self.fill) + len(self.flagged)

    @property
    def supervised(self) -> bool:
        """Pairs are chosen by the target."""
        return bool(self.arithmetic_features)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """(rows, columns + parts + remainders + pairs + flagged), float32."""
        raw = _matrix(table, self.columns, self.dates, self.date_parts, self.exact)
        raw = np.concatenate([raw, paired(raw, self.arithmetic_features)], axis=1)
        missing = ~np.isfinite(raw)
        x = np.where(missing, row(self.fill), raw)
        if self.scaling is not None:
            x = self.scaling.apply(x)
        if self.keep:
            x = np.where(missing, np.float32(np.nan), x)
        return np.concatenate([x, missing[:, list(self.flagged)].astype(np.float32)], axis=1)

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        columns, remainders = [], []
        for name in self.columns:
            days = emit_days(nodes, name, self.dates[name]) if name in self.dates else ""
            if name not in self.exact:
                columns.append(nodes.cast(days, np.float32) if days else name)
                continue
            first, *rest = self.exact[name].to_onnx(nodes, days or name)
            columns.append(first)
            remainders += rest
        for name, wanted in self.date_parts.items():
            columns += emit_parts(nodes, name, wanted)
        raw = nodes.stack_columns([*columns, *remainders])  # (rows, columns + parts + remainders)
        if self.arithmetic_features:
            raw = nodes.add(
                "Concat", [raw, emit_pairs(nodes, raw, self.arithmetic_features)], axis=1
            )
        missing = nodes.add("IsNaN", [nodes.add("Sub", [raw, raw])])  # inf - inf is NaN too
        x = nodes.add("Where", [missing, nodes.constant(row(self.fill)), raw])
        if self.scaling is not None:
            x = self.scaling.to_onnx(nodes, x)
        if self.keep:
            x = nodes.add("Where", [missing, nodes.constant(np.float32(np.nan)), x])
        if not self.flagged:
            return x
        which = nodes.constant(np.array(self.flagged, np.int64))
        flags = nodes.add("Gather", [nodes.cast(missing, np.float32), which], axis=1)
        return nodes.add("Concat", [x, flags], axis=1)


def _matrix(
    table: Table, columns: tuple[str, ...], dates: Mapping[str, int],
    parts: Mapping[str, tuple[DatePart, ...]], exact: Mapping[str, Float32Split],
) -> NDArray[np.float32]:  # fmt: skip
    """(rows, columns + parts + remainders) of numbers, NaN where missing; dates as days."""
    numbers, remainders = [], []
    for name in columns:
        values = table.arrays[name]
        values = days_since(values, dates[name]) if name in dates else values
        first, *rest = exact[name].split(values) if name in exact else (values,)
        numbers.append(first)
        remainders += rest
    for name, wanted in parts.items():
        numbers += parts_of(table.arrays[name], wanted)
    matrix = np.empty((len(table), len(numbers) + len(remainders)), np.float32)
    for i, values in enumerate([*numbers, *remainders]):
        matrix[:, i] = values
    return matrix


def _median(column: NDArray[np.float32]) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else 0.0
