"""Sentences for bad input that more than one reader needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, Phrase, closest, expected, quoted

_SHOWN = 12


def listed(names: Iterable[object]) -> str:
    """``age, income, ... (27 in all)``: names as a sentence takes them."""
    texts = [str(name) for name in names]
    if len(texts) <= _SHOWN:
        return ", ".join(texts)
    return f"{', '.join(texts[: _SHOWN - 1])}, ... ({len(texts)} in all)"


@contextmanager
def naming(data: Any) -> Iterator[None]:
    """Put a file's name before sentences on its content that do not have it; `data`: its path."""
    try:
        yield
    except InputError as error:
        if not isinstance(data, str | Path) or Path(data).name in str(error):
            raise
        raise InputError(f"{Path(data).name}: {error}") from None


def existing(path: Path, known: Iterable[str] = ()) -> Path:
    """The path; InputError with the nearest neighbour when there is nothing at it."""
    try:
        if path.exists():
            return path
    except OSError as error:  # a name that is too long, most likely text of a table
        fix = "Pass a path, or a DataFrame."
        got = Phrase(f"a text of {len(str(path)):,} characters ({error.strerror})")
        raise InputError(expected("data", "the path of a file or folder", got, fix)) from None
    if any(sign in path.name for sign in "*?["):
        code = (
            f"import glob, pandas; pandas.concat(map(pandas.read_csv, sorted(glob.glob('{path}'))))"
            ".to_csv('all.csv', index=False)"
        )
        fix = f'Join the files: python -c "{code}"'
        raise InputError(expected("data", "a single file or folder", str(path), fix))
    if re.match(r"[a-z]+:/", str(path)):
        fix = "Download it first, and give the file."
        raise InputError(expected("data", "a file or folder on this machine", str(path), fix))
    if path.is_symlink():
        got = Phrase(f"{path}, a link that leads to none")
        raise InputError(expected("data", "a file or folder", got, "Give the file itself."))
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    fix = closest(path.name, [*beside, *known]) or "Check its name and folder."
    raise InputError(expected("data", "a file or folder that exists", str(path), fix))


def is_list_of_dicts(data: Any) -> bool:
    """Whether this is a list of dicts, a row each."""
    return (
        isinstance(data, list | tuple)
        and len(data) > 0
        and all(isinstance(row, Mapping) for row in data)
    )


def no_target(columns: Sequence[str]) -> InputError:
    """A table came without a target."""
    return InputError(
        f"target must be one of the columns ({listed(columns)}), got none. "
        f"Say which one is to be predicted; the last one is {columns[-1]!r}.{_headless(columns)}"
    )


def unknown_column(what: str, name: object, columns: Sequence[str]) -> InputError:
    """`what` ("target", "groups") names a column that the table does not have."""
    fix = closest(str(name), columns) or f"Columns: {listed(columns)}."
    return InputError(expected(what, "one of the columns", name, fix + _headless(columns)))


def unique(columns: Sequence[str], where: str) -> None:
    """InputError when two columns have one name."""
    twice = next((name for name, count in Counter(columns).items() if count > 1), None)
    if twice is not None:
        raise InputError(
            f"columns of {where} must have different names (blanks around them do not count), got "
            f"{quoted(twice)} {list(columns).count(twice)} times. Rename or remove one."
        )


def same_length(rows: int, what: str, values: Sized) -> None:
    """InputError when `values` are not one for each row."""
    if len(values) != rows:
        raise InputError(
            f"{what} must have one value for each of the {rows:,} rows, got {len(values):,}. Save or "
            "pass both with the same rows."
        )


def vector(values: Any, what: str) -> NDArray[Any]:
    """(n,) array of what the user gave; one column (n, 1) is taken as a vector."""
    ours = isinstance(values, list | tuple)
    array = np.array(values, dtype=object) if ours else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        fix = "For one column a class, use its number: y.argmax(1)." if array.ndim == 2 else ""
        raise InputError(expected(what, "one value for each row", array.shape, fix))
    return array


def has_rows(rows: int, where: str) -> None:
    """InputError for a table without rows."""
    if not rows:
        raise InputError(f"{where} must have at least one row, got none. Add rows to it.")


def _headless(columns: Sequence[str]) -> str:
    """A hint where two names are numbers with a fraction: the first row, most likely."""
    if sum("." in column and _is_number(column) for column in columns) < 2:
        return ""
    return " The first line must hold the names; here it seems to hold values."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
