"""Convert a column's raw cells to the array that a model's file takes.

Training and the delivered model both convert here, by the `Column` that training decided, so that a
cell means the same to both, in any batch and any file. The model ships with numpy and onnxruntime
alone, so nothing else is imported. Error messages count rows from 1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from netwright.data.datetimes import (
    MISSING_DATE,
    DateOrder,
    array_to_nanoseconds,
    array_to_seconds,
    to_nanoseconds,
    to_seconds,
    year_of_period,
)
from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues, is_missing
from netwright.data.number_formats import PLAIN_NUMBERS, NumberFormat
from netwright.errors import InputError, quoted

ColumnKind = Literal["numeric", "category", "boolean", "date", "text"]

_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_MIN_PLAUSIBLE_NANOSECONDS = 10**14
"""About 28 hours: smaller integers, but for whole seconds, are dates in another unit or format."""
_WORDS = re.compile(r"\w+|[^\w\s\x00-\x1f]")
"""Words, and punctuation marks one by one; control characters separate words as blanks do."""

_Converted = TypeVar("_Converted")


@dataclass(frozen=True)
class Column:
    """A column and how its cells are converted; stored in the model's card.

    Args:
        name: Without surrounding blanks.
        kind: What the cells are.
        first: Whether day or month comes first in dates such as 31/12/2024.
        dtype: Of numbers: float64 if float32 would merge identifiers or unix seconds.
        unit: Of numbers in texts; see `NumberFormat`.
        decimal: The decimal mark of numbers in texts.
        thousands: The thousands separator of numbers in texts.
        as_written: Whether categories keep the texts they were declared with: 7, 07 and 007 are
            three categories.
    """

    name: str
    kind: ColumnKind
    first: DateOrder = ""
    dtype: Literal["float32", "float64"] = "float32"
    unit: str = ""
    decimal: str = "."
    thousands: str = ""
    as_written: bool = False

    @property
    def number_format(self) -> NumberFormat:
        """Notation of the column's numbers in texts."""
        return NumberFormat(self.unit, self.decimal, self.thousands)

    @property
    def has_plain_numbers(self) -> bool:
        """Whether a CSV parser reads the column's numbers correctly."""
        return self.kind == "numeric" and self.number_format == PLAIN_NUMBERS

    def to_card(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain JSON."""
        by_name = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            field.name: by_name[field.name]
            for field in fields(self)
            if by_name[field.name] != field.default
        }


def convert_column(
    column: Column, cells: object, na_values: NaValues = DEFAULT_NA_VALUES
) -> NDArray[Any]:
    """Convert (n,) raw cells of a column to what a model's file takes.

    Returns:
        (n,) numeric: float32 or float64, NaN where missing. category and boolean: object array of
        str, "" where missing. date: int64 nanoseconds, `MISSING_DATE` where missing. text: object
        array of str, "" where missing.

    Raises:
        InputError: A cell does not fit the column; with the column's name and the row.
    """
    name = column.name
    match column.kind:
        case "numeric":
            array = _as_column(cells, name)
            if array.dtype.kind not in "biuf":
                array = as_numbers(array, name, column.number_format, na_values)
            with np.errstate(over="ignore"):  # beyond float32 is infinite, which models take as NaN
                return array.astype(column.dtype)
        case "category" if column.as_written:
            return _text_array(
                map_distinct(_as_column(cells, name).astype(object), declared_text, name)
            )
        case "category":
            return as_category(cells, name, na_values)
        case "boolean":
            return as_boolean(cells, name, na_values)
        case "date":
            return as_date(cells, name, column.first, na_values)
        case "text":
            return normalize_text(cells, name, na_values)


def as_numbers(
    cells: object,
    name: str = "",
    number_format: NumberFormat = PLAIN_NUMBERS,
    na_values: NaValues = DEFAULT_NA_VALUES,
) -> NDArray[np.float64]:
    """Convert (n,) numbers, booleans, durations or their texts to float64, NaN where missing.

    Durations become seconds.

    Raises:
        InputError: A text is neither a number nor a missing value; with `name` and the row.
    """
    array = _as_column(cells, name)
    if array.dtype.kind == "m":
        return array_to_seconds(array)
    if array.dtype.kind in "OUS":
        rule = f"numbers in {number_format.unit}" if number_format.unit else "numbers"
        read = _number_reader(number_format, na_values)
        return np.array(_convert_all(array, read, rule, name), np.float64)
    if array.dtype.kind == "M" and np.isnat(array).all():
        return np.full(len(array), np.nan)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{_column_text(name)} must hold numbers, got values of type {array.dtype}."
        )
    return array.astype(np.float64)


def as_category(
    cells: object, name: str = "", na_values: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.object_]:
    """Convert (n,) cells to their canonical texts, "" where missing; see `canonical_text`."""
    array = _as_column(cells, name)
    if array.dtype.kind == "M":
        return _text_array(list(map(_date_text, array)))
    if array.dtype.kind in "biuf":
        distinct, index = np.unique(array, return_inverse=True)
        return _text_array([canonical_text(number, na_values) for number in distinct])[index]
    return _text_array(
        map_distinct(array.astype(object), lambda cell: canonical_text(cell, na_values), name)
    )


def _date_text(moment: np.datetime64) -> str:
    """Return a date as pandas' `to_csv` writes it, whatever its unit."""
    if np.isnat(moment):
        return ""
    day, second = moment.astype("datetime64[D]"), moment.astype("datetime64[s]")
    if day == moment:
        return str(day)
    return str(second if second == moment else moment).replace("T", " ")


def as_boolean(
    cells: object, name: str = "", na_values: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.object_]:
    """Convert like `as_category`, but 1 and 0 become "true" and "false"."""
    booleans = {"1": "true", "0": "false"}
    return _text_array([booleans.get(text, text) for text in as_category(cells, name, na_values)])


def as_date(
    cells: object,
    name: str = "",
    date_order: DateOrder = "",
    na_values: NaValues = DEFAULT_NA_VALUES,
) -> NDArray[np.int64]:
    """Convert (n,) dates to int64 nanoseconds since 1970-01-01 (UTC).

    Dates are datetimes, periods, ISO-like texts (``2024-03-01``, ``2024/3/1 14:05``,
    ``...T14:05:09.5+02:00``) or whole nanoseconds; with a `date_order` also texts such as
    ``31/12/2024`` and ``31.12.2024 14:05``.

    Returns:
        `MISSING_DATE` where missing, and for dates that no calendar has (``0000-00-00``). Dates
        outside 1677 to 2262 are clipped.

    Raises:
        InputError: A text is neither a date nor a missing value; with `name` and the row.
    """
    array = _as_column(cells, name)
    if array.dtype.kind == "M":
        return array_to_nanoseconds(array)
    if array.dtype.kind in "iu":
        _check_nanoseconds(array, name)
        return array.astype(np.int64)
    is_missing_in = np.isnat if array.dtype.kind == "m" else np.isnan
    if array.dtype.kind in "fm" and is_missing_in(array).all():
        return np.full(len(array), MISSING_DATE, np.int64)
    if array.dtype.kind not in "OUS":
        raise InputError(f"{_column_text(name)} must hold dates, got values of type {array.dtype}.")
    example = {"": "2024-03-01", "day": "31/12/2024", "month": "12/31/2024"}[date_order]

    def read(cell: object) -> int | None:
        return to_nanoseconds(cell, date_order, na_values)

    return np.array(_convert_all(array, read, f"dates such as {example}", name), np.int64)


def _check_nanoseconds(array: NDArray[Any], name: str) -> None:
    """Raise InputError for 20240131 and unix seconds: as nanoseconds they would all be in 1970."""
    implausible = (
        (np.abs(array) < _MIN_PLAUSIBLE_NANOSECONDS)
        & (array % 10**9 != 0)
        & (array != MISSING_DATE)
    )
    if implausible.any():
        fix = "Convert them: pandas.to_datetime(x, unit='s')."
        raise InputError(
            f"{_column_text(name)} must hold dates, or nanoseconds since 1970, got "
            f"{array[implausible][0]} in row {int(np.argmax(implausible)) + 1}. {fix}"
        )


def normalize_text(
    cells: object, name: str = "", na_values: NaValues = DEFAULT_NA_VALUES
) -> NDArray[np.object_]:
    """Convert (n,) texts to lower-case words and punctuation marks separated by single blanks.

    ``Don't  PANIC!`` becomes ``don ' t panic !``; missing cells become "". All that an ONNX file
    can do with a text is split it at blanks: the rest is done here, in training and in prediction.
    """
    return _text_array(
        map_distinct(
            _as_column(cells, name).astype(object),
            lambda cell: _normalized(cell, na_values),
            name,
        )
    )


def declared_text(cell: object) -> str:
    """Return the text of a declared category without surrounding blanks; only "" is missing."""
    return _encodable(cell.strip()) if isinstance(cell, str) else canonical_text(cell)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which a file in UTF-8 cannot hold, by question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def canonical_text(cell: object, na_values: NaValues = DEFAULT_NA_VALUES) -> str:
    """Return one text per category: ``3``, ``3.0``, "3" and "03" are "3"; True is "true".

    Columns change from integers to floats with the first missing cell, and from texts to numbers
    when a file happens to hold only digits; the category stays the same. A missing cell is "".
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text in na_values.texts:
            return ""
        if _PLAIN_NUMBER.fullmatch(text):
            return canonical_text(float(text))
        return text.lower() if text in ("True", "False", "TRUE", "FALSE") else _encodable(text)
    if is_missing(cell):
        return ""
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating):
        return str(int(cell)) if cell.is_integer() else str(cell)
    if isinstance(cell, bytes):
        return canonical_text(cell.decode(errors="replace"), na_values)
    try:
        return str(cell)
    except ValueError:  # an integer of thousands of digits
        return str(to_number(cell))


def to_number(
    cell: object,
    number_format: NumberFormat = PLAIN_NUMBERS,
    na_values: NaValues = DEFAULT_NA_VALUES,
) -> float | None:
    """Convert a cell to a number: NaN if it is missing, None if it is no number."""
    if isinstance(cell, str):
        return _parse_number(cell.strip(), number_format, na_values)
    if is_missing(cell):
        return np.nan
    if isinstance(cell, timedelta | time):
        return to_seconds(cell)
    if not isinstance(cell, Real | Decimal | np.bool_):
        if isinstance(cell, bytes):
            return to_number(cell.decode(errors="replace"), number_format, na_values)
        return year_of_period(cell)
    try:
        return float(cell)
    except OverflowError:  # an integer beyond 1e308
        return np.inf if cell > 0 else -np.inf  # type: ignore[operator]  # an int or a fraction


def _parse_number(text: str, number_format: NumberFormat, na_values: NaValues) -> float | None:
    number = None
    if number_format != PLAIN_NUMBERS:
        number = number_format.parse(text)
    elif "_" not in text:
        try:
            return float(text)
        except ValueError:
            number = to_seconds(text)
            number = number_format.parse(text) if number is None else number
    if number is None and text.casefold() in na_values.numbers:
        return np.nan
    return number


def _number_reader(
    number_format: NumberFormat, na_values: NaValues
) -> Callable[[object], float | None]:
    def read(cell: object) -> float | None:
        return to_number(cell, number_format, na_values)

    return read


def _normalized(cell: object, na_values: NaValues) -> str:
    if isinstance(cell, bytes):
        cell = cell.decode(errors="replace")
    text = cell if isinstance(cell, str) else canonical_text(cell, na_values)
    if text.strip() in na_values.texts:
        return ""
    return " ".join(_WORDS.findall(_encodable(text).lower()))


def map_distinct(
    array: NDArray[Any], convert: Callable[[object], _Converted], name: str = ""
) -> list[_Converted]:
    """Apply `convert` to every cell, calling it once for each distinct one."""
    keys = _hashable_keys(array)
    try:
        distinct = dict(zip(keys, array.tolist(), strict=True))
        converted = {key: convert(cell) for key, cell in distinct.items()}
    except TypeError:  # a list, dict or array in a cell has no hash
        raise _container_error(name) from None
    return [converted[key] for key in keys]


def value_counts(array: NDArray[Any], name: str = "") -> list[tuple[object, int]]:
    """Return each distinct cell and how many rows have it, in order of appearance."""
    keys = _hashable_keys(array)
    try:
        distinct = dict(zip(keys, array.tolist(), strict=True))
        return [(distinct[key], count) for key, count in Counter(keys).items()]
    except TypeError:
        raise _container_error(name) from None


def _hashable_keys(array: NDArray[Any]) -> list[object]:
    """Return keys of cells, with their types where True, 1 and 1.0 would be the same key."""
    cells = array.tolist()
    types = list(map(type, cells))
    is_unambiguous = len({*types} - {str}) <= 1
    return cells if is_unambiguous else list(zip(types, cells, strict=True))


def _container_error(name: str) -> InputError:
    return InputError(
        f"{_column_text(name)} must hold one value in each row, got lists or other containers. "
        "Spread them over several columns."
    )


def _convert_all(
    array: NDArray[Any], convert: Callable[[object], _Converted | None], rule: str, name: str
) -> list[_Converted | None]:
    """Apply `convert` to every cell; raise InputError at the first for which it returns None."""
    converted = map_distinct(array, convert, name)
    if None in converted:
        row = converted.index(None)
        raise InputError(
            f"{_column_text(name)} must hold {rule}, got {quoted(array.tolist()[row])} in row "
            f"{row + 1}. Leave the cell empty if the value is unknown."
        )
    return converted


def _as_column(cells: object, name: str) -> NDArray[Any]:
    """Return an (n,) array; a list's cells keep their own types."""
    is_list = isinstance(cells, list | tuple)
    array = np.array(cells, dtype=object) if is_list else np.asarray(cells)
    if array.ndim != 1:
        raise InputError(
            f"{_column_text(name)} must be one column, got an array of shape {array.shape}."
        )
    return array


def _text_array(texts: list[str]) -> NDArray[np.object_]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def _column_text(name: str) -> str:
    return f"column {name!r}" if name else "the column"


def columns_from_card(card: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the columns stated in a model's card; those of older versions have fewer fields."""
    return tuple(Column(**stated) for stated in card["columns"])
