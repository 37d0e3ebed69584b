"""Dates as numbers: days since an origin, and calendar parts.

The calendar arithmetic is written once, in integers, for everything that has ``+ - * // %``: int64
arrays, or `OnnxInt64`, which adds nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from netwright.data.datetimes import MISSING_DATE
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder

DatePart = Literal["year", "month", "day", "weekday", "hour"]
DATE_PARTS: tuple[DatePart, ...] = ("year", "month", "day", "weekday", "hour")
"""Monday is weekday 0; hours are in UTC."""

_NS_PER_DAY = 86_400 * 10**9
_NS_PER_HOUR = 3_600 * 10**9


@dataclass(frozen=True)
class OnnxInt64:
    """An int64 tensor of a graph, with Python's integer arithmetic."""

    builder: OnnxGraphBuilder
    name: str

    def __add__(self, other: OnnxInt64 | int) -> OnnxInt64:
        return self._binary("Add", other)

    def __sub__(self, other: OnnxInt64 | int) -> OnnxInt64:
        return self._binary("Sub", other)

    def __mul__(self, other: OnnxInt64 | int) -> OnnxInt64:
        return self._binary("Mul", other)

    def __mod__(self, other: int) -> OnnxInt64:
        return self._binary("Mod", other)  # takes the sign of `other`, as in Python

    def __floordiv__(self, other: int) -> OnnxInt64:
        truncated = self._binary("Div", other)  # rounds towards 0
        is_too_large = self.builder.add("Less", [self.name, (truncated * other).name])
        return truncated - OnnxInt64(self.builder, self.builder.cast(is_too_large, np.int64))

    def _binary(self, op: str, other: OnnxInt64 | int) -> OnnxInt64:
        if not isinstance(other, OnnxInt64):
            other = OnnxInt64(self.builder, self.builder.constant(np.int64(other)))
        return OnnxInt64(self.builder, self.builder.add(op, [self.name, other.name]))


Integers = TypeVar("Integers", NDArray[np.int64], OnnxInt64)


def calendar(nanoseconds: Integers) -> dict[DatePart, Integers]:
    """Return the calendar parts of nanoseconds since 1970 in the proleptic Gregorian calendar.

    Counts in years that begin in March (H. Hinnant, "chrono-compatible low-level date algorithms",
    civil_from_days, whose names are used).
    """
    days = nanoseconds // _NS_PER_DAY
    z = days + 719_468  # since 0000-03-01
    era = z // 146_097  # of 400 years
    doe = z - era * 146_097  # day of the era
    yoe = (doe - doe // 1_460 + doe // 36_524 - doe // 146_096) // 365  # year of the era
    doy = doe - (yoe * 365 + yoe // 4 - yoe // 100)  # day of the year, from 1 March
    mp = (doy * 5 + 2) // 153  # month, March is 0
    is_next_year = mp // 10  # 1 in January and February, which end the year that began in March
    return {
        "year": yoe + era * 400 + is_next_year,
        "month": mp + 3 - is_next_year * 12,
        "day": doy - (mp * 153 + 2) // 5 + 1,
        "weekday": (days + 3) % 7,
        "hour": (nanoseconds % _NS_PER_DAY) // _NS_PER_HOUR,
    }


def earliest(nanoseconds: NDArray[np.int64]) -> int:
    """Return the first date of a column; 0 if all are missing."""
    present = nanoseconds[nanoseconds != MISSING_DATE]
    return int(present.min()) if len(present) else 0


def varying_date_parts(nanoseconds: NDArray[np.int64]) -> tuple[DatePart, ...]:
    """Return the parts that are not the same for all dates of a column."""
    present = nanoseconds[nanoseconds != MISSING_DATE]
    if not len(present):
        return ()
    return tuple(name for name, values in calendar(present).items() if np.ptp(values))


def days_since(nanoseconds: NDArray[np.int64], origin: int) -> NDArray[np.float64]:
    """Return days (rows,) since `origin`, NaN where missing."""
    # in float64: 9999-12-31 less 1950 overflows int64 nanoseconds
    days = (nanoseconds.astype(np.float64) - np.float64(origin)) / np.float64(_NS_PER_DAY)
    return np.where(nanoseconds == MISSING_DATE, np.nan, days)


def date_parts(
    nanoseconds: NDArray[np.int64], names: Sequence[DatePart]
) -> list[NDArray[np.float32]]:
    """Return a column (rows,) for each part, NaN where missing."""
    missing, parts = nanoseconds == MISSING_DATE, calendar(nanoseconds)
    nan = np.float32(np.nan)
    return [np.where(missing, nan, parts[name].astype(np.float32)) for name in names]


def days_since_onnx(builder: OnnxGraphBuilder, name: str, origin: int) -> str:
    """Add the nodes of `days_since` for the date tensor `name`, in float64."""
    nanoseconds, start = builder.cast(name, np.float64), builder.constant(np.float64(origin))
    elapsed = builder.add("Sub", [nanoseconds, start])
    days = builder.add("Div", [elapsed, builder.constant(np.float64(_NS_PER_DAY))])
    return _nan_where_missing(builder, name, days, np.float64)


def date_parts_onnx(builder: OnnxGraphBuilder, date: str, names: Sequence[DatePart]) -> list[str]:
    """Add the nodes of `date_parts` for the tensor `date`."""
    parts = calendar(OnnxInt64(builder, date))
    return [
        _nan_where_missing(builder, date, builder.cast(parts[name].name, np.float32))
        for name in names
    ]


def _nan_where_missing(
    builder: OnnxGraphBuilder, name: str, values: str, dtype: type[np.floating] = np.float32
) -> str:
    missing = builder.add("Equal", [name, builder.constant(np.int64(MISSING_DATE))])
    return builder.add("Where", [missing, builder.constant(dtype(np.nan)), values])
