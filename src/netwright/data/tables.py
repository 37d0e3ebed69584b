"""Tables: files, frames, mappings, records and arrays -> typed columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netwright._optional import import_optional
from netwright.data.checks import existing, has_rows, is_list_of_dicts, listed, unique
from netwright.data.column_inference import ColumnFormat, infer_format
from netwright.data.column_roles import merged_texts, oddities, role_of
from netwright.data.columns import Column, canonical, convert_column, number
from netwright.data.memory import refuse_if_larger
from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues, is_missing
from netwright.data.precision import double_precision_note, needs_double
from netwright.data.task import Table
from netwright.data.text_files import TextTable, read_text
from netwright.data.text_layout import COMPRESSIONS, SEPARATORS, text_suffix
from netwright.errors import InputError, Phrase, closest, expected

PARQUET = (".parquet", ".pq")
_CONVERTERS = {
    ".xlsx": "read_excel", ".xls": "read_excel", ".ods": "read_excel", ".json": "read_json",
    ".jsonl": "read_json", ".ndjson": "read_json", ".feather": "read_feather",
    ".orc": "read_orc", ".dta": "read_stata", ".sas7bdat": "read_sas", ".sav": "read_spss",
    ".h5": "read_hdf", ".hdf5": "read_hdf", ".xml": "read_xml", ".html": "read_html",
}  # fmt: skip
"""Endings of other tables, and the function of pandas that reads them."""
_CELL_BYTES = 8
"""A number in a frame; a parquet file may hold a column of one value in a few bytes."""
_NAMED_AT_MOST = 5


def read_file(
    path: Path, texts: Collection[str] = (), numbers: Collection[str] | None = None
) -> TextTable:
    """A file as a frame; `texts` and `numbers` as in `text_files.read_text`.

    InputError when it is missing or no table.
    """
    existing(path)
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        return TextTable(_read_parquet(path))
    if path.is_dir():
        raise InputError(expected("data", "a file", Phrase(f"the folder {path}"), "Name a file."))
    if not text_suffix(path):
        raise _unknown_file(path)
    if not path.is_file():
        got = Phrase(f"{path}, a device or pipe")
        raise InputError(
            expected("data", "an ordinary file", got, "Copy what it gives into a file.")
        )
    return read_text(path, texts, numbers)


def _read_parquet(path: Path) -> pd.DataFrame:
    parquet = import_optional("pyarrow.parquet", "parquet", "reading parquet")
    try:
        about = parquet.read_metadata(path)
        groups = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
        refuse_if_larger(
            max(sum(groups), about.num_rows * about.num_columns * _CELL_BYTES),
            path.name,
            "Take fewer rows or columns.",
        )
        return pd.read_parquet(path, engine="pyarrow")
    except InputError:
        raise
    except Exception as error:  # pyarrow's exceptions share no useful base class
        why = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "no content"
        raise InputError(f"{path} must be a parquet file, got: {why}. Write it again.") from None


def _unknown_file(path: Path) -> InputError:
    """A file that is no table we read, with the line that converts it where pandas can."""
    endings = [*SEPARATORS, *(f".csv{ending}" for ending in COMPRESSIONS), ".parquet", ".npz"]
    suffix = path.suffix.lower()
    fix = f"Save it as one of {listed(endings)}, or pass a DataFrame."
    if reader := _CONVERTERS.get(suffix):
        lines = ", lines=True" if suffix in (".jsonl", ".ndjson") else ""
        csv = path.with_suffix(".csv").name
        code = f"import pandas; pandas.{reader}('{path.name}'{lines}).to_csv('{csv}', index=False)"
        fix = f'Convert it: python -c "{code}"'
    elif suffix == ".npy":
        code = (
            f"import numpy; numpy.savez('{path.stem}.npz', x=numpy.load('{path.name}'), y=LABELS)"
        )
        fix = f'Convert it: python -c "{code}"'
    return InputError(expected("data", "a file of a known kind", path.name, fix))


def read_frame(
    data: Any, texts: Collection[str] = (), numbers: Collection[str] | None = None
) -> TextTable:
    """A path, frame, mapping of columns, list of records, column of texts or (n, columns) array.

    The frame has names without blanks around them. `texts` and `numbers` are those of `read_file`.
    """
    notes: tuple[str, ...] = ()
    decimal_comma = False
    if isinstance(data, str | Path):
        table = read_file(Path(data), texts, numbers)
        frame, notes, decimal_comma = table.frame, table.notes, table.decimal_comma
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, pd.Series):
        frame = data.to_frame("x" if data.name is None else data.name)
    elif isinstance(data, Mapping):
        frame = _from_mapping(data)
    elif is_list_of_dicts(data):
        frame = pd.DataFrame(list(data))
    elif hasattr(data, "to_pandas"):  # polars, pyarrow
        frame = pd.DataFrame(data.to_pandas())
    else:
        frame = pd.DataFrame(_two_dimensional(data))
    return TextTable(_with_plain_names(frame), notes, decimal_comma)


def _two_dimensional(data: Any) -> NDArray[Any]:
    array = np.asarray(data)
    if array.ndim != 2:
        fix = "Use a DataFrame, or an array (rows, columns)."
        got = f"{type(data).__name__} of shape {array.shape}"
        raise InputError(expected("data", "a table", Phrase(got), fix))
    return array


def _with_plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Names as texts without blanks around them; InputError where one is empty or stands twice."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise InputError(
            "columns of the table must have one level of names, got several. "
            "Join them: frame.columns.map('_'.join)."
        )
    names = [str(name).strip() for name in frame.columns]
    if "" in names:
        place = names.index("") + 1
        raise InputError(
            f"column {place} of the table must have a name, got an empty one. Name it."
        )
    unique(names, "the table")
    return frame.set_axis(names, axis=1)


def infer_table(
    frame: pd.DataFrame, decimal_comma: bool = False
) -> tuple[Table, tuple[str, ...]]:  # fmt: skip
    """Columns with the kinds that their values show, and notes. InputError without a usable one.

    See `kinds.infer_format` for what values show. Categories are text or left out when `roles` says
    so. A column without any value is left out.
    """
    has_rows(len(frame), "the table")
    left_out = _LeftOut()
    columns: list[Column] = []
    arrays: dict[str, NDArray[Any]] = {}
    readings: dict[str, list[str]] = {}
    notes: list[str] = []
    for name in frame.columns:
        if _counts_rows(name, frame[name]):
            left_out.counting.append(name)
            continue
        values = _plain(frame[name])
        declared = isinstance(frame[name].dtype, pd.CategoricalDtype)
        shown = infer_format(values, name, declared, decimal_comma)
        column = _column(name, shown, values, declared, left_out)
        if column is None:
            continue
        column, array = _converted(column, values)
        if column.kind == "numeric" and not np.isfinite(array).any():
            left_out.empty.append(name)
            continue
        columns.append(column)
        arrays[name] = array
        if shown.reading:
            readings.setdefault(shown.reading, []).append(name)
        notes += [shown.note] if shown.note else oddities(name, column.kind, array, values)
        notes += [
            *double_precision_note(column, values, array),
            *merged_texts(column, values, array),
        ]
    if not columns:
        raise InputError(
            f"the table must have a column to learn from, got {left_out.only()}. Add one."
        )
    reading_notes = [f"{_named(names)} read as {how}." for how, names in readings.items()]
    table = Table(tuple(columns), arrays, len(frame.columns))
    return table, (*reading_notes, *notes, *left_out.notes())


@dataclass
class _LeftOut:
    """Names of columns that are not learnt from, by reason."""

    counting: list[str] = field(default_factory=list)
    naming: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def only(self) -> str:
        """What a table without any other column has."""
        names = [*self.naming, *self.counting, *self.empty]
        if self.naming or self.counting:
            return f"only ones whose values all differ or are missing ({listed(names)})"
        return f"only empty ones ({listed(names)})" if names else "none besides the target"

    def notes(self) -> list[str]:
        """A sentence for each reason."""
        notes = []
        if self.counting:
            notes.append(
                f"{_named(self.counting)} left out: no name, and another whole number in each row."
            )
        if self.naming:
            notes.append(
                f"{_named(self.naming)} left out: all values differ and are neither numbers, dates "
                "nor sentences, so that none is met again."
            )
        if self.empty:
            notes.append(f"{_named(self.empty)} left out: no row has a value.")
        return notes


def _named(names: Sequence[str]) -> str:
    """``Column 'a' is`` or ``3 columns ('a', 'b', 'c') are``."""
    if len(names) == 1:
        return f"Column {names[0]!r} is"
    some = ", ".join(repr(name) for name in names[:_NAMED_AT_MOST])
    return f"{len(names):,} columns ({some}{', ...' if len(names) > _NAMED_AT_MOST else ''}) are"


def _column(
    name: str, shown: ColumnFormat, values: NDArray[Any], declared: bool, left_out: _LeftOut
) -> Column | None:
    """The column, None where it is left out."""
    kind, numbers = shown.kind, shown.numbers
    if kind is None:
        left_out.empty.append(name)
        return None
    texts_declared = declared and kind == "category" and _written_like_others(values)
    if kind == "category" and not shown.note:
        texts = convert_column(Column(name, "category", as_written=texts_declared), values)
        role = role_of(texts, declared)
        if role == "name":
            left_out.naming.append(name)
            return None
        kind = role
    return Column(
        name, kind, shown.first, "float32", numbers.unit, numbers.decimal, numbers.thousands,
        as_written=texts_declared and kind == "category",
    )  # fmt: skip


def _converted(column: Column, values: NDArray[Any]) -> tuple[Column, NDArray[Any]]:
    """The values as the file takes them, in double precision where single would merge some."""
    if column.kind != "numeric":
        return column, convert_column(column, values)
    exact = replace(column, dtype="float64")
    array = convert_column(exact, values)
    if needs_double(array):
        return exact, array
    with np.errstate(over="ignore"):
        return column, array.astype(np.float32)


def _written_like_others(values: NDArray[Any]) -> bool:
    """Whether texts of a declared category would not be told apart from others by their canonical
    form: 7 is written 07, too, and NA is a category here."""
    distinct = {value for value in values.tolist() if not is_missing(value)}
    return all(isinstance(value, str) for value in distinct) and any(
        canonical(value) != value.strip() or number(value) is not None for value in distinct
    )


def read_table(
    frame: pd.DataFrame, columns: Sequence[Column], marks: NaValues = DEFAULT_NA_VALUES
) -> Table:
    """The same columns from another frame; others are ignored, a missing one is an InputError.

    An array has no names: with as many columns, they count in their order.
    """
    names = list(frame.columns)
    absent = [column.name for column in columns if column.name not in names]
    if absent and len(names) == len(columns) and names == [str(i) for i in range(len(names))]:
        frame = frame.set_axis([column.name for column in columns], axis=1)  # came without names
        absent = []
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        fix = closest(absent[0], frame.columns)
        raise InputError(
            f"the table must have the columns learnt from: {absent[0]!r}{more} missing, "
            f"got {listed(frame.columns)}.{' ' * bool(fix)}{fix}"
        )
    arrays = {
        column.name: convert_column(column, _plain(frame[column.name]), marks) for column in columns
    }
    return Table(tuple(columns), arrays)


def _plain(series: pd.Series[Any]) -> NDArray[Any]:
    """A column as numpy holds it; dates with a zone become UTC."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(series.dtype, pd.SparseDtype):
        return np.asarray(series.array.to_dense())
    return np.asarray(series)


def _from_mapping(data: Mapping[Any, Any]) -> pd.DataFrame:
    columns = {str(name): values for name, values in data.items()}
    lengths = {name: len(values) for name, values in columns.items() if np.ndim(values) > 0}
    if len(lengths) < len(columns):
        scalar = next(name for name in columns if name not in lengths)
        raise InputError(expected(f"column {scalar!r}", "a list of values", columns[scalar]))
    if len(set(lengths.values())) > 1:
        raise InputError(expected("columns", "of one length", lengths))
    return pd.DataFrame(
        {name: np.asarray(v) if isinstance(v, tuple) else v for name, v in columns.items()}
    )


def _counts_rows(name: str, series: pd.Series[Any]) -> bool:
    """Whether this is the index that `to_csv` writes: no name, and a whole number for each row."""
    unnamed = name == "" or name.startswith("Unnamed: ")
    return unnamed and series.dtype.kind in "iu" and series.is_unique
