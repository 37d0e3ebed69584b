"""How a raw value becomes what a network's file takes: the one place that says it.

Training and the delivered model both convert here, so a value means the same to both. The model
ships with numpy and onnxruntime alone, so nothing else is imported.

What counts as missing: None, NaN, NaT, pandas' NA, and the words that `pandas.read_csv` takes for
missing plus "?", so that a file read here and the same file read with pandas agree. Rows in
sentences are counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError

ColumnKind = Literal["numeric", "category", "boolean", "date", "text"]
First = Literal["", "day", "month"]
"""Of dates such as 31/12/2024: what comes first."""

MISSING_DATE = int(np.iinfo(np.int64).min)
"""What a missing date is in nanoseconds; numpy's NaT has the same bits."""

MISSING_WORDS = frozenset({
    "", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
_NO_NUMBER = frozenset(word.casefold() for word in MISSING_WORDS) | {
    "-", "--", ".", "n.a.", "nil", "missing", "unknown",
}  # fmt: skip
"""Among numbers, more words can only mean that there is none."""

_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_ISO_DATE = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_NUMBERED_DATE = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?",
    re.ASCII,
)
_WORDS = re.compile(r"\w+|[^\w\s\x00-\x1f]")
"""Words, and marks each by itself; control characters part words like blanks."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = int(np.iinfo(np.int64).max)


def as_numeric(values: Any, name: str = "") -> NDArray[np.float32]:
    """(n,) float32, NaN where missing: from numbers, booleans, durations (s) or their texts.

    Raises InputError, naming `name`, at a text that is neither a number nor a missing marker.
    """
    array = _array(values, name)
    if array.dtype.kind == "m":
        seconds = array.astype("timedelta64[ns]").astype(np.int64) / 1e9
        array = np.where(np.isnat(array), np.nan, seconds)
    elif array.dtype.kind in "OUS":
        array = np.array(_strict(array, number, "numbers", name), np.float64)
    elif array.dtype.kind not in "biuf":
        raise InputError(f"{_what(name)} must hold numbers, got values of type {array.dtype}.")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which models take for missing
        return array.astype(np.float32)


def as_category(values: Any, name: str = "") -> NDArray[np.object_]:
    """(n,) object array of str, "" where missing: the canonical text of each value."""
    array = _array(values, name)
    if array.dtype.kind in "biuf":
        known, place = np.unique(array, return_inverse=True)
        return _texts([canonical(value) for value in known])[place]
    return _texts(each(array.astype(object), canonical, name))


def as_boolean(values: Any, name: str = "") -> NDArray[np.object_]:
    """Like `as_category`, and 1 and 0 are "true" and "false"."""
    words = {"1": "true", "0": "false"}
    return _texts([words.get(text, text) for text in as_category(values, name)])


def as_date(values: Any, name: str = "", first: First = "") -> NDArray[np.int64]:
    """(n,) int64 nanoseconds since 1970-01-01 (UTC), `MISSING_DATE` where missing.

    From datetimes, ISO-like texts (``2024-03-01``, ``2024/3/1 14:05``, ``...T14:05:09.5+02:00``) or
    whole nanoseconds; with `first` also from ``31/12/2024``, ``31.12.2024 14:05``. A date that no
    calendar has (``0000-00-00``) is missing; one outside 1677 to 2262 is moved to the nearer end.
    Raises InputError, naming `name`, at any other text.
    """
    array = _array(values, name)
    if array.dtype.kind == "M":
        return _nanoseconds(array)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "f" and np.isnan(array).all():
        return np.full(len(array), MISSING_DATE, np.int64)
    if array.dtype.kind not in "OUS":
        raise InputError(f"{_what(name)} must hold dates, got values of type {array.dtype}.")
    such = {"": "2024-03-01", "day": "31/12/2024", "month": "12/31/2024"}[first]
    read = partial(moment, first=first)
    return np.array(_strict(array, read, f"dates such as {such}", name), np.int64)


def as_text(values: Any, name: str = "") -> NDArray[np.object_]:
    """(n,) object array of str, "" where missing: words and marks in lower case, one blank between.

    ``Don't  PANIC!`` is ``don ' t panic !``. What a file can do with texts is splitting them at
    blanks, so that the rest is done here, for training and for the delivered model alike.
    """
    return _texts(each(_array(values, name).astype(object), _words, name))


def converted(kind: ColumnKind, values: Any, name: str = "", first: First = "") -> NDArray[Any]:
    """What a file takes for values of a column of this kind; `first`: as in `as_date`."""
    return as_date(values, name, first) if kind == "date" else CONVERT[kind](values, name)


CONVERT: Mapping[str, Callable[[Any, str], NDArray[Any]]] = {
    "numeric": as_numeric, "category": as_category, "boolean": as_boolean, "date": as_date,
    "text": as_text,
}  # fmt: skip
"""Column kind -> its conversion, of (values, name)."""


def canonical(value: Any) -> str:
    """One text a category: ``3``, ``3.0``, "3" and "03" are "3"; True is "true"; missing is "".

    Whole columns turn from whole numbers to floats with the first missing cell, and from texts to
    numbers when a file happens to hold digits only; the category stays the same.
    """
    if isinstance(value, str):
        text = value.strip()
        if text in MISSING_WORDS:
            return ""
        if _PLAIN_NUMBER.fullmatch(text):
            return canonical(float(text))
        return text.lower() if text in ("True", "False", "TRUE", "FALSE") else text
    if is_missing(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, bytes):
        return canonical(value.decode(errors="replace"))
    return str(value)


def number(value: Any) -> float | None:
    """The value as a number: NaN when it is missing, None when it is no number."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return None if "_" in text else float(text)
        except ValueError:
            return np.nan if text.casefold() in _NO_NUMBER else None
    if is_missing(value):
        return np.nan
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, Real | Decimal | np.bool_):
        return number(value.decode(errors="replace")) if isinstance(value, bytes) else None
    try:
        return float(value)
    except OverflowError:  # a whole number beyond 1e308
        return np.inf if value > 0 else -np.inf  # type: ignore[operator]  # an int or a fraction


