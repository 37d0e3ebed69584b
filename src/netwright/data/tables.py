"""Read tables: files, frames, mappings, lists of dicts and arrays become typed columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netwright._optional import import_optional
from netwright.data.checks import (
    check_exists,
    check_has_rows,
    check_unique_names,
    is_list_of_dicts,
    join_names,
)
from netwright.data.column_inference import ColumnFormat, infer_column_format
from netwright.data.column_roles import column_notes, infer_role, merged_values_notes
from netwright.data.columns import Column, canonical_text, convert_column, to_number
from netwright.data.memory import check_fits_in_memory
from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues, is_missing
from netwright.data.precision import double_precision_note, needs_float64
from netwright.data.task import Table
from netwright.data.text_files import LoadedFrame, read_text_table
from netwright.data.text_layout import COMPRESSIONS, SEPARATORS, text_suffix
from netwright.errors import InputError, Phrase, closest, expected

PARQUET_SUFFIXES = (".parquet", ".pq")
_PANDAS_READERS = {
    ".xlsx": "read_excel", ".xls": "read_excel", ".ods": "read_excel", ".json": "read_json",
    ".jsonl": "read_json", ".ndjson": "read_json", ".feather": "read_feather",
    ".orc": "read_orc", ".dta": "read_stata", ".sas7bdat": "read_sas", ".sav": "read_spss",
    ".h5": "read_hdf", ".hdf5": "read_hdf", ".xml": "read_xml", ".html": "read_html",
}  # fmt: skip
"""Suffix of an unsupported table -> the function of pandas that reads it."""
_CELL_BYTES = 8
"""A number in a frame; a parquet file may store a constant column in a few bytes."""
_MAX_NAMES_SHOWN = 5


def read_table_file(
    path: Path, text_columns: Collection[str] = (), number_columns: Collection[str] | None = None
) -> LoadedFrame:
    """Read a file as a frame.

    Args:
        path: Of the file.
        text_columns: See `text_files.read_text_table`.
        number_columns: See `text_files.read_text_table`.

    Raises:
        InputError: The file is missing or no table.
    """
    check_exists(path)
    suffix = path.suffix.lower()
    if suffix in PARQUET_SUFFIXES:
        return LoadedFrame(_read_parquet(path))
    if path.is_dir():
        raise InputError(expected("data", "a file", Phrase(f"the folder {path}"), "Pass a file."))
    if not text_suffix(path):
        raise _unsupported_file_error(path)
    if not path.is_file():
        got = Phrase(f"{path}, a device or pipe")
        raise InputError(expected("data", "a regular file", got, "Copy its content into a file."))
    return read_text_table(path, text_columns, number_columns)


def _read_parquet(path: Path) -> pd.DataFrame:
    parquet = import_optional("pyarrow.parquet", "parquet", "reading parquet")
    try:
        metadata = parquet.read_metadata(path)
        groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
        check_fits_in_memory(
            max(sum(groups), metadata.num_rows * metadata.num_columns * _CELL_BYTES),
            path.name,
            "Use fewer rows or columns.",
        )
        return pd.read_parquet(path, engine="pyarrow")
    except InputError:
        raise
    except Exception as error:  # pyarrow's exceptions share no useful base class
        why = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "no content"
        raise InputError(f"{path} must be a parquet file, got: {why}. Write it again.") from None


def _unsupported_file_error(path: Path) -> InputError:
    """Build the error for an unsupported file, with a line that converts it if pandas can."""
    suffixes = [*SEPARATORS, *(f".csv{suffix}" for suffix in COMPRESSIONS), ".parquet", ".npz"]
    suffix = path.suffix.lower()
    fix = f"Save it as one of {join_names(suffixes)}, or pass a DataFrame."
    if reader := _PANDAS_READERS.get(suffix):
        lines = ", lines=True" if suffix in (".jsonl", ".ndjson") else ""
        csv = path.with_suffix(".csv").name
        code = f"import pandas; pandas.{reader}('{path.name}'{lines}).to_csv('{csv}', index=False)"
        fix = f'Convert it: python -c "{code}"'
    elif suffix == ".npy":
        code = (
            f"import numpy; numpy.savez('{path.stem}.npz', x=numpy.load('{path.name}'), y=LABELS)"
        )
        fix = f'Convert it: python -c "{code}"'
    return InputError(expected("data", "a file of a supported type", path.name, fix))


def load_frame(
    data: object, text_columns: Collection[str] = (), number_columns: Collection[str] | None = None
) -> LoadedFrame:
    """Load a frame; its column names have no surrounding blanks.

    Args:
        data: A path, frame, Series, mapping of columns, list of dicts, or array (rows, columns).
        text_columns: See `text_files.read_text_table`.
        number_columns: See `text_files.read_text_table`.
    """
    notes: tuple[str, ...] = ()
    decimal_comma = False
    if isinstance(data, str | Path):
        loaded = read_table_file(Path(data), text_columns, number_columns)
        frame, notes, decimal_comma = loaded.frame, loaded.notes, loaded.decimal_comma
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, pd.Series):
        frame = data.to_frame("x" if data.name is None else data.name)
    elif isinstance(data, Mapping):
        frame = _frame_from_mapping(data)
    elif is_list_of_dicts(data):
        frame = pd.DataFrame(list(data))
    elif hasattr(data, "to_pandas"):  # polars, pyarrow
        frame = pd.DataFrame(data.to_pandas())
    else:
        frame = pd.DataFrame(_two_dimensional(data))
    return LoadedFrame(_with_stripped_names(frame), notes, decimal_comma)


def _two_dimensional(values: object) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 2:
        fix = "Use a DataFrame, or an array (rows, columns)."
        got = f"{type(values).__name__} of shape {array.shape}"
        raise InputError(expected("data", "a table", Phrase(got), fix))
    return array


def _with_stripped_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Strip the column names; raise InputError if one is empty or occurs twice."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise InputError(
            "columns of the table must have one level of names, got several. "
            "Join them: frame.columns.map('_'.join)."
        )
    names = [str(name).strip() for name in frame.columns]
    if "" in names:
        position = names.index("") + 1
        raise InputError(
            f"column {position} of the table must have a name, got an empty one. Name it."
        )
    check_unique_names(names, "the table")
    return frame.set_axis(names, axis=1)


def infer_table(
    frame: pd.DataFrame, *, decimal_comma: bool = False
) -> tuple[Table, tuple[str, ...]]:
    """Infer the kinds of a frame's columns and convert them.

    See `column_inference.infer_column_format` for the kinds and `column_roles.infer_role` for the
    roles of categories. Columns that identify the row and columns without a value are dropped.

    Args:
        frame: Of the features.
        decimal_comma: The file separates its cells by semicolons, so that commas are decimal marks.

    Returns:
        The table, and notes.

    Raises:
        InputError: No column is usable.
    """
    check_has_rows(len(frame), "the table")
    dropped = _DroppedColumns()
    columns: list[Column] = []
    arrays: dict[str, NDArray[Any]] = {}
    names_by_reading: dict[str, list[str]] = {}
    notes: list[str] = []
    for name in frame.columns:
        if _is_row_number(name, frame[name]):
            dropped.row_numbers.append(name)
            continue
        cells = _to_numpy(frame[name])
        declared = isinstance(frame[name].dtype, pd.CategoricalDtype)
        inferred = infer_column_format(
            cells, name, declared_category=declared, decimal_comma=decimal_comma
        )
        column = _make_column(name, inferred, cells, dropped, declared=declared)
        if column is None:
            continue
        column, values = _convert_with_dtype(column, cells)
        if column.kind == "numeric" and not np.isfinite(values).any():
            dropped.empty.append(name)
            continue
        columns.append(column)
        arrays[name] = values
        if inferred.read_as:
            names_by_reading.setdefault(inferred.read_as, []).append(name)
        notes += (
            [inferred.note] if inferred.note else column_notes(name, column.kind, values, cells)
        )
        notes += [
            *double_precision_note(column, cells, values),
            *merged_values_notes(column, cells, values),
        ]
    if not columns:
        raise InputError(
            f"the table must have a column to learn from, got {dropped.describe()}. Add one."
        )
    reading_notes = [
        f"{_columns_are(names)} read as {how}." for how, names in names_by_reading.items()
    ]
    table = Table(tuple(columns), arrays, len(frame.columns))
    return table, (*reading_notes, *notes, *dropped.notes())


@dataclass
class _DroppedColumns:
    """Names of the columns that are not used, by reason."""

    row_numbers: list[str] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Describe the columns of a table that has no others."""
        names = [*self.identifiers, *self.row_numbers, *self.empty]
        if self.identifiers or self.row_numbers:
            return f"only ones whose values all differ or are missing ({join_names(names)})"
        return f"only empty ones ({join_names(names)})" if names else "none besides the target"

    def notes(self) -> list[str]:
        """Return a note for each reason."""
        notes = []
        if self.row_numbers:
            notes.append(
                f"{_columns_are(self.row_numbers)} dropped: no name, and a different integer in "
                "each row."
            )
        if self.identifiers:
            notes.append(
                f"{_columns_are(self.identifiers)} dropped: all values differ and are neither "
                "numbers, dates nor sentences, so that none will occur again."
            )
        if self.empty:
            notes.append(f"{_columns_are(self.empty)} dropped: no row has a value.")
        return notes


