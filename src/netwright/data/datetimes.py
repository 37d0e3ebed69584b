"""Datetimes as nanoseconds since 1970, durations as seconds; from objects and from texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues, is_missing

DateOrder = Literal["", "day", "month"]
"""Order of day and month in dates such as 31/12/2024; "" for columns without such dates."""

MISSING_DATE = int(np.iinfo(np.int64).min)
"""A missing date in nanoseconds; numpy's NaT has the same bits."""

_CLOCK = r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?"
_ISO_DATE = re.compile(
    rf"(\d{{4}})([-/])(\d{{1,2}})\2(\d{{1,2}}){_CLOCK}\s*(Z|UTC|[+-]\d{{2}}:?\d{{2}})?", re.ASCII
)
_NUMERIC_DATE = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}){_CLOCK}", re.ASCII)
_MONTH = re.compile(r"([12]\d{3})-(0[1-9]|1[0-2])", re.ASCII)
_QUARTER = re.compile(r"([12]\d{3})-?Q([1-4])", re.ASCII)
_WEEK = re.compile(r"(\d{4}-\d{2}-\d{2})/\d{4}-\d{2}-\d{2}", re.ASCII)
"""Months, quarters and weeks as pandas writes them; each stands for its start."""
_DURATION = re.compile(
    r"(-?\d{1,7}) days?(?:,? ([+-]?)(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?)?", re.ASCII
)
_TIME_OF_DAY = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NANOSECONDS = int(np.iinfo(np.int64).max)


class _Timestamp(Protocol):
    """A `pandas.Timestamp`, without pandas."""

    def to_pydatetime(self) -> datetime: ...


class _Period(Protocol):
    """A `pandas.Period`, without pandas."""

    freqstr: str
    year: int
    start_time: _Timestamp


def to_nanoseconds(
    cell: object, date_order: DateOrder = "", na_values: NaValues = DEFAULT_NA_VALUES
) -> int | None:
    """Convert a cell to nanoseconds since 1970-01-01 (UTC).

    A period (a day, a week, a month, a quarter) becomes its start.

    Returns:
        Nanoseconds, clipped to the range of int64; `MISSING_DATE` if the cell is missing; None if
        it is no date.
    """
    if isinstance(cell, str):
        return _parse_date(cell.strip(), date_order, na_values)
    if is_missing(cell):
        return MISSING_DATE
    if isinstance(cell, np.datetime64):
        return int(array_to_nanoseconds(np.array([cell]))[0])
    if is_period(cell):
        start = _parse_date(str(cell), date_order, na_values)  # as the period's text in a CSV
        return to_nanoseconds(cell.start_time.to_pydatetime()) if start is None else start
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
    if not isinstance(cell, datetime):
        text = cell.decode(errors="replace") if isinstance(cell, bytes) else None
        return None if text is None else to_nanoseconds(text, date_order, na_values)
    return _since_epoch(cell if cell.tzinfo else cell.replace(tzinfo=UTC))


def year_of_period(cell: object) -> int | None:
    """Return the year of a yearly period, which is a number as in a CSV; None for other cells."""
    return int(cell.year) if is_period(cell) and cell.freqstr[0] in "AY" else None


def is_period(cell: object) -> TypeGuard[_Period]:
    """Return whether a cell is a `pandas.Period`, without importing pandas."""
    return type(cell).__name__ == "Period" and hasattr(cell, "freqstr")


def infer_date_order(cells: Iterable[object], na_values: NaValues = DEFAULT_NA_VALUES) -> DateOrder:
    """Infer whether day or month comes first in texts that are all dates such as 31/12/2024.

    A number above 12 is no month, and with dots (31.12.2024) the day comes first. Returns "" where
    the texts leave it open, or are not all such dates.
    """
    possible: set[DateOrder] = set()
    texts = set()
    for cell in cells:
        if isinstance(cell, str):
            texts.add(cell.strip())
        elif not is_missing(cell):
            return ""
    for text in texts:
        if text in na_values.texts:
            continue
        match = _NUMERIC_DATE.fullmatch(text)
        if match is None:
            return ""
        if int(match[3]) > 12:
            possible.add("month")
        elif int(match[1]) > 12 or match[2] == ".":
            possible.add("day")
    return possible.pop() if len(possible) == 1 else ""


def to_seconds(cell: object) -> float | None:
    """Convert a duration or a time of day to seconds; None for other cells.

    Texts are those that pandas and Python write: ``1 days 02:03:04.5``, ``1 day, 2:03:04``,
    ``02:03:04``.
    """
    if isinstance(cell, np.timedelta64):
        return float(array_to_seconds(np.array([cell]))[0])
    if isinstance(cell, timedelta):
        microseconds = (cell.days * 86_400 + cell.seconds) * 10**6 + cell.microseconds
        extra_nanoseconds = int(getattr(cell, "nanoseconds", 0))  # of pandas.Timedelta
        return _seconds(microseconds, extra_nanoseconds)
    if isinstance(cell, time):
        cell = cell.isoformat()
    return _parse_seconds(cell.strip()) if isinstance(cell, str) else None


