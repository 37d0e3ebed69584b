"""Tables as text (CSV, TSV), their cells as they are written.

A parser that guesses the type of a column from one file gives the same row another meaning in
another file. So only bare numbers are left to it, which it converts cell by cell; every other cell
is read as its text, and converted by the column's own rules.
"""

from __future__ import annotations

import gzip
import lzma
import re
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_string_dtype

from netwright.data.checks import has_rows
from netwright.data.column_roles import CODE, merged_numbers
from netwright.data.na_values import DEFAULT_NA_VALUES
from netwright.data.precision import MAX_EXACT_FLOAT64
from netwright.data.text_layout import (
    COMPRESSIONS,
    WHOLE_LINE,
    Layout,
    blank_lines_at_end,
    from_header,
    layout_of,
    may_hold_codes,
    missing_cells,
    refuse_large,
)
from netwright.errors import InputError, plural, quoted

_SAMPLE_ROWS = 10_000
"""Rows in which codes such as 007 are looked for; where there are any, all rows are looked at."""
_DECIMAL_COMMA = re.compile(r"^(\s*[+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?\s*)$")
_BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, OSError)


@dataclass(frozen=True)
class TextTable:
    """A frame as read. `decimal_comma`: the separator leaves the comma to decimals."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    decimal_comma: bool = False


def read_text(
    path: Path, texts: Collection[str] = (), numbers: Collection[str] | None = None
) -> TextTable:
    """Reads a text table.

    `texts`: columns whose cells are read as they are written, "" where empty. `numbers`: columns
    that hold bare numbers; with it, columns in neither are left out. None: the values decide which
    columns are numbers. Names count without blanks around them.

    Raises InputError, naming the file, where it is no table or too large.
    """
    try:
        refuse_large(path)
        layout, notes = layout_of(path, {*texts, *(numbers or ())})
        if numbers is not None:  # new rows: how their file is written changes nothing
            notes = []
        if numbers is None and len(layout.names) == 1:
            raise _one_column(layout)
        short = missing_cells(layout)
        frame, layout = _with_encoding(layout, notes, texts, numbers)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    has_rows(len(frame), path.name)
    if short:
        are = "is" if short == 1 else "are"
        cells = plural(short, "missing cell")
        notes.append(f"Short lines of {path.name}: {cells} {are} read as empty.")
    if numbers is None:
        notes += _merged_codes(layout, frame)
    return TextTable(frame, tuple(notes), layout.separator == ";")


def _one_column(layout: Layout) -> InputError:
    return InputError(
        f"{layout.path.name} must have a target and columns to learn from, got one column, "
        f"{quoted(layout.names[0])}. Separate columns by a comma, semicolon, tab or |."
    )


def _with_encoding(
    layout: Layout, notes: list[str], texts: Collection[str], numbers: Collection[str] | None
) -> tuple[pd.DataFrame, Layout]:
    """The frame, read as UTF-8, else as what older programs write in Western Europe."""
    for encoding in dict.fromkeys((layout.encoding, "cp1252", "latin-1")):
        tried = Layout(
            layout.path, encoding, layout.separator, layout.names, layout.skipped
        )  # fmt: skip
        try:
            frame = _frame(tried, texts, numbers)
        except UnicodeDecodeError:
            continue
        if named := {"cp1252": "Windows-1252", "latin-1": "Latin-1"}.get(encoding):
            notes.append(f"{layout.path.name} is not UTF-8; it is read as {named}.")
        return frame, tried
    raise AssertionError("Latin-1 decodes every byte")


def _frame(layout: Layout, texts: Collection[str], numbers: Collection[str] | None) -> pd.DataFrame:
    frame = _parse(layout, texts, numbers)
    if numbers is None:
        return frame
    truths = [name for name in frame.columns if _has_truth_values(frame[name])]
    if truths:  # the parser takes True for a truth value where a whole column is so
        others = [name for name in numbers if name not in truths]
        frame = _parse(layout, {*texts, *truths}, others)
    if layout.separator == ";":
        frame = _with_decimal_points(frame, numbers)
    if layout.separator == WHOLE_LINE:
        frame = frame.iloc[: len(frame) - blank_lines_at_end(layout)]
    return frame


def _has_truth_values(column: pd.Series[Any]) -> bool:
    """Whether the parser made truth values of texts; beside missing cells they are objects."""
    if column.dtype == object:
        return any(isinstance(value, bool) for value in column)
    return bool(column.dtype == bool)


def _with_decimal_points(frame: pd.DataFrame, numbers: Collection[str]) -> pd.DataFrame:
    """The frame, in which known numbers may be written with a decimal comma: no file that has
    semicolons between its cells has commas between thousands of bare numbers."""
    written = [name for name in numbers if name in frame and is_string_dtype(frame[name])]
    points = {
        name: frame[name].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True) for name in written
    }
    return frame.assign(**points)


def _parse(
    layout: Layout,
    texts: Collection[str],
    numbers: Collection[str] | None,
    rows: int | None = None,
    only: Collection[str] | None = None,
) -> pd.DataFrame:
    """The frame of the `only` columns, or, where all are known, of the known ones.

    These are chosen after reading: pandas lets longer lines pass where it reads some columns.
    """
    names = layout.names
    guessed = [name for name in names if name not in texts]
    try:
        with from_header(layout) as source, warnings.catch_warnings():
            # longer lines than the header's would be cut with a mere warning
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                source, sep=layout.separator, encoding=layout.encoding, skipinitialspace=True,
                low_memory=False, index_col=False, header=0, names=list(names), usecols=only,  # type: ignore[arg-type]  # any collection
                nrows=rows, keep_default_na=False,
                skip_blank_lines=layout.separator != WHOLE_LINE,
                dtype=dict.fromkeys((name for name in names if name in texts), str),
                na_values=dict.fromkeys(guessed, sorted(DEFAULT_NA_VALUES.texts)),
            )  # fmt: skip
    except UnicodeDecodeError:
        raise
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        # EmptyDataError is a ValueError
        raise InputError(
            f"{layout.path.name} must have the same number of columns in every line, got: "
            f"{first_line(error)}. Correct these lines."
        ) from None
    if only is None and numbers is not None and {*texts, *numbers} <= set(names):
        return frame[[name for name in names if name in texts or name in numbers]]
    return frame


def _merged_codes(layout: Layout, frame: pd.DataFrame) -> list[str]:
    """A sentence on each column of numbers in which several texts are one number: 7 and 007."""
    numbers = [name for name in frame.columns if frame[name].dtype.kind in "iuf"]
    if not numbers or not (may_hold_codes(layout) or _holds_large(frame[numbers])):
        return []
    head = _parse(layout, numbers, [], _SAMPLE_ROWS, numbers)
    coded = [
        name
        for name in numbers
        if any(map(CODE.fullmatch, set(head[name].astype(str).str.strip().tolist())))
        or (frame[name].dtype.kind == "f" and (frame[name].abs() >= MAX_EXACT_FLOAT64).any())
    ]
    if not coded:
        return []
    every = head if len(frame) <= _SAMPLE_ROWS else _parse(layout, coded, [], None, coded)
    texts = {name: set(every[name].astype(str).str.strip().tolist()) for name in coded}
    return [note for name in coded for note in merged_numbers(name, texts[name])]


def _holds_large(numbers: pd.DataFrame) -> bool:
    """Whether there are numbers of which several texts may be one in double precision."""
    return bool((numbers.select_dtypes("float").abs() >= MAX_EXACT_FLOAT64).to_numpy().any())


def first_line(error: Exception) -> str:
    """The first line of somebody else's message."""
    lines = str(error).strip().splitlines()
    line = next(iter(lines), type(error).__name__)
    return line.removeprefix("Error tokenizing data. ").rstrip(".")


def _unreadable(path: Path, error: Exception) -> InputError:
    if path.suffix.lower() in COMPRESSIONS:
        got = f"a broken or cut one ({first_line(error)})"
        return InputError(f"{path} must be a whole compressed file, got {got}. Copy it again.")
    why = getattr(error, "strerror", None) or first_line(error)
    return InputError(f"{path} must be a file that can be read, got: {why}. Check its permissions.")
