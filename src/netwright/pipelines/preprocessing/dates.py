"""Dates as numbers: days since an origin, and the parts of the calendar.

The calendar is written once, in whole numbers, over whatever can add, multiply and divide with the
remainder left out: arrays of int64, or `Whole`, which writes nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.datetimes import MISSING_DATE
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder

DatePart = Literal["year", "month", "day", "weekday", "hour"]
DATE_PARTS: tuple[DatePart, ...] = ("year", "month", "day", "weekday", "hour")
"""Monday is weekday 0; hours are those of UTC."""

_DAY = 86_400 * 10**9
_HOUR = 3_600 * 10**9
"""Nanoseconds."""


@dataclass(frozen=True)
class Whole:
    """An int64 tensor of a file in the making."""

    nodes: OnnxGraphBuilder
    name: str

    def __add__(self, other: Whole | int) -> Whole:
        return self._with("Add", other)

    def __sub__(self, other: Whole | int) -> Whole:
        return self._with("Sub", other)

    def __mul__(self, other: Whole | int) -> Whole:
        return self._with("Mul", other)

    def __mod__(self, other: int) -> Whole:
        return self._with("Mod", other)  # takes the sign of `other`, as in Python

    def __floordiv__(self, other: int) -> Whole:
        cut = self._with("Div", other)  # towards 0
        above = self.nodes.add("Less", [self.name, (cut * other).name])
        return cut - Whole(self.nodes, self.nodes.cast(above, np.int64))

    def _with(self, op: str, other: Whole | int) -> Whole:
        right = other.name if isinstance(other, Whole) else self.nodes.constant(np.int64(other))
        return Whole(self.nodes, self.nodes.add(op, [self.name, right]))


def calendar(moment: Any) -> dict[DatePart, Any]:
    """Parts of moments in nanoseconds since 1970: int64 arrays, or `Whole`.

    The proleptic Gregorian calendar, counted in years that begin in March (H. Hinnant,
    "chrono-compatible low-level date algorithms", civil_from_days).
    """
    days = moment // _DAY
    z = days + 719_468  # since 0000-03-01
    era = z // 146_097  # of 400 years
    doe = z - era * 146_097  # day of the era
    yoe = (doe - doe // 1_460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (yoe * 365 + yoe // 4 - yoe // 100)  # from 1 March
    mp = (doy * 5 + 2) // 153  # March is 0
    after = mp // 10  # 1 in January and February, which belong to the year before
    return {
        "year": yoe + era * 400 + after, "month": mp + 3 - after * 12,
        "day": doy - (mp * 153 + 2) // 5 + 1, "weekday": (days + 3) % 7,
        "hour": (moment % _DAY) // _HOUR,
    }  # fmt: skip


def origin(nanoseconds: NDArray[np.int64]) -> int:
    """The first date of a column; 0 when there is none."""
    known = nanoseconds[nanoseconds != MISSING_DATE]
    return int(known.min()) if len(known) else 0


def varying(nanoseconds: NDArray[np.int64]) -> tuple[DatePart, ...]:
    """The parts that are not the same in all known dates."""
    known = nanoseconds[nanoseconds != MISSING_DATE]
    if not len(known):
        return ()
    return tuple(name for name, values in calendar(known).items() if np.ptp(values))


def days_since(nanoseconds: NDArray[np.int64], start: int) -> NDArray[np.float64]:
    """(rows,) days, NaN where missing."""
    # in float64: 9999-12-31 less 1950 is beyond whole nanoseconds
    days = (nanoseconds.astype(np.float64) - np.float64(start)) / np.float64(_DAY)
    return np.where(nanoseconds == MISSING_DATE, np.nan, days)


def parts_of(
    nanoseconds: NDArray[np.int64], wanted: Sequence[DatePart]
) -> list[NDArray[np.float32]]:
    """(rows,) each, NaN where missing."""
    missing, found = nanoseconds == MISSING_DATE, calendar(nanoseconds)
    return [np.where(missing, np.float32(np.nan), found[p].astype(np.float32)) for p in wanted]


def emit_days(nodes: OnnxGraphBuilder, name: str, start: int) -> str:
    """`days_since` as nodes, float64."""
    since = nodes.add("Sub", [nodes.cast(name, np.float64), nodes.constant(np.float64(start))])
    days = nodes.add("Div", [since, nodes.constant(np.float64(_DAY))])
    return _unless_missing(nodes, name, days, np.float64)


def emit_parts(nodes: OnnxGraphBuilder, name: str, wanted: Sequence[DatePart]) -> list[str]:
    """`parts_of` as nodes."""
    found = calendar(Whole(nodes, name))
    return [
        _unless_missing(nodes, name, nodes.cast(found[part].name, np.float32)) for part in wanted
    ]


def _unless_missing(
    nodes: OnnxGraphBuilder, name: str, values: str, dtype: type[np.floating] = np.float32
) -> str:
    missing = nodes.add("Equal", [name, nodes.constant(np.int64(MISSING_DATE))])
    return nodes.add("Where", [missing, nodes.constant(dtype(np.nan)), values])