def moment(value: Any, first: First = "") -> int | None:
    """The value as nanoseconds since 1970-01-01: `MISSING_DATE` when missing, None when no date."""
    if isinstance(value, str):
        return _moment_of_text(value.strip(), first)
    if is_missing(value):
        return MISSING_DATE
    if isinstance(value, np.datetime64):
        return int(_nanoseconds(np.array([value]))[0])
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        text = value.decode(errors="replace") if isinstance(value, bytes) else None
        return None if text is None else moment(text, first)
    return _since(value if value.tzinfo else value.replace(tzinfo=UTC))


def comes_first(values: NDArray[Any]) -> First:
    """What comes first in texts that are all dates such as 31/12/2024; "" where nothing settles it.

    A number above 12 is no month, and between points (31.12.2024) the day comes first.
    """
    found: set[First] = set()
    known: set[str] = set()
    for value in values.tolist():
        text = "" if is_missing(value) else str(value).strip()
        if text in known or text in MISSING_WORDS:
            continue
        known.add(text)
        written = _NUMBERED_DATE.fullmatch(text)
        if written is None:
            return ""
        if int(written[1]) > 12 or written[2] == ".":
            found.add("day")
        elif int(written[3]) > 12:
            found.add("month")
    return found.pop() if len(found) == 1 else ""


def _moment_of_text(text: str, first: First) -> int | None:
    if found := _ISO_DATE.fullmatch(text):
        year, _, month, day, *clock, zone = found.groups(default="")
        return _written(year, month, day, clock, zone)
    if first and (found := _NUMBERED_DATE.fullmatch(text)):
        one, _, other, year, *clock = found.groups(default="")
        month, day = (other, one) if first == "day" else (one, other)
        return _written(year, month, day, clock, "")
    return MISSING_DATE if text in MISSING_WORDS else None


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or NA; texts are not looked at."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas, without it
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))


def _words(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = value if isinstance(value, str) else canonical(value)
    if text.strip() in MISSING_WORDS:
        return ""
    text = text.encode(errors="replace").decode()  # half of a pair of surrogates is no character
    return " ".join(_WORDS.findall(text.lower()))


def each(array: NDArray[Any], convert: Callable[[Any], Any], name: str = "") -> list[Any]:
    """`convert` of every value, called once for each distinct one."""
    values = array.tolist()
    types = list(map(type, values))
    try:
        # True == 1 == 1.0: where types might meet, the type is part of the key
        alone = len({*types} - {str}) <= 1
        keys: list[Any] = values if alone else list(zip(types, values, strict=True))
        distinct = dict(zip(keys, values, strict=True))
        known = {key: convert(value) for key, value in distinct.items()}
        return [known[key] for key in keys]
    except TypeError:  # a list, dict or array in a cell has no hash
        raise InputError(
            f"{_what(name)} must hold one value in each row, got lists or other containers. "
            "Spread them over columns of their own."
        ) from None


def _strict(array: NDArray[Any], convert: Callable[[Any], Any], rule: str, name: str) -> list[Any]:
    """`convert` of every value; InputError at the first for which it is None."""
    found = each(array, convert, name)
    if None in found:
        row = found.index(None)
        raise InputError(
            f"{_what(name)} must hold {rule}, got {array.tolist()[row]!r} in row {row + 1}. "
            "Leave the cell empty if the value is not known."
        )
    return found


def _array(values: Any, name: str) -> NDArray[Any]:
    """(n,) array; a list keeps its values' own types."""
    listed = isinstance(values, list | tuple)
    array = np.array(values, dtype=object) if listed else np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{_what(name)} must be one column, got an array of shape {array.shape}.")
    return array


def _texts(texts: list[str]) -> NDArray[np.object_]:
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def _nanoseconds(array: NDArray[Any]) -> NDArray[np.int64]:
    """Numpy dates of any unit; outside the range of nanoseconds numpy would wrap around."""
    if array.dtype in (np.dtype("datetime64[ns]"), np.dtype("datetime64[us]")):
        coarse = array.astype("datetime64[us]")
    else:
        coarse = array.astype("datetime64[s]").astype("datetime64[us]")
    limit = _LATEST // 1000
    micro = coarse.astype(np.int64)
    clipped = np.clip(micro, -limit, limit)
    exact = array.astype("datetime64[ns]").astype(np.int64)
    found = np.where(clipped == micro, exact, clipped * 1000)
    return np.where(np.isnat(array), MISSING_DATE, found)


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
    nanoseconds = _since(local)
    if zone in ("", "Z", "UTC"):
        return nanoseconds
    digits = zone[1:].replace(":", "")
    offset = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return max(-_LATEST, min(_LATEST, nanoseconds - offset * 1_000_000_000))


def _what(name: str) -> str:
    return f"column {name!r}" if name else "the column"
