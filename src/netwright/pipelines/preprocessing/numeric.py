"""Numbers and dates: imputation, missing-value indicators, derived features and scaling."""

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
    arithmetic_columns,
    arithmetic_columns_onnx,
    best_arithmetic_features,
)
from netwright.pipelines.preprocessing.dates import (
    DatePart,
    date_parts,
    date_parts_onnx,
    days_since,
    days_since_onnx,
    earliest,
    varying_date_parts,
)
from netwright.pipelines.preprocessing.float32_split import Float32Split, fit_splits
from netwright.pipelines.preprocessing.scalers import (
    AffineScaler,
    QuantileScaler,
    Scaler,
    fit_quantiles,
    fit_robust,
    fit_standard,
)
from netwright.pipelines.preprocessing.steps import (
    FittedStep,
    TargetMatrix,
    as_float32_tuple,
    as_row,
)


@dataclass(frozen=True)
class Numeric:
    """Impute and scale numbers and dates.

    Infinite numbers count as missing. A date becomes its days since the first training date.

    Args:
        scale: ``"standard"`` for mean 0 and standard deviation 1; ``"robust"`` for median 0 and
            interquartile range 1 with smooth clipping to -3 and 3 (RealMLP, 2407.04491, sec. 3);
            ``"quantile"`` to map quantiles to those of a normal (TabM, 2410.24210, app. D);
            ``"none"`` to leave numbers as they are.
        add_indicator: add a 0/1 column for each column with missing training values.
        missing: ``"fill"`` to impute the median of the training rows; ``"keep"`` to return NaN, for
            models that branch on it.
        date_parts: add year, month, day, weekday and hour (UTC) of dates where they vary.
        arithmetic_features: number of sums, differences, products and quotients of two columns to
            add at most, if they explain the target beyond their columns (as in OpenFE, 2211.12507).

    Raises:
        InputError: `scale` or `missing` is unknown.

    Example:
        >>> pipeline = TablePipeline(LightGBM(), {"numeric": Numeric("none", missing="keep")})
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
        """As `Step.state_types`."""
        return (FittedNumeric, ArithmeticFeature, AffineScaler, QuantileScaler, Float32Split)

    def fit(self, table: Table, target_matrix: TargetMatrix | None = None) -> FittedNumeric:
        """As `Step.fit`.

        Raises:
            InputError: `arithmetic_features` is set and there is no `target_matrix`.
        """
        columns = tuple(c.name for c in table.columns if c.kind in ("numeric", "date"))
        nanoseconds = {c.name: table.arrays[c.name] for c in table.columns if c.kind == "date"}
        origins = {name: earliest(values) for name, values in nanoseconds.items()}
        parts: dict[str, tuple[DatePart, ...]] = {}
        if self.date_parts:
            varying = {name: varying_date_parts(values) for name, values in nanoseconds.items()}
            parts = {name: names for name, names in varying.items() if names}
        splits = fit_splits(table, columns)
        # (rows, columns + date parts + remainders)
        matrix = _numeric_matrix(table, columns, origins, parts, splits)
        features = self._best_features(matrix, target_matrix)
        matrix = np.concatenate([matrix, arithmetic_columns(matrix, features)], axis=1)
        missing = ~np.isfinite(matrix)
        fill = np.array([_median(column) for column in matrix.T], np.float32)
        with_missing = missing[:, : len(columns)].any(0)
        flagged = np.flatnonzero(with_missing) if self.add_indicator else ()
        return FittedNumeric(
            columns,
            origins,
            parts,
            as_float32_tuple(fill),
            self._fit_scaler(np.where(missing, fill, matrix), matrix),
            keep=self.missing == "keep",
            flagged=tuple(int(i) for i in flagged),
            arithmetic_features=features,
            exact=splits,
        )

    def _best_features(
        self, matrix: NDArray[np.float32], target_matrix: TargetMatrix | None
    ) -> tuple[ArithmeticFeature, ...]:
        if not self.arithmetic_features:
            return ()
        if target_matrix is None:
            rule = "given if Numeric has arithmetic_features"
            raise InputError(expected("target_matrix", rule, Phrase("none")))
        return best_arithmetic_features(matrix, target_matrix, self.arithmetic_features)

    def _fit_scaler(
        self, filled: NDArray[np.float32], matrix: NDArray[np.float32]
    ) -> Scaler | None:
        match self.scale:
            case "none":
                return None
            case "quantile":
                return fit_quantiles(matrix)
            case "robust":
                return fit_robust(filled.astype(np.float64))
            case _:
                return fit_standard(filled.astype(np.float64))


@dataclass(frozen=True)
class FittedNumeric(FittedStep):
    """Fitted `Numeric`; its inner matrix has `columns`, date parts, remainders and features.

    Args:
        columns: the names of the numeric and date columns.
        dates: name of each date column -> its origin, in nanoseconds since 1970.
        date_parts: name of a date column -> its parts.
        fill: value for missing entries of each column of the matrix.
        scaling: scaler of the matrix; None for no scaling.
        keep: return NaN for missing entries.
        flagged: indices of the columns with an indicator.
        arithmetic_features: features of the columns of the matrix before them.
        exact: name of a column -> its split, where float32 would merge its values.
    """

    columns: tuple[str, ...]
    dates: Mapping[str, int]
    date_parts: Mapping[str, tuple[DatePart, ...]]
    fill: tuple[float, ...]
    scaling: Scaler | None
    keep: bool
    flagged: tuple[int, ...]
    arithmetic_features: tuple[ArithmeticFeature, ...] = ()
    exact: Mapping[str, Float32Split] = field(default_factory=dict)

    @property
    def n_columns(self) -> int:
        """Number of columns of the output."""
        return len(self.fill) + len(self.flagged)

    @property
    def supervised(self) -> bool:
        """Whether there are arithmetic features, which are selected by the target."""
        return bool(self.arithmetic_features)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """Return (rows, columns + date parts + remainders + features + indicators)."""
        matrix = _numeric_matrix(table, self.columns, self.dates, self.date_parts, self.exact)
        features = arithmetic_columns(matrix, self.arithmetic_features)
        matrix = np.concatenate([matrix, features], axis=1)
        missing = ~np.isfinite(matrix)
        x = np.where(missing, as_row(self.fill), matrix)
        if self.scaling is not None:
            x = self.scaling.transform(x)
        if self.keep:
            x = np.where(missing, np.float32(np.nan), x)
        return np.concatenate([x, missing[:, list(self.flagged)].astype(np.float32)], axis=1)

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """As `FittedStep.to_onnx`."""
        matrix = self._matrix_onnx(builder)
        missing = builder.add("IsNaN", [builder.add("Sub", [matrix, matrix])])  # inf - inf is NaN
        x = builder.add("Where", [missing, builder.constant(as_row(self.fill)), matrix])
        if self.scaling is not None:
            x = self.scaling.to_onnx(builder, x)
        if self.keep:
            x = builder.add("Where", [missing, builder.constant(np.float32(np.nan)), x])
        if not self.flagged:
            return x
        flagged = builder.constant(np.array(self.flagged, np.int64))
        indicators = builder.add("Gather", [builder.cast(missing, np.float32), flagged], axis=1)
        return builder.add("Concat", [x, indicators], axis=1)

    def _matrix_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of the matrix (rows, columns + date parts + remainders + features)."""
        columns, remainders = [], []
        for name in self.columns:
            days = ""
            if name in self.dates:
                days = days_since_onnx(builder, name, self.dates[name])
            if name not in self.exact:
                columns.append(builder.cast(days, np.float32) if days else name)
                continue
            first, *rest = self.exact[name].to_onnx(builder, days or name)
            columns.append(first)
            remainders += rest
        for name, parts in self.date_parts.items():
            columns += date_parts_onnx(builder, name, parts)
        matrix = builder.stack_columns([*columns, *remainders])
        if not self.arithmetic_features:
            return matrix
        features = arithmetic_columns_onnx(builder, matrix, self.arithmetic_features)
        return builder.add("Concat", [matrix, features], axis=1)


def _numeric_matrix(
    table: Table,
    columns: tuple[str, ...],
    origins: Mapping[str, int],
    parts: Mapping[str, tuple[DatePart, ...]],
    splits: Mapping[str, Float32Split],
) -> NDArray[np.float32]:
    """Return (rows, columns + date parts + remainders), NaN where missing; dates as days."""
    numbers, remainders = [], []
    for name in columns:
        values = table.arrays[name]
        values = days_since(values, origins[name]) if name in origins else values
        first, *rest = splits[name].split(values) if name in splits else (values,)
        numbers.append(first)
        remainders += rest
    for name, part_names in parts.items():
        numbers += date_parts(table.arrays[name], part_names)
    matrix = np.empty((len(table), len(numbers) + len(remainders)), np.float32)
    for i, values in enumerate([*numbers, *remainders]):
        matrix[:, i] = values
    return matrix


def _median(column: NDArray[np.float32]) -> float:
    finite = column[np.isfinite(column)]
    return float(np.median(finite)) if len(finite) else 0.0
