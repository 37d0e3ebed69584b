"""Tables: CSV, TSV, parquet, frames, mappings and arrays -> typed columns."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netwright._optional import require
from netwright.data.checks import existing, has_rows, listed, unique
from netwright.data.columns import (
    CONVERT,
    MISSING_WORDS,
    ColumnKind,
    as_category,
    as_date,
    canonical,
    comes_first,
    converted,
    each,
    moment,
    number,
)
from netwright.data.roles import oddities, role_of
from netwright.data.task import Column, Table
from netwright.errors import InputError, Phrase, closest, expected

TEXT_FILES = {".csv": ",", ".tsv": "\t", ".txt": ",", ".data": ","}
"""Endings of text tables, and the separator tried first."""
_SEPARATORS = (",", ";", "\t", "|")
_NEARLY = 0.95
_HEAD, _LINES = 1 << 16, 6
"""So many bytes, and lines of these, tell the separator."""
_ALMOST = (
    (
        re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{2,4}( .*)?"),
        "{0!r} does not say whether the day or the month comes first. Write 2024-03-01.",
    ),
    (re.compile(r"[+-]?\d+(,\d+)+(\.\d+)?"), "{0!r} has a comma. Write numbers as 1234.5."),
)
"""What people may take for dates or numbers, and why it is neither here."""
_DECIMAL_COMMA = r"[+-]?\d+(?:,\d+)?"


def read_file(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A file as a frame, and notes. InputError when it is missing or no table."""
    existing(path)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        require("pyarrow", "parquet", "reading parquet")
        try:
            return pd.read_parquet(path, engine="pyarrow"), ()
        except Exception as error:  # pyarrow's exceptions share no useful base class
            raise InputError(f"{path} must be a parquet file, got: {_short(error)}.") from None
    if suffix not in TEXT_FILES:
        endings = listed([*TEXT_FILES, ".parquet", ".npz"])
        fix = f"Save it as one of {endings}, or pass a DataFrame."
        raise InputError(expected("data", "a file of a known kind", path.name, fix))
    return _read_text(path, TEXT_FILES[suffix])


