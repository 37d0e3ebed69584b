"""Convert raw values to the arrays that a model's file takes.

Training and the delivered model both convert here, by the `Column` that was decided in training, so
a value means the same to both, in any batch and any file. The model ships with numpy and
onnxruntime alone, so nothing else is imported. Rows in sentences are counted from 1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.datetimes import (
    MISSING_DATE,
    DateOrder,
    moment,
    nanoseconds,
    seconds_array,
    seconds_of,
    year_of_period,
)
from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues, is_missing
from netwright.data.number_formats import BARE, NumberFormat
from netwright.errors import InputError, quoted

ColumnKind = Literal["numeric", "category", "boolean", "date", "text"]

_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_FIRST_DAYS = 10**14
"""Nanoseconds: whole numbers below, of no whole second, are no moments but other writings of dates."""
_WORDS = re.compile(r"\w+|[^\w\s\x00-\x1f]")
"""Words, and marks each by itself; control characters part words like blanks."""


@dataclass(frozen=True)
class Column:
    """A column's name, what its values are, and how they are written; kept in the model's card."""

    name: str
    kind: ColumnKind
    first: DateOrder = ""
    """Whether day or month comes first in dates such as 31/12/2024."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of numbers: float64 where float32 would merge identifiers or unix seconds."""
    unit: str = ""
    decimal: str = "."
    thousands: str = ""
    """How numbers are written in texts; see `NumberFormat`."""
    as_written: bool = False
    """Whether categories keep the texts they were declared with: 7, 07 and 007 are three."""

    @property
    def number_format(self) -> NumberFormat:
        """How the column's numbers are written in texts."""
        return NumberFormat(self.unit, self.decimal, self.thousands)

    @property
    def bare_numbers(self) -> bool:
        """Whether a CSV parser reads the column's numbers as they are meant."""
        return self.kind == "numeric" and self.number_format == BARE

    def to_card(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain JSON."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            field.name: stated[field.name]
            for field in fields(self)
            if stated[field.name] != field.default
        }


def convert_column(
    column: Column, values: Any, na_values: NaValues = DEFAULT_NA_VALUES
) -> NDArray[Any]:  # fmt: skip
    """(n,) what a model's file takes for raw values of this column.

    numeric: float32 or float64, NaN where missing. category and boolean: object array of str, ""
    where missing. date: int64 nanoseconds, `MISSING_DATE` where missing. text: object array of str.

    Raises InputError, naming the column and the row, at a value that does not fit.
    """
    name = column.name
    match column.kind:
        case "numeric":
            array = _array(values, name)
            if array.dtype.kind not in "biuf":
                array = as_numbers(array, name, column.number_format, na_values)
            with np.errstate(
                over="ignore"
            ):  # beyond float32 is infinite: models take it as missing
                return array.astype(column.dtype)
        case "category" if column.as_written:
            return _texts(each(_array(values, name).astype(object), as_written, name))
        case "category":
            return as_category(values, name, na_values)
        case "boolean":
            return as_boolean(values, name, na_values)
        case "date":
            return as_date(values, name, column.first, na_values)
        case "text":
            return normalize_text(values, name, na_values)


def as_numbers(
    values: Any,
    name: str = "",
    number_format: NumberFormat = BARE,
    marks: NaValues = DEFAULT_NA_VALUES,
) -> NDArray[np.float64]:
    """(n,) float64, NaN where missing: from numbers, booleans, durations (s) or their texts.

    Raises InputError, naming `name`, at a text that is neither a number nor a missing mark.
    """
    array = _array(values, name)
    if array.dtype.kind == "m":
        return seconds_array(array)
    if array.dtype.kind in "OUS":
        rule = f"numbers in {number_format.unit}" if number_format.unit else "numbers"
        read = _number_reader(number_format, marks)
        return np.array(_strict(array, read, rule, name), np.float64)
    if array.dtype.kind == "M" and np.isnat(array).all():
        return np.full(len(array), np.nan)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{_what(name)} must hold numbers, got values of type {array.dtype}.")
    return array.astype(np.float64)


