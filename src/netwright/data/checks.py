"""Checks of input that several readers share, and their error messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, Phrase, closest, expected, quoted

_MAX_NAMES_SHOWN = 12


def join_names(names: Iterable[object]) -> str:
    """Join names by commas, long lists shortened: ``age, income, ... (27 in all)``."""
    texts = [str(name) for name in names]
    if len(texts) <= _MAX_NAMES_SHOWN:
        return ", ".join(texts)
    return f"{', '.join(texts[: _MAX_NAMES_SHOWN - 1])}, ... ({len(texts)} in all)"


@contextmanager
def file_name_in_errors(source: object) -> Iterator[None]:
    """Put a file's name before error messages that lack it, if `source` is a path."""
    try:
        yield
    except InputError as error:
        if not isinstance(source, str | Path) or Path(source).name in str(error):
            raise
        raise InputError(f"{Path(source).name}: {error}") from None


def check_exists(path: Path, valid_names: Iterable[str] = ()) -> Path:
    """Return the path.

    Raises:
        InputError: Nothing exists at the path; with the closest file name or one of `valid_names`.
    """
    try:
        if path.exists():
            return path
    except OSError as error:  # a name that is too long, most likely the text of a table
        fix = "Pass a path or a DataFrame."
        got = Phrase(f"a text of {len(str(path)):,} characters ({error.strerror})")
        raise InputError(expected("data", "the path of a file or folder", got, fix)) from None
    if any(wildcard in path.name for wildcard in "*?["):
        code = (
            f"import glob, pandas; pandas.concat(map(pandas.read_csv, sorted(glob.glob('{path}'))))"
            ".to_csv('all.csv', index=False)"
        )
        fix = f'Join the files: python -c "{code}"'
        raise InputError(expected("data", "a single file or folder", str(path), fix))
    if re.match(r"[a-z]+:/", str(path)):
        fix = "Download it first, then pass the file."
        raise InputError(expected("data", "a file or folder on this machine", str(path), fix))
    if path.is_symlink():
        got = Phrase(f"{path}, a broken link")
        raise InputError(expected("data", "a file or folder", got, "Pass the file itself."))
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    fix = closest(path.name, [*siblings, *valid_names]) or "Check its name and folder."
    raise InputError(expected("data", "a file or folder that exists", str(path), fix))


def is_list_of_dicts(rows: object) -> TypeGuard[Sequence[Mapping[str, object]]]:
    """Return whether this is a list of dicts, one for each row."""
    return (
        isinstance(rows, list | tuple)
        and len(rows) > 0
        and all(isinstance(row, Mapping) for row in rows)
    )


def missing_target_error(columns: Sequence[str]) -> InputError:
    """Build the error for a table that was passed without a target."""
    return InputError(
        f"target must be one of the columns ({join_names(columns)}), got none. Name the column to "
        f"predict; the last one is {columns[-1]!r}.{_missing_header_hint(columns)}"
    )


def unknown_column_error(what: str, name: object, columns: Sequence[str]) -> InputError:
    """Build the error for a `what` ("target", "groups") that is none of the table's columns."""
    fix = closest(str(name), columns) or f"Columns: {join_names(columns)}."
    return InputError(
        expected(what, "one of the columns", name, fix + _missing_header_hint(columns))
    )


def check_unique_names(columns: Sequence[str], where: str) -> None:
    """Raise InputError if two columns have the same name."""
    duplicate = next((name for name, count in Counter(columns).items() if count > 1), None)
    if duplicate is not None:
        raise InputError(
            f"columns of {where} must have different names (surrounding blanks do not count), got "
            f"{quoted(duplicate)} {list(columns).count(duplicate)} times. Rename or remove one."
        )


def check_same_length(n_rows: int, what: str, values: Sized) -> None:
    """Raise InputError unless there is one value for each row."""
    if len(values) != n_rows:
        raise InputError(
            f"{what} must have one value for each of the {n_rows:,} rows, got {len(values):,}. Save "
            "or pass both with the same rows."
        )


def as_vector(values: object, what: str) -> NDArray[Any]:
    """Return an (n,) array of the values; a single column (n, 1) is raveled."""
    is_list = isinstance(values, list | tuple)
    array = np.array(values, dtype=object) if is_list else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        fix = "For one-hot labels, use y.argmax(1)." if array.ndim == 2 else ""
        raise InputError(expected(what, "one value for each row", array.shape, fix))
    return array


def check_has_rows(n_rows: int, where: str) -> None:
    """Raise InputError for a table without rows."""
    if not n_rows:
        raise InputError(f"{where} must have at least one row, got none. Add rows to it.")


def _missing_header_hint(columns: Sequence[str]) -> str:
    """Return a hint if two names are decimals: the header is most likely missing."""
    if sum("." in column and _is_number(column) for column in columns) < 2:
        return ""
    return " The first line must hold the column names; here it seems to hold values."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
