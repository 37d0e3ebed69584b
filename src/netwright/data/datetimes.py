"""Moments and durations: from datetimes, periods and their texts to whole nanoseconds and seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues, is_missing

DateOrder = Literal["", "day", "month"]
"""Of dates such as 31/12/2024: what comes first."""

MISSING_DATE = int(np.iinfo(np.int64).min)
"""What a missing date is in nanoseconds; numpy's NaT has the same bits."""

_CLOCK = r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?"
_ISO_DATE = re.compile(
    rf"(\d{{4}})([-/])(\d{{1,2}})\2(\d{{1,2}}){_CLOCK}\s*(Z|UTC|[+-]\d{{2}}:?\d{{2}})?", re.ASCII
)
_NUMBERED_DATE = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}){_CLOCK}", re.ASCII)
_MONTH = re.compile(r"([12]\d{3})-(0[1-9]|1[0-2])", re.ASCII)
_QUARTER = re.compile(r"([12]\d{3})-?Q([1-4])", re.ASCII)
_WEEK = re.compile(r"(\d{4}-\d{2}-\d{2})/\d{4}-\d{2}-\d{2}", re.ASCII)
"""How pandas writes months, quarters and weeks; each counts as the moment at which it begins."""
_DURATION = re.compile(
    r"(-?\d{1,7}) days?(?:,? ([+-]?)(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?)?", re.ASCII
)
_TIME_OF_DAY = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = int(np.iinfo(np.int64).max)


def moment(value: Any, first: DateOrder = "", marks: NaValues = DEFAULT_NA_VALUES) -> int | None:
    """The value as nanoseconds since 1970-01-01: `MISSING_DATE` when missing, None when no date.

    A period (a day, a week, a month, a quarter) is the moment at which it begins.
    """
    if isinstance(value, str):
        return _moment_of_text(value.strip(), first, marks)
    if is_missing(value):
        return MISSING_DATE
    if isinstance(value, np.datetime64):
        return int(nanoseconds(np.array([value]))[0])
    if is_period(value):
        start = _moment_of_text(str(value), first, marks)  # as in its own CSV
        return moment(value.start_time.to_pydatetime()) if start is None else start
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        text = value.decode(errors="replace") if isinstance(value, bytes) else None
        return None if text is None else moment(text, first, marks)
    return _since(value if value.tzinfo else value.replace(tzinfo=UTC))


def year_of_period(value: Any) -> int | None:
    """The year of a yearly period, which is a number like in its own CSV; None of anything else."""
    return int(value.year) if is_period(value) and value.freqstr[0] in "AY" else None


def is_period(value: Any) -> bool:
    """Whether a value is one of pandas' periods, told without pandas."""
    return type(value).__name__ == "Period" and hasattr(value, "freqstr")


def comes_first(values: Iterable[Any], marks: NaValues = DEFAULT_NA_VALUES) -> DateOrder:
    """What comes first in texts that are all dates such as 31/12/2024; "" where nothing settles it.

    A number above 12 is no month, and between points (31.12.2024) the day comes first.
    """
    possible: set[DateOrder] = set()
    present = [value for value in values if not is_missing(value)]
    if not all(isinstance(value, str) for value in present):
        return ""
    for text in {value.strip() for value in present}:
        if text in marks.texts:
            continue
        written = _NUMBERED_DATE.fullmatch(text)
        if written is None:
            return ""
        if int(written[3]) > 12:
            possible.add("month")
        elif int(written[1]) > 12 or written[2] == ".":
            possible.add("day")
    return possible.pop() if len(possible) == 1 else ""


def seconds_of(value: Any) -> float | None:
    """A duration or a time of day as seconds; None of anything else.

    Texts as pandas and Python write them: ``1 days 02:03:04.5``, ``1 day, 2:03:04``, ``02:03:04``.
    """
    if isinstance(value, np.timedelta64):
        return float(seconds_array(np.array([value]))[0])
    if isinstance(value, timedelta):
        days, seconds = value.days, value.seconds
        microseconds = value.microseconds
        extra = int(getattr(value, "nanoseconds", 0))  # pandas' own timedelta
        return _seconds((days * 86_400 + seconds) * 10**6 + microseconds, extra)
    if isinstance(value, time):
        value = value.isoformat()
    return _seconds_of_text(value.strip()) if isinstance(value, str) else None