def as_category(
    values: Any, name: str = "", marks: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.object_]:
    """(n,) object array of str, "" where missing: the canonical text of each value."""
    array = _array(values, name)
    if array.dtype.kind == "M":
        return _texts(list(map(_date_text, array)))
    if array.dtype.kind in "biuf":
        distinct, index = np.unique(array, return_inverse=True)
        return _texts([canonical(value, marks) for value in distinct])[index]
    return _texts(each(array.astype(object), lambda value: canonical(value, marks), name))


def _date_text(value: np.datetime64) -> str:
    """A date as `to_csv` writes it, whatever its unit."""
    if np.isnat(value):
        return ""
    day, second = value.astype("datetime64[D]"), value.astype("datetime64[s]")
    return str(day) if day == value else str(second if second == value else value).replace("T", " ")


def as_boolean(
    values: Any, name: str = "", marks: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.object_]:
    """Like `as_category`, and 1 and 0 are "true" and "false"."""
    words = {"1": "true", "0": "false"}
    return _texts([words.get(text, text) for text in as_category(values, name, marks)])


def as_date(
    values: Any, name: str = "", first: DateOrder = "", marks: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.int64]:
    """(n,) int64 nanoseconds since 1970-01-01 (UTC), `MISSING_DATE` where missing.

    From datetimes, periods, ISO-like texts (``2024-03-01``, ``2024/3/1 14:05``,
    ``...T14:05:09.5+02:00``) or whole nanoseconds; with `first` also from ``31/12/2024``,
    ``31.12.2024 14:05``. A date that no calendar has (``0000-00-00``) is missing; one outside 1677
    to 2262 is moved to the nearer end. Raises InputError, naming `name`, at any other text.
    """
    array = _array(values, name)
    if array.dtype.kind == "M":
        return nanoseconds(array)
    if array.dtype.kind in "iu":
        _refuse_other_dates(array, name)
        return array.astype(np.int64)
    missing = np.isnat if array.dtype.kind == "m" else np.isnan
    if array.dtype.kind in "fm" and missing(array).all():
        return np.full(len(array), MISSING_DATE, np.int64)
    if array.dtype.kind not in "OUS":
        raise InputError(f"{_what(name)} must hold dates, got values of type {array.dtype}.")
    example = {"": "2024-03-01", "day": "31/12/2024", "month": "12/31/2024"}[first]

    def read(value: Any) -> int | None:
        return moment(value, first, marks)

    return np.array(_strict(array, read, f"dates such as {example}", name), np.int64)


def _refuse_other_dates(array: NDArray[Any], name: str) -> None:
    """InputError for 20240131 and unix seconds: as nanoseconds they would all lie in 1970."""
    other = (np.abs(array) < _FIRST_DAYS) & (array % 10**9 != 0) & (array != MISSING_DATE)
    if other.any():
        fix = "Convert them: pandas.to_datetime(x, unit='s')."
        raise InputError(
            f"{_what(name)} must hold dates, or nanoseconds since 1970, got "
            f"{array[other][0]} in row {int(np.argmax(other)) + 1}. {fix}"
        )


def normalize_text(
    values: Any, name: str = "", na_values: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.object_]:
    """(n,) object array of str, "" where missing: words and marks in lower case, one blank between.

    ``Don't  PANIC!`` is ``don ' t panic !``. What a file can do with texts is splitting them at
    blanks, so that the rest is done here, for training and for the delivered model alike.
    """
    return _texts(
        each(_array(values, name).astype(object), lambda value: _words(value, na_values), name)
    )


def as_written(value: Any) -> str:
    """The text of a declared category, without blanks around it; only an empty one is missing."""
    return _encodable(value.strip()) if isinstance(value, str) else canonical(value)


