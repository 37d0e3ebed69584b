"""Read text tables (CSV, TSV) without guessing the types of new files.

A parser that guesses the type of a column from one file gives the same row another meaning in
another file. So the parser only converts plain numbers, cell by cell; every other cell is read as
text and converted by the column's own rules.
"""

from __future__ import annotations

import gzip
import lzma
import re
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_string_dtype

from netwright.data.checks import check_has_rows
from netwright.data.column_roles import CODE_PATTERN, merged_numbers_notes
from netwright.data.na_values import DEFAULT_NA_VALUES
from netwright.data.precision import MAX_EXACT_FLOAT64
from netwright.data.text_layout import (
    COMPRESSIONS,
    WHOLE_LINE_SEPARATOR,
    TextLayout,
    check_file_size,
    count_missing_cells,
    count_trailing_blank_lines,
    detect_layout,
    may_hold_leading_zeros,
    open_at_header,
)
from netwright.errors import InputError, plural, quoted

_SAMPLE_ROWS = 10_000
"""Rows that are searched for codes such as 007; if there are any, all rows are."""
_DECIMAL_COMMA = re.compile(r"^(\s*[+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?\s*)$")
_READ_ERRORS = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, OSError)


@dataclass(frozen=True)
class LoadedFrame:
    """A frame and how it was read.

    Args:
        frame: With column names without surrounding blanks.
        notes: On what is unusual in the file.
        decimal_comma: The file separates its cells by semicolons, so that commas are decimal marks.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    decimal_comma: bool = False


def read_text_table(
    path: Path, text_columns: Collection[str] = (), number_columns: Collection[str] | None = None
) -> LoadedFrame:
    """Read a text table.

    Args:
        path: Of the file.
        text_columns: Columns whose cells are read as texts, "" where empty.
        number_columns: Columns of plain numbers; columns that are neither these nor
            `text_columns` are dropped. None: the values decide which columns are numbers.

    Raises:
        InputError: The file is no table or too large; with its name.
    """
    try:
        check_file_size(path)
        layout, notes = detect_layout(path, {*text_columns, *(number_columns or ())})
        if number_columns is not None:  # of new rows, the layout of their file changes nothing
            notes = []
        if number_columns is None and len(layout.names) == 1:
            raise _single_column_error(layout)
        n_missing = count_missing_cells(layout)
        frame, layout = _read_with_encoding(layout, notes, text_columns, number_columns)
    except _READ_ERRORS as error:
        raise _unreadable_error(path, error) from None
    check_has_rows(len(frame), path.name)
    if n_missing:
        are = "is" if n_missing == 1 else "are"
        cells = plural(n_missing, "missing cell")
        notes.append(f"{path.name} has short lines: {cells} {are} read as empty.")
    if number_columns is None:
        notes += _merged_codes_notes(layout, frame)
    return LoadedFrame(frame, tuple(notes), layout.separator == ";")


def _single_column_error(layout: TextLayout) -> InputError:
    return InputError(
        f"{layout.path.name} must have a target and columns to learn from, got one column, "
        f"{quoted(layout.names[0])}. Separate columns by a comma, semicolon, tab or |."
    )


def _read_with_encoding(
    layout: TextLayout,
    notes: list[str],
    text_columns: Collection[str],
    number_columns: Collection[str] | None,
) -> tuple[pd.DataFrame, TextLayout]:
    """Read the frame as UTF-8, else in the encodings of older programs in Western Europe."""
    for encoding in dict.fromkeys((layout.encoding, "cp1252", "latin-1")):
        encoded_layout = replace(layout, encoding=encoding)
        try:
            frame = _read_frame(encoded_layout, text_columns, number_columns)
        except UnicodeDecodeError:
            continue
        if name := {"cp1252": "Windows-1252", "latin-1": "Latin-1"}.get(encoding):
            notes.append(f"{layout.path.name} is not UTF-8; it is read as {name}.")
        return frame, encoded_layout
    raise AssertionError("Latin-1 decodes every byte")


def _read_frame(
    layout: TextLayout, text_columns: Collection[str], number_columns: Collection[str] | None
) -> pd.DataFrame:
    frame = _parse(layout, text_columns, number_columns)
    if number_columns is None:
        return frame
    boolean_columns = [name for name in frame.columns if _has_booleans(frame[name])]
    if boolean_columns:  # the parser converts True to a boolean if the whole column is like that
        others = [name for name in number_columns if name not in boolean_columns]
        frame = _parse(layout, {*text_columns, *boolean_columns}, others)
    if layout.separator == ";":
        frame = _with_decimal_points(frame, number_columns)
    if layout.separator == WHOLE_LINE_SEPARATOR:
        frame = frame.iloc[: len(frame) - count_trailing_blank_lines(layout)]
    return frame


def _has_booleans(column: pd.Series[Any]) -> bool:
    """Return whether the parser made booleans of texts; beside missing cells they are objects."""
    if column.dtype == object:
        return any(isinstance(cell, bool) for cell in column)
    return bool(column.dtype == bool)


def _with_decimal_points(frame: pd.DataFrame, number_columns: Collection[str]) -> pd.DataFrame:
    """Replace decimal commas by points in the columns of numbers.

    No file with semicolons between its cells has commas between the thousands of plain numbers.
    """
    text_columns = [
        name for name in number_columns if name in frame and is_string_dtype(frame[name])
    ]
    replaced = {
        name: frame[name].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True) for name in text_columns
    }
    return frame.assign(**replaced)


def _parse(
    layout: TextLayout,
    text_columns: Collection[str],
    number_columns: Collection[str] | None,
    n_rows: int | None = None,
    only: Collection[str] | None = None,
) -> pd.DataFrame:
    """Parse the columns `only`; without, those of text and numbers if the file has all of them.

    The latter are chosen after reading: if pandas reads some of the columns, it accepts lines with
    too many cells.
    """
    names = layout.names
    inferred_columns = [name for name in names if name not in text_columns]
    try:
        with open_at_header(layout) as source, warnings.catch_warnings():
            # lines longer than the header would be cut with a mere warning
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                source,
                sep=layout.separator,
                encoding=layout.encoding,
                skipinitialspace=True,
                low_memory=False,
                index_col=False,
                header=0,
                names=list(names),
                usecols=only,  # type: ignore[arg-type]  # any collection
                nrows=n_rows,
                keep_default_na=False,
                skip_blank_lines=layout.separator != WHOLE_LINE_SEPARATOR,
                dtype=dict.fromkeys((name for name in names if name in text_columns), str),
                na_values=dict.fromkeys(inferred_columns, sorted(DEFAULT_NA_VALUES.texts)),
            )
    except UnicodeDecodeError:
        raise
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        # EmptyDataError is a ValueError
        raise InputError(
            f"{layout.path.name} must have the same number of columns in every line, got: "
            f"{first_line_of_error(error)}. Correct these lines."
        ) from None
    has_all = number_columns is not None and {*text_columns, *number_columns} <= set(names)
    if only is None and number_columns is not None and has_all:
        return frame[[name for name in names if name in text_columns or name in number_columns]]
    return frame


def _merged_codes_notes(layout: TextLayout, frame: pd.DataFrame) -> list[str]:
    """Return a note on each column of numbers in which several texts are one number: 7 and 007."""
    number_columns = [name for name in frame.columns if frame[name].dtype.kind in "iuf"]
    if not number_columns:
        return []
    if not (may_hold_leading_zeros(layout) or _has_inexact_numbers(frame[number_columns])):
        return []
    sample = _parse(layout, number_columns, [], _SAMPLE_ROWS, number_columns)
    code_columns = [
        name
        for name in number_columns
        if any(map(CODE_PATTERN.fullmatch, _distinct_texts(sample[name])))
        or (frame[name].dtype.kind == "f" and (frame[name].abs() >= MAX_EXACT_FLOAT64).any())
    ]
    if not code_columns:
        return []
    if len(frame) <= _SAMPLE_ROWS:
        all_rows = sample
    else:
        all_rows = _parse(layout, code_columns, [], None, code_columns)
    return [
        note
        for name in code_columns
        for note in merged_numbers_notes(name, _distinct_texts(all_rows[name]))
    ]


def _distinct_texts(column: pd.Series[Any]) -> set[str]:
    return set(column.astype(str).str.strip().tolist())


def _has_inexact_numbers(numbers: pd.DataFrame) -> bool:
    """Return whether several texts may be the same number in double precision."""
    return bool((numbers.select_dtypes("float").abs() >= MAX_EXACT_FLOAT64).to_numpy().any())


def first_line_of_error(error: Exception) -> str:
    """Return the first line of another library's message."""
    lines = str(error).strip().splitlines()
    line = next(iter(lines), type(error).__name__)
    return line.removeprefix("Error tokenizing data. ").rstrip(".")


def _unreadable_error(path: Path, error: Exception) -> InputError:
    if path.suffix.lower() in COMPRESSIONS:
        got = f"a broken or truncated one ({first_line_of_error(error)})"
        return InputError(f"{path} must be a complete compressed file, got {got}. Copy it again.")
    why = getattr(error, "strerror", None) or first_line_of_error(error)
    return InputError(f"{path} must be a file that can be read, got: {why}. Check its permissions.")