def seconds_array(durations: NDArray[np.timedelta64]) -> NDArray[np.float64]:
    """(n,) durations of any unit as seconds in float64, NaN where missing."""
    whole = durations.astype("timedelta64[us]")
    microseconds = whole.astype(np.int64)
    seconds = microseconds / 1e6
    if durations.dtype == np.dtype("timedelta64[ns]"):
        exact = durations.astype(np.int64)
        seconds = np.where(exact == microseconds * 1000, seconds, exact / 1e9)
    return np.where(np.isnat(durations), np.nan, seconds)


def nanoseconds(array: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) numpy dates of any unit; outside the range of nanoseconds numpy would wrap around."""
    if array.dtype in (np.dtype("datetime64[ns]"), np.dtype("datetime64[us]")):
        coarse = array.astype("datetime64[us]")
    else:
        coarse = array.astype("datetime64[s]").astype("datetime64[us]")
    limit = _LATEST // 1000
    micro = coarse.astype(np.int64)
    clipped = np.clip(micro, -limit, limit)
    exact = array.astype("datetime64[ns]").astype(np.int64)
    inside = np.where(clipped == micro, exact, clipped * 1000)
    return np.where(np.isnat(array), MISSING_DATE, inside)


def _moment_of_text(text: str, first: DateOrder, marks: NaValues) -> int | None:
    if written := _ISO_DATE.fullmatch(text):
        year, _, month, day, *clock, zone = written.groups(default="")
        return _written(year, month, day, clock, zone)
    if first and (written := _NUMBERED_DATE.fullmatch(text)):
        left, _, right, year, *clock = written.groups(default="")
        month, day = (right, left) if first == "day" else (left, right)
        if int(month) > 12:  # written the other way round
            return None
        return _written(year, month, day, clock, "")
    if written := _MONTH.fullmatch(text):
        return _written(written[1], written[2], "1", [""] * 4, "")
    if written := _QUARTER.fullmatch(text):
        return _written(written[1], str(3 * int(written[2]) - 2), "1", [""] * 4, "")
    if written := _WEEK.fullmatch(text):
        return _moment_of_text(written[1], first, marks)
    return MISSING_DATE if text in marks.texts else None


def _since(value: datetime) -> int:
    passed = value - _EPOCH
    micro = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return max(-_LATEST, min(_LATEST, micro * 1000))


def _written(year: str, month: str, day: str, clock: list[str], zone: str) -> int:
    """The date of a text's parts; missing when no calendar has it.

    `clock`: hours, minutes, seconds and their fraction, "" where the text ends before.
    """
    hour, minute, second, fraction = clock
    micro = int(f"{fraction:0<6}"[:6])
    h, m, s = (int(part or 0) for part in (hour, minute, second))
    try:
        local = datetime(int(year), int(month), int(day), h, m, s, micro, tzinfo=UTC)
    except ValueError:
        return MISSING_DATE
    since = _since(local)
    if zone in ("", "Z", "UTC"):
        return since
    digits = zone[1:].replace(":", "")
    offset = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return max(-_LATEST, min(_LATEST, since - offset * 1_000_000_000))


def _seconds_of_text(text: str) -> float | None:
    if written := _DURATION.fullmatch(text):
        days, sign, *clock = written.groups(default="")
        part = _clock_nanoseconds(*clock)
        total = int(days) * 86_400 * 10**9 + (-part if sign == "-" else part)
    elif written := _TIME_OF_DAY.fullmatch(text):
        total = _clock_nanoseconds(*written.groups(default=""))
    else:
        return None
    microseconds, extra = divmod(total, 1000)
    return _seconds(microseconds, extra)


def _clock_nanoseconds(hours: str, minutes: str, seconds: str, fraction: str) -> int:
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole * 10**9 + int(f"{fraction:0<9}")


def _seconds(microseconds: int, extra_nanoseconds: int) -> float:
    """Seconds, rounded once: in the same way for arrays, objects and texts."""
    if not extra_nanoseconds:
        return microseconds / 1e6
    return (microseconds * 1000 + extra_nanoseconds) / 1e9