def _encodable(text: str) -> str:
    """The text with ? for halves of pairs of surrogates, which are no characters for a file."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def canonical(value: Any, marks: NaValues = DEFAULT_NA_VALUES) -> str:
    """One text a category: ``3``, ``3.0``, "3" and "03" are "3"; True is "true"; missing is "".

    Whole columns turn from whole numbers to floats with the first missing cell, and from texts to
    numbers when a file happens to hold digits only; the category stays the same.
    """
    if isinstance(value, str):
        text = value.strip()
        if text in marks.texts:
            return ""
        if _PLAIN_NUMBER.fullmatch(text):
            return canonical(float(text))
        return text.lower() if text in ("True", "False", "TRUE", "FALSE") else _encodable(text)
    if is_missing(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, bytes):
        return canonical(value.decode(errors="replace"), marks)
    try:
        return str(value)
    except ValueError:  # a whole number of thousands of digits
        return str(number(value))


def number(
    value: Any, number_format: NumberFormat = BARE, marks: NaValues = DEFAULT_NA_VALUES
) -> float | None:
    """The value as a number: NaN when it is missing, None when it is no number."""
    if isinstance(value, str):
        return _number_of_text(value.strip(), number_format, marks)
    if is_missing(value):
        return np.nan
    if isinstance(value, timedelta | time):
        return seconds_of(value)
    if not isinstance(value, Real | Decimal | np.bool_):
        if isinstance(value, bytes):
            return number(value.decode(errors="replace"), number_format, marks)
        return year_of_period(value)
    try:
        return float(value)
    except OverflowError:  # a whole number beyond 1e308
        return np.inf if value > 0 else -np.inf  # type: ignore[operator]  # an int or a fraction


def _number_of_text(text: str, number_format: NumberFormat, marks: NaValues) -> float | None:
    parsed = None
    if number_format != BARE:
        parsed = number_format.parse(text)
    elif "_" not in text:
        try:
            return float(text)
        except ValueError:
            parsed = seconds_of(text)
            parsed = number_format.parse(text) if parsed is None else parsed
    if parsed is None and text.casefold() in marks.numbers:
        return np.nan
    return parsed


def _number_reader(number_format: NumberFormat, marks: NaValues) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        return number(value, number_format, marks)

    return read


def _words(value: Any, marks: NaValues) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = value if isinstance(value, str) else canonical(value, marks)
    if text.strip() in marks.texts:
        return ""
    return " ".join(_WORDS.findall(_encodable(text).lower()))


def each(array: NDArray[Any], convert: Callable[[Any], Any], name: str = "") -> list[Any]:
    """`convert` of every value, called once for each distinct one."""
    keys = _keys(array)
    try:
        distinct = dict(zip(keys, array.tolist(), strict=True))
        converted = {key: convert(value) for key, value in distinct.items()}
    except TypeError:  # a list, dict or array in a cell has no hash
        raise _no_containers(name) from None
    return [converted[key] for key in keys]


def value_counts(array: NDArray[Any], name: str = "") -> list[tuple[Any, int]]:
    """Each distinct value and in how many rows it stands, in the order in which they come."""
    keys = _keys(array)
    try:
        distinct = dict(zip(keys, array.tolist(), strict=True))
        return [(distinct[key], count) for key, count in Counter(keys).items()]
    except TypeError:
        raise _no_containers(name) from None


def _keys(array: NDArray[Any]) -> list[Any]:
    """Hashable keys of values, with their type where True, 1 and 1.0 might meet."""
    values = array.tolist()
    types = list(map(type, values))
    alone = len({*types} - {str}) <= 1
    return values if alone else list(zip(types, values, strict=True))


def _no_containers(name: str) -> InputError:
    return InputError(
        f"{_what(name)} must hold one value in each row, got lists or other containers. "
        "Spread them over columns of their own."
    )


def _strict(array: NDArray[Any], convert: Callable[[Any], Any], rule: str, name: str) -> list[Any]:
    """`convert` of every value; InputError at the first for which it is None."""
    converted = each(array, convert, name)
    if None in converted:
        row = converted.index(None)
        raise InputError(
            f"{_what(name)} must hold {rule}, got {quoted(array.tolist()[row])} in row {row + 1}. "
            "Leave the cell empty if the value is not known."
        )
    return converted


def _array(values: Any, name: str) -> NDArray[Any]:
    """(n,) array; a list keeps its values' own types."""
    listed = isinstance(values, list | tuple)
    array = np.array(values, dtype=object) if listed else np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{_what(name)} must be one column, got an array of shape {array.shape}.")
    return array


def _texts(texts: list[str]) -> NDArray[np.object_]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def _what(name: str) -> str:
    return f"column {name!r}" if name else "the column"


def columns_from_card(card: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns that a model file states; those of older files have fewer fields."""
    return tuple(Column(**stated) for stated in card["columns"])