def _columns_are(names: Sequence[str]) -> str:
    """Begin a note: ``Column 'a' is`` or ``3 columns ('a', 'b', 'c') are``."""
    if len(names) == 1:
        return f"Column {names[0]!r} is"
    shown = ", ".join(repr(name) for name in names[:_MAX_NAMES_SHOWN])
    return f"{len(names):,} columns ({shown}{', ...' if len(names) > _MAX_NAMES_SHOWN else ''}) are"


def _make_column(
    name: str,
    inferred: ColumnFormat,
    cells: NDArray[Any],
    dropped: _DroppedColumns,
    *,
    declared: bool,
) -> Column | None:
    """Return the column; None if it is dropped. `declared`: it is categorical in the frame."""
    kind, number_format = inferred.kind, inferred.number_format
    if kind is None:
        dropped.empty.append(name)
        return None
    as_written = declared and kind == "category" and _canonical_text_merges(cells)
    if kind == "category" and not inferred.note:
        texts = convert_column(Column(name, "category", as_written=as_written), cells)
        role = infer_role(texts, declared_category=declared)
        if role == "identifier":
            dropped.identifiers.append(name)
            return None
        kind = role
    return Column(
        name,
        kind,
        inferred.date_order,
        "float32",
        number_format.unit,
        number_format.decimal,
        number_format.thousands,
        as_written=as_written and kind == "category",
    )


