"""Infer the kind of a column from its raw cells, and the format in which they are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import ColumnKind, canonical_text, to_number, value_counts
from netwright.data.datetimes import DateOrder, infer_date_order, to_nanoseconds, to_seconds
from netwright.data.number_formats import PLAIN_NUMBERS, NumberFormat, infer_number_format
from netwright.errors import InputError, plural, quoted

CellType = Literal["missing", "word", "boolean", "number", "duration", "date", "text"]
"""Type of a cell. A "word", such as "unknown", is missing among numbers, a text among texts."""

_NEAR_MISS_FRACTION = 0.95
"""Fraction of cells that fit a kind from which on the other cells are reported in a note."""
_NUMERIC_DATE = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{4}( [\d:.,]*)?")
_OTHER_DATE = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{2}(\d{2})?( .*)?")
_NUMBER_WITH_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


@dataclass(frozen=True)
class ColumnFormat:
    """The kind of a column and how its cells are written.

    Args:
        kind: None if every cell is missing.
        date_order: Of dates such as 31/12/2024.
        number_format: Of numbers in texts.
        read_as: How texts are read (``numbers in kg``); "" if nothing needs saying.
        note: Why a column that nearly is of another kind is not.
    """

    kind: ColumnKind | None
    date_order: DateOrder = ""
    number_format: NumberFormat = PLAIN_NUMBERS
    read_as: str = ""
    note: str = ""


def infer_column_format(
    cells: NDArray[Any], name: str, *, declared_category: bool = False, decimal_comma: bool = False
) -> ColumnFormat:
    """Infer the kind of a column.

    A kind declared by the frame counts (categorical, bool, datetime, numbers). Columns of texts
    are numeric, with or without a unit, or dates if all texts are, missing ones aside; boolean if
    all are true or false; else categories.

    Args:
        cells: (n,) raw cells.
        name: Of the column, for notes and errors.
        declared_category: The user's frame declares the column categorical.
        decimal_comma: The file separates its cells by semicolons, so that commas are decimal marks.

    Raises:
        InputError: The column holds complex numbers.
    """
    dtype_kind = cells.dtype.kind
    if declared_category and dtype_kind not in "Mm":
        inferred = _infer_from_objects(cells, name, decimal_comma=False)
        # parquet and others store repeated texts as categories, too
        is_storage_only = inferred.kind in (None, "date", "boolean") and not _merges(
            cells, inferred
        )
        return inferred if is_storage_only else ColumnFormat("category")
    if dtype_kind in "iu":
        return ColumnFormat("numeric")
    if dtype_kind == "b":
        return ColumnFormat("boolean")
    if dtype_kind == "f":
        return ColumnFormat(None if np.isnan(cells).all() else "numeric")
    if dtype_kind in "Mm":
        all_missing = np.isnat(cells).all()
        return ColumnFormat(None if all_missing else "date" if dtype_kind == "M" else "numeric")
    if dtype_kind == "c":
        raise InputError(
            f"column {name!r} must hold real numbers, got complex ones. "
            "Pass their real and imaginary parts as two columns."
        )
    return _infer_from_objects(cells, name, decimal_comma=decimal_comma)


def _merges(cells: NDArray[Any], inferred: ColumnFormat) -> bool:
    """Return whether different texts would become the same date or boolean."""
    texts = {cell.strip() for cell in cells.tolist() if isinstance(cell, str)}
    if inferred.kind == "boolean":
        return len({canonical_text(text) for text in texts}) < len(texts)
    return len({to_nanoseconds(text, inferred.date_order) for text in texts}) < len(texts)


def _infer_from_objects(cells: NDArray[Any], name: str, *, decimal_comma: bool) -> ColumnFormat:
    """Infer the kind from the types of the distinct cells."""
    counts = _count_cells(cells, name)
    cell_types = {count.cell_type for count in counts}
    has_words = "word" in cell_types
    cell_types -= {"missing", "word"}
    if not cell_types:
        return ColumnFormat("category" if has_words else None)
    if cell_types <= {"number", "duration"}:
        read_as = "durations, in seconds" if "duration" in cell_types else ""
        return ColumnFormat("numeric", read_as=read_as, note=_words_note(counts, name))
    if cell_types == {"boolean"} and not has_words:
        return ColumnFormat("boolean")
    if cell_types == {"date"} and not has_words:
        return ColumnFormat("date")
    present = [count.cell for count in counts if count.cell_type not in ("missing", "word")]
    if not has_words and (order := infer_date_order(present)):
        return ColumnFormat("date", date_order=order, read_as=f"dates, the {order} first")
    texts = [cell for cell in present if isinstance(cell, str)]
    if not cell_types & {"boolean", "date"} and len(texts) == len(present):
        number_format = infer_number_format(texts, decimal_comma=decimal_comma)
        if number_format is not None:
            return ColumnFormat(
                "numeric",
                number_format=number_format,
                read_as=describe_number_format(number_format),
                note=_words_note(counts, name),
            )
    return ColumnFormat("category", note=_near_miss_note(counts, name, decimal_comma=decimal_comma))


@dataclass(frozen=True)
class _CellCount:
    """A distinct cell of a column, its type, and how many rows have it."""

    cell: object
    cell_type: CellType
    n_rows: int


def _count_cells(cells: NDArray[Any], name: str) -> list[_CellCount]:
    counts = value_counts(cells.astype(object), name)
    return [_CellCount(cell, _cell_type(cell), n_rows) for cell, n_rows in counts]


def describe_number_format(number_format: NumberFormat) -> str:
    """Describe how numbers are read, such as ``numbers in kg with a decimal comma``."""
    unit = f" in {number_format.unit}" if number_format.unit else ""
    marks = " with a decimal comma" if number_format.decimal == "," else ""
    if number_format.thousands:
        separators = {" ": "blanks", "'": "apostrophes", ",": "commas", ".": "points"}
        separator = separators[number_format.thousands]
        marks += f"{' and' if marks else ' with'} {separator} between thousands"
    return f"numbers{unit}{marks}" if unit or marks else ""


def _words_note(counts: Sequence[_CellCount], name: str) -> str:
    """Return a note on words among numbers, which can only mean that a number is missing."""
    words = [count for count in counts if count.cell_type == "word"]
    if not words:
        return ""
    examples = ", ".join(quoted(count.cell) for count in words[:5])
    n_rows = sum(count.n_rows for count in words)
    return f"Column {name!r}: {examples} among numbers count as missing ({plural(n_rows, 'row')})."


def _near_miss_note(counts: Sequence[_CellCount], name: str, *, decimal_comma: bool) -> str:
    """Explain why a column that looks like numbers or dates is a category; "" if it does not."""
    n_present = sum(count.n_rows for count in counts if count.cell_type not in ("missing", "word"))
    n_words = sum(count.n_rows for count in counts if count.cell_type == "word")
    near_misses: tuple[tuple[CellType, tuple[CellType, ...], int], ...] = (
        ("number", ("number", "duration", "word"), n_present),
        ("date", ("date",), n_present + n_words),
    )
    for cell_type, compatible, n_rows in near_misses:
        n_fitting = sum(count.n_rows for count in counts if count.cell_type == cell_type)
        if n_fitting >= _NEAR_MISS_FRACTION * n_rows:
            stray = next(c.cell for c in counts if c.cell_type not in (*compatible, "missing"))
            why = f"{quoted(stray)} is not a {cell_type}"
            return _taken_as_category_note(name, why, n_fitting, n_rows)
    texts = [count for count in counts if count.cell_type == "text"]
    for pattern, why in _AMBIGUOUS_PATTERNS:
        n_fitting = sum(c.n_rows for c in texts if pattern.fullmatch(str(c.cell).strip()))
        if n_fitting and n_fitting >= _NEAR_MISS_FRACTION * n_present:
            example = quoted(texts[0].cell)
            return f"Column {name!r} is taken as a category: {why.format(example)}"
    return _stray_unit_note(texts, name, n_present, decimal_comma=decimal_comma)


_AMBIGUOUS_PATTERNS = (
    (
        _NUMERIC_DATE,
        "{0} leaves open whether the day or the month comes first. Write 2024-03-01.",
    ),
    (_OTHER_DATE, "{0} is a date in an unsupported format. Write 2024-03-01 14:05."),
    (
        _NUMBER_WITH_COMMA,
        "the comma of {0} may be a decimal mark or separate thousands. Write 1234.5.",
    ),
)
"""Pattern of texts that look like dates or numbers, and why they are neither here."""


def _stray_unit_note(
    texts: Sequence[_CellCount], name: str, n_rows: int, *, decimal_comma: bool
) -> str:
    """Name the text that keeps a column from being numbers in a unit, if nearly all are."""
    rows_by_unit: Counter[str] = Counter()
    unit_of: dict[str, str] = {}
    for count in texts:
        text = str(count.cell)
        number_format = infer_number_format([text], decimal_comma=decimal_comma)
        unit_of[text] = number_format.unit if number_format else ""
        rows_by_unit[unit_of[text]] += count.n_rows
    del rows_by_unit[""]
    if not rows_by_unit:
        return ""
    unit, n_fitting = rows_by_unit.most_common(1)[0]
    if not _NEAR_MISS_FRACTION * n_rows <= n_fitting < n_rows:
        return ""
    stray = next((text for text in unit_of if unit_of[text] != unit), None)
    why = (
        f"{quoted(stray)} is not a number in {unit}" if stray else f"not all are numbers in {unit}"
    )
    return _taken_as_category_note(name, why, n_fitting, n_rows)


def _taken_as_category_note(name: str, why: str, n_fitting: int, n_rows: int) -> str:
    return (
        f"Column {name!r} is taken as a category: {why}, though {n_fitting:,} of {n_rows:,} values "
        "are. Empty such cells to change that."
    )


def _cell_type(cell: object) -> CellType:
    if canonical_text(cell) == "":
        return "missing"
    if isinstance(cell, bool | np.bool_) or canonical_text(cell) in ("true", "false"):
        return "boolean"
    number = to_number(cell)
    if number is not None:
        if isinstance(cell, str) and np.isnan(number):
            return "word"
        return "duration" if to_seconds(cell) is not None else "number"
    return "text" if to_nanoseconds(cell) is None else "date"