def array_to_seconds(durations: NDArray[np.timedelta64]) -> NDArray[np.float64]:
    """Convert (n,) durations of any unit to seconds in float64, NaN where missing."""
    microseconds = durations.astype("timedelta64[us]").astype(np.int64)
    seconds = microseconds / 1e6
    if durations.dtype == np.dtype("timedelta64[ns]"):
        nanoseconds = durations.astype(np.int64)
        seconds = np.where(nanoseconds == microseconds * 1000, seconds, nanoseconds / 1e9)
    return np.where(np.isnat(durations), np.nan, seconds)


def array_to_nanoseconds(array: NDArray[Any]) -> NDArray[np.int64]:
    """Convert (n,) numpy dates of any unit to nanoseconds, clipped where numpy would wrap around."""
    if array.dtype in (np.dtype("datetime64[ns]"), np.dtype("datetime64[us]")):
        coarse = array.astype("datetime64[us]")
    else:
        coarse = array.astype("datetime64[s]").astype("datetime64[us]")
    limit = _MAX_NANOSECONDS // 1000
    microseconds = coarse.astype(np.int64)
    clipped = np.clip(microseconds, -limit, limit)
    exact = array.astype("datetime64[ns]").astype(np.int64)
    nanoseconds = np.where(clipped == microseconds, exact, clipped * 1000)
    return np.where(np.isnat(array), MISSING_DATE, nanoseconds)


def _parse_date(text: str, date_order: DateOrder, na_values: NaValues) -> int | None:
    if match := _ISO_DATE.fullmatch(text):
        year, _, month, day, *clock, zone = match.groups(default="")
        return _date_to_nanoseconds(year, month, day, clock, zone)
    if date_order and (match := _NUMERIC_DATE.fullmatch(text)):
        first, _, second, year, *clock = match.groups(default="")
        month, day = (second, first) if date_order == "day" else (first, second)
        if int(month) > 12:  # in the other order
            return None
        return _date_to_nanoseconds(year, month, day, clock, "")
    if match := _MONTH.fullmatch(text):
        return _date_to_nanoseconds(match[1], match[2], "1", [""] * 4, "")
    if match := _QUARTER.fullmatch(text):
        return _date_to_nanoseconds(match[1], str(3 * int(match[2]) - 2), "1", [""] * 4, "")
    if match := _WEEK.fullmatch(text):
        return _parse_date(match[1], date_order, na_values)
    return MISSING_DATE if text in na_values.texts else None


def _since_epoch(moment: datetime) -> int:
    elapsed = moment - _EPOCH
    microseconds = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    return max(-_MAX_NANOSECONDS, min(_MAX_NANOSECONDS, microseconds * 1000))


def _date_to_nanoseconds(year: str, month: str, day: str, clock: list[str], zone: str) -> int:
    """Convert the components of a date; `MISSING_DATE` if no calendar has it.

    `clock`: hours, minutes, seconds and their fraction, "" where the text has none.
    """
    hour, minute, second, fraction = clock
    microsecond = int(f"{fraction:0<6}"[:6])
    h, m, s = (int(digits or 0) for digits in (hour, minute, second))
    try:
        local = datetime(int(year), int(month), int(day), h, m, s, microsecond, tzinfo=UTC)
    except ValueError:
        return MISSING_DATE
    nanoseconds = _since_epoch(local)
    if zone in ("", "Z", "UTC"):
        return nanoseconds
    digits = zone[1:].replace(":", "")
    offset_seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    if zone[0] == "-":
        offset_seconds = -offset_seconds
    shifted = nanoseconds - offset_seconds * 1_000_000_000
    return max(-_MAX_NANOSECONDS, min(_MAX_NANOSECONDS, shifted))


def _parse_seconds(text: str) -> float | None:
    if match := _DURATION.fullmatch(text):
        days, sign, *clock = match.groups(default="")
        clock_nanoseconds = _clock_nanoseconds(*clock)
        if sign == "-":
            clock_nanoseconds = -clock_nanoseconds
        total = int(days) * 86_400 * 10**9 + clock_nanoseconds
    elif match := _TIME_OF_DAY.fullmatch(text):
        total = _clock_nanoseconds(*match.groups(default=""))
    else:
        return None
    microseconds, extra_nanoseconds = divmod(total, 1000)
    return _seconds(microseconds, extra_nanoseconds)


def _clock_nanoseconds(hours: str, minutes: str, seconds: str, fraction: str) -> int:
    whole_seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole_seconds * 10**9 + int(f"{fraction:0<9}")


def _seconds(microseconds: int, extra_nanoseconds: int) -> float:
    """Return seconds, rounded only once, so that arrays, objects and texts agree."""
    if not extra_nanoseconds:
        return microseconds / 1e6
    return (microseconds * 1000 + extra_nanoseconds) / 1e9