def read_frame(data: Any) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A path, frame, mapping of columns or (n, columns) array as a frame with text names."""
    notes: tuple[str, ...] = ()
    if isinstance(data, str | Path):
        frame, notes = read_file(Path(data))
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, Mapping):
        frame = _from_mapping(data)
    elif hasattr(data, "to_pandas"):  # polars, pyarrow
        frame = pd.DataFrame(data.to_pandas())
    else:
        array = np.asarray(data)
        if array.ndim != 2:
            fix = "Use a DataFrame, or an array (rows, columns)."
            got = f"{type(data).__name__} of shape {array.shape}"
            raise InputError(expected("data", "a table", Phrase(got), fix))
        frame = pd.DataFrame(array)
    if isinstance(frame.columns, pd.MultiIndex):
        raise InputError("columns of the table must have one level of names, got several.")
    names = [str(name).strip() for name in frame.columns]
    if "" in names:
        place = names.index("") + 1
        raise InputError(
            f"column {place} of the table must have a name, got an empty one. Name it."
        )
    unique(names, "the table")
    return frame.set_axis(names, axis=1), notes


def infer_table(frame: pd.DataFrame) -> tuple[Table, tuple[str, ...]]:
    """Columns with the kinds that their values show, and notes. InputError without a usable one.

    A kind declared by the frame counts (categorical, bool, datetime, numbers). Texts are numeric
    or dates when all of them are, missing markers aside; boolean when all are true or false; text
    or left out when `roles` says so; else categories. A column without any value is left out. Dates
    with the day or the month first (31/12/2024) are such where the column settles which.
    """
    has_rows(len(frame), "the table")
    columns, arrays = [], {}
    empty: list[str] = []
    naming: list[str] = []
    notes: list[str] = []
    for name in frame.columns:
        if _counts_rows(name, frame[name]):
            notes.append(f"Column {name!r} only numbers the rows and is left out.")
            continue
        values = _plain(frame[name])
        if first := comes_first(values) if values.dtype == object else "":
            arrays[name] = as_date(values, name, first)
            columns.append(Column(name, "date", first))
            notes.append(f"Column {name!r} holds dates, the {first} first.")
            continue
        kind, note = _purpose(values, name, isinstance(frame[name].dtype, pd.CategoricalDtype))
        if kind is None or kind == "name":
            (empty if kind is None else naming).append(name)
            continue
        array = CONVERT[kind](values, name)
        if kind == "numeric" and not np.isfinite(array).any():
            empty.append(name)
            continue
        arrays[name] = array
        columns.append(Column(name, kind))
        notes += [note] if note else oddities(name, kind, arrays[name], values)
    if not columns:
        got = f"only empty ones ({listed(empty)})" if empty else "none besides the target"
        got = f"only ones that name the row ({listed([*naming, *empty])})" if naming else got
        raise InputError(f"the table must have a column to learn from, got {got}.")
    notes += _left_out(naming, empty)
    return Table(tuple(columns), arrays, len(frame.columns)), tuple(notes)


def _left_out(naming: Sequence[str], empty: Sequence[str]) -> list[str]:
    """A sentence for each column that names the rows, and one for those without values."""
    notes = [
        f"Column {name!r} differs in every row and is left out: it names the row."
        for name in naming
    ]
    if empty:
        one = len(empty) == 1
        have = "Column {} has" if one else "Columns {} have"
        notes.append(
            f"{have.format(listed(empty))} no values and {'is' if one else 'are'} left out."
        )
    return notes


def _purpose(
    values: NDArray[Any], name: str, declared_category: bool
) -> tuple[ColumnKind | Literal["name"] | None, str]:
    """As `infer_kind`; "name" where the column only names the row."""
    kind, note = infer_kind(values, name, declared_category)
    if kind != "category" or note:
        return kind, note
    return role_of(as_category(values, name), declared_category), ""


def read_table(frame: pd.DataFrame, columns: Sequence[Column]) -> Table:
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
    arrays = {c.name: converted(c.kind, _plain(frame[c.name]), c.name, c.first) for c in columns}
    return Table(tuple(columns), arrays)


def infer_kind(
    values: NDArray[Any], name: str, declared_category: bool = False
) -> tuple[ColumnKind | None, str]:
    """The kind of a column, None when every value is missing; and a note on a near miss."""
    kind = values.dtype.kind
    if declared_category:
        found = _infer_objects(values, name)[0]  # files store repeated texts as categories, too
        return (found if found in (None, "date", "boolean") else "category"), ""
    if kind in "iu":
        return "numeric", ""
    if kind == "b":
        return "boolean", ""
    if kind == "f":
        return (None if np.isnan(values).all() else "numeric"), ""
    if kind in "Mm":
        return (None if np.isnat(values).all() else "date" if kind == "M" else "numeric"), ""
    if kind == "c":
        raise InputError(f"column {name!r} must hold real numbers, got complex ones.")
    return _infer_objects(values, name)


def _infer_objects(values: NDArray[Any], name: str) -> tuple[ColumnKind | None, str]:
    """By the distinct values: each is missing, true or false, a number, a date, or a text."""
    natures = each(values.astype(object), _nature, name)
    count = {nature: natures.count(nature) for nature in set(natures)}
    present = len(natures) - count.pop("missing", 0)
    words = count.pop("word", 0)  # missing among numbers, a text among texts
    if not present - words:
        return (None if not words else "category"), ""
    if set(count) == {"boolean"} and not words:
        return "boolean", ""
    for nature, kind in (("number", "numeric"), ("date", "date")):
        if set(count) == {nature} and (nature == "number" or not words):
            return kind, ""  # type: ignore[return-value]  # the pairs above
        if count.get(nature, 0) >= _NEARLY * present:
            stray = next(
                v for v, n in zip(values, natures, strict=True) if n not in (nature, "missing")
            )
            return "category", (
                f"Column {name!r} is taken as a category: {stray!r} is no {nature}, though "
                f"{count[nature]:,} of {present:,} values are. Empty such cells to change that."
            )
    texts = [v for v, n in zip(values, natures, strict=True) if n == "text"]
    for pattern, why in _ALMOST:
        fitting = sum(bool(pattern.fullmatch(str(text).strip())) for text in texts)
        if fitting and fitting >= _NEARLY * present:
            return "category", f"Column {name!r} is taken as a category: {why.format(texts[0])}"
    return "category", ""


def _nature(value: Any) -> str:
    if canonical(value) == "":
        return "missing"
    if isinstance(value, bool | np.bool_) or canonical(value) in ("true", "false"):
        return "boolean"
    found = number(value)
    if found is not None:
        return "word" if isinstance(value, str) and np.isnan(found) else "number"
    return "text" if moment(value) is None else "date"


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


def _read_text(path: Path, separator: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    encoding, head = _head(path)
    separator, names = _header(head, separator, path)
    notes = []
    if separator != TEXT_FILES[path.suffix.lower()]:
        notes.append(f"{path.name} is separated by {separator!r}.")
    try:
        frame = _parse(path, separator, encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        frame = _parse(path, separator, encoding)
        notes.append(f"{path.name} is not UTF-8; it is read as Latin-1.")
    if separator != "," and any(_decimal_comma(frame[name]) for name in frame.columns):
        frame = _parse(path, separator, encoding, decimal=",")
        notes.append(f"Numbers in {path.name} are read with a decimal comma.")
    if len(names) == 1:
        raise InputError(
            f"{path.name} must have a target and columns to learn from, got one column, "
            f"{names[0][:60]!r}. Separate columns by a comma, semicolon, tab or |."
        )
    has_rows(len(frame), path.name)
    return frame, tuple(notes)


def _head(path: Path) -> tuple[str, list[str]]:
    """Encoding, and the first lines that have something in them."""
    try:
        with path.open("rb") as file:
            raw = file.read(_HEAD)
    except OSError as error:
        raise InputError(
            f"{path} must be a file that can be read, got: {error.strerror}."
        ) from None
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if b"\0" in raw and encoding != "utf-16":
        raise InputError(f"{path} must be a table as text, got a binary file. Export it as CSV.")
    lines = raw.decode(encoding, errors="replace").splitlines()
    if len(raw) == _HEAD:
        lines = lines[:-1] or lines  # the last may be cut
    lines = [line for line in lines if line.strip()][:_LINES]
    if not lines:
        raise InputError(f"{path} must have a header line and rows, got an empty file.")
    return encoding, lines


def _header(lines: Sequence[str], separator: str, path: Path) -> tuple[str, list[str]]:
    """The separator and the names.

    It is the usual one unless another one alone splits all lines alike, or it is absent.
    """
    split = {
        mark: list(csv.reader(lines, delimiter=mark, skipinitialspace=True)) for mark in _SEPARATORS
    }
    names = {mark: rows[0] for mark, rows in split.items()}
    alike = [mark for mark, rows in split.items() if len({len(one) for one in rows}) == 1]
    able = [mark for mark in alike if len(names[mark]) > 1]
    if separator not in able and (able or len(names[separator]) == 1):
        separator = max(able or _SEPARATORS, key=lambda mark: len(names[mark]))
    found = [name.strip() for name in names[separator]]
    unique([name for name in found if name], path.name)
    return separator, found


def _decimal_comma(column: pd.Series[Any]) -> bool:
    """Whether all values are numbers once their comma is a point."""
    texts = column.dropna()
    return (
        not pd.api.types.is_numeric_dtype(column)
        and len(texts) > 0
        and bool(texts.astype(str).str.fullmatch(_DECIMAL_COMMA).all())
    )


def _parse(path: Path, separator: str, encoding: str, decimal: str = ".") -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # longer lines than the header's would be cut with a mere warning
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path, sep=separator, encoding=encoding, decimal=decimal, skipinitialspace=True,
                low_memory=False, index_col=False, keep_default_na=False,
                na_values=sorted(MISSING_WORDS),
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{path.name} must have the same number of columns in every line, got: {_short(error)}."
        ) from None


def _short(error: Exception) -> str:
    """The first line of somebody else's message."""
    lines: Iterable[str] = str(error).strip().splitlines()
    return (
        next(iter(lines), type(error).__name__).removeprefix("Error tokenizing data. ").rstrip(".")
    )
