"""Which kind of column raw values are, and in which format they are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import ColumnKind, canonical, number, value_counts
from netwright.data.datetimes import DateOrder, comes_first, moment, seconds_of
from netwright.data.number_formats import BARE, NumberFormat, infer_number_format
from netwright.errors import InputError, plural, quoted

Nature = Literal["missing", "word", "boolean", "number", "duration", "date", "text"]

_NEARLY = 0.95
"""Share of the values from which a column is nearly of a kind, and the others are worth a note."""
_NUMBERED_DATE = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{4}( [\d:.,]*)?")
_OTHER_DATE = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{2}(\d{2})?( .*)?")
_WITH_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


@dataclass(frozen=True)
class ColumnFormat:
    """The kind of a column and how it is written; `kind` is None where every value is missing.

    `reading` says how texts are read (``numbers in kg``), "" where there is nothing to say; `note`
    is a sentence on a near miss.
    """

    kind: ColumnKind | None
    first: DateOrder = ""
    numbers: NumberFormat = BARE
    reading: str = ""
    note: str = ""


def infer_format(
    values: NDArray[Any], name: str, declared_category: bool = False, decimal_comma: bool = False
) -> ColumnFormat:
    """The kind that values show.

    A kind declared by the frame counts (categorical, bool, datetime, numbers). Texts are numeric,
    with or without a unit, or dates when all of them are, missing marks aside; boolean when all are
    true or false; else categories. `decimal_comma`: the table's separator leaves the comma to
    decimals. Raises InputError for complex numbers.
    """
    kind = values.dtype.kind
    if declared_category and kind not in "Mm":
        shown = _infer_objects(values, name, decimal_comma=False)
        # files store repeated texts as categories, too
        same = shown.kind in (None, "date", "boolean") and not _merges(values, shown)
        return shown if same else ColumnFormat("category")
    if kind in "iu":
        return ColumnFormat("numeric")
    if kind == "b":
        return ColumnFormat("boolean")
    if kind == "f":
        return ColumnFormat(None if np.isnan(values).all() else "numeric")
    if kind in "Mm":
        missing = np.isnat(values).all()
        return ColumnFormat(None if missing else "date" if kind == "M" else "numeric")
    if kind == "c":
        raise InputError(
            f"column {name!r} must hold real numbers, got complex ones. "
            "Give their real and imaginary parts as columns."
        )
    return _infer_objects(values, name, decimal_comma)


def _merges(values: NDArray[Any], shown: ColumnFormat) -> bool:
    """Whether different texts would be one date or one truth value."""
    texts = {value.strip() for value in values.tolist() if isinstance(value, str)}
    if shown.kind == "boolean":
        return len({canonical(text) for text in texts}) < len(texts)
    return len({moment(text, shown.first) for text in texts}) < len(texts)


def _infer_objects(values: NDArray[Any], name: str, decimal_comma: bool) -> ColumnFormat:
    """By the distinct values: each is missing, true or false, a number, a date, or a text."""
    cells = _cells(values, name)
    natures = {cell.nature for cell in cells}
    words = "word" in natures  # missing among numbers, a text among texts
    natures -= {"missing", "word"}
    if not natures:
        return ColumnFormat("category" if words else None)
    if natures <= {"number", "duration"}:
        durations = "durations, in seconds" * ("duration" in natures)
        return ColumnFormat("numeric", reading=durations, note=_words_note(cells, name))
    if natures == {"boolean"} and not words:
        return ColumnFormat("boolean")
    if natures == {"date"} and not words:
        return ColumnFormat("date")
    present = [cell.value for cell in cells if cell.nature not in ("missing", "word")]
    if not words and (first := comes_first(present)):
        return ColumnFormat("date", first=first, reading=f"dates, the {first} first")
    if not natures & {"boolean", "date"} and all(isinstance(value, str) for value in present):
        written = infer_number_format(present, decimal_comma)
        if written is not None:
            note = _words_note(cells, name)
            return ColumnFormat("numeric", numbers=written, reading=reading(written), note=note)
    return ColumnFormat("category", note=_near_miss(cells, name, decimal_comma))


@dataclass(frozen=True)
class _Cell:
    """A distinct value of a column, what it is, and in how many rows it stands."""

    value: Any
    nature: Nature
    rows: int


def _cells(values: NDArray[Any], name: str) -> list[_Cell]:
    counts = value_counts(values.astype(object), name)
    return [_Cell(value, _nature(value), rows) for value, rows in counts]


def reading(written: NumberFormat) -> str:
    """How numbers are read, in words."""
    unit = f" in {written.unit}" if written.unit else ""
    marks = " with a decimal comma" if written.decimal == "," else ""
    if written.thousands:
        separator = {" ": "blanks", "'": "apostrophes", ",": "commas", ".": "points"}
        marks += f"{' and' if marks else ' with'} {separator[written.thousands]} between thousands"
    return f"numbers{unit}{marks}" if unit or marks else ""


def _words_note(cells: Sequence[_Cell], name: str) -> str:
    """A sentence on words among numbers, which can only mean that there is none."""
    words = [cell for cell in cells if cell.nature == "word"]
    if not words:
        return ""
    some = ", ".join(quoted(cell.value) for cell in words[:5])
    rows = sum(cell.rows for cell in words)
    return f"Column {name!r}: {some} among numbers count as missing ({plural(rows, 'row')})."


def _near_miss(cells: Sequence[_Cell], name: str, decimal_comma: bool) -> str:
    """Why a column that looks like numbers or dates is a category; "" where it does not."""
    rows = sum(cell.rows for cell in cells if cell.nature not in ("missing", "word"))
    words = sum(cell.rows for cell in cells if cell.nature == "word")
    for nature, alike in (("number", ("number", "duration", "word")), ("date", ("date",))):
        fitting = sum(cell.rows for cell in cells if cell.nature == nature)
        present = rows if nature == "number" else rows + words
        if fitting >= _NEARLY * present:
            stray = next(c.value for c in cells if c.nature not in (*alike, "missing"))
            return _taken_as_category(name, f"{quoted(stray)} is no {nature}", fitting, present)
    texts = [cell for cell in cells if cell.nature == "text"]
    for pattern, why in _UNCLEAR:
        fitting = sum(c.rows for c in texts if pattern.fullmatch(str(c.value).strip()))
        if fitting and fitting >= _NEARLY * rows:
            example = quoted(texts[0].value)
            return f"Column {name!r} is taken as a category: {why.format(example)}"
    return _stray_unit(texts, name, rows, decimal_comma)


_UNCLEAR = (
    (
        _NUMBERED_DATE,
        "{0} does not say whether the day or the month comes first. Write 2024-03-01.",
    ),
    (_OTHER_DATE, "{0} is no date in a form that is read. Write 2024-03-01 14:05."),
    (_WITH_COMMA, "the comma of {0} may be a decimal mark or part thousands. Write 1234.5."),
)
"""What people take for dates or numbers, and why it is neither here."""


def _stray_unit(texts: Sequence[_Cell], name: str, rows: int, decimal_comma: bool) -> str:
    """The value that keeps a column from being numbers in a unit, where nearly all are."""
    units: Counter[str] = Counter()
    unit_of: dict[str, str] = {}
    for cell in texts:
        written = infer_number_format([str(cell.value)], decimal_comma)
        unit_of[str(cell.value)] = written.unit if written else ""
        units[unit_of[str(cell.value)]] += cell.rows
    del units[""]
    if not units:
        return ""
    unit, fitting = units.most_common(1)[0]
    if not _NEARLY * rows <= fitting < rows:
        return ""
    stray = next((text for text in unit_of if unit_of[text] != unit), None)
    why = f"{quoted(stray)} is no number in {unit}" if stray else f"not all are numbers in {unit}"
    return _taken_as_category(name, why, fitting, rows)


def _taken_as_category(name: str, why: str, fitting: int, present: int) -> str:
    return (
        f"Column {name!r} is taken as a category: {why}, though {fitting:,} of {present:,} values "
        "are. Empty such cells to change that."
    )


def _nature(value: Any) -> Nature:
    if canonical(value) == "":
        return "missing"
    if isinstance(value, bool | np.bool_) or canonical(value) in ("true", "false"):
        return "boolean"
    as_number = number(value)
    if as_number is not None:
        if isinstance(value, str) and np.isnan(as_number):
            return "word"
        return "duration" if seconds_of(value) is not None else "number"
    return "text" if moment(value) is None else "date"