def _convert_with_dtype(column: Column, cells: NDArray[Any]) -> tuple[Column, NDArray[Any]]:
    """Convert the cells, in double precision if single precision would merge some."""
    if column.kind != "numeric":
        return column, convert_column(column, cells)
    double_column = replace(column, dtype="float64")
    values = convert_column(double_column, cells)
    if needs_float64(values):
        return double_column, values
    with np.errstate(over="ignore"):
        return column, values.astype(np.float32)


def _canonical_text_merges(cells: NDArray[Any]) -> bool:
    """Return whether canonical texts would merge a declared category with other spellings.

    7 may also be written 07, and NA is a category here.
    """
    distinct = {cell for cell in cells.tolist() if not is_missing(cell)}
    return all(isinstance(cell, str) for cell in distinct) and any(
        canonical_text(text) != text.strip() or to_number(text) is not None for text in distinct
    )


def convert_frame(
    frame: pd.DataFrame, columns: Sequence[Column], na_values: NaValues = DEFAULT_NA_VALUES
) -> Table:
    """Convert another frame by the columns of a training table; other columns are ignored.

    A frame from an array has no names: with as many columns, they count in their order.

    Raises:
        InputError: A column is missing, or a cell does not fit its column.
    """
    names = list(frame.columns)
    missing = [column.name for column in columns if column.name not in names]
    if missing and len(names) == len(columns) and names == [str(i) for i in range(len(names))]:
        frame = frame.set_axis([column.name for column in columns], axis=1)
        missing = []
    if missing:
        are_missing = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        fix = closest(missing[0], frame.columns)
        message = (
            f"the table must have the training columns, but {missing[0]!r}{are_missing} missing; "
            f"got {join_names(frame.columns)}."
        )
        raise InputError(f"{message} {fix}" if fix else message)
    arrays = {
        column.name: convert_column(column, _to_numpy(frame[column.name]), na_values)
        for column in columns
    }
    return Table(tuple(columns), arrays)


def _to_numpy(series: pd.Series[Any]) -> NDArray[Any]:
    """Return a column as a numpy array; dates with a time zone become UTC."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(series.dtype, pd.SparseDtype):
        return np.asarray(series.array.to_dense())
    return np.asarray(series)


def _frame_from_mapping(mapping: Mapping[Any, Any]) -> pd.DataFrame:
    columns = {str(name): cells for name, cells in mapping.items()}
    lengths = {name: len(cells) for name, cells in columns.items() if np.ndim(cells) > 0}
    if len(lengths) < len(columns):
        scalar = next(name for name in columns if name not in lengths)
        raise InputError(expected(f"column {scalar!r}", "a list of values", columns[scalar]))
    if len(set(lengths.values())) > 1:
        raise InputError(expected("columns", "of one length", lengths))
    return pd.DataFrame(
        {
            name: np.asarray(cells) if isinstance(cells, tuple) else cells
            for name, cells in columns.items()
        }
    )


def _is_row_number(name: str, series: pd.Series[Any]) -> bool:
    """Return whether this is the index that `to_csv` writes: unnamed, a distinct integer per row."""
    is_unnamed = name == "" or name.startswith("Unnamed: ")
    return is_unnamed and series.dtype.kind in "iu" and series.is_unique
