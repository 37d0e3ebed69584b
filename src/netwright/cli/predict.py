"""`netwright predict`: rows in, labels and probabilities out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.cli.terminal import ERR, print_line
from netwright.data.drift import drift_warnings
from netwright.data.na_values import NaValues
from netwright.data.new_rows import read_rows, schema_from_card
from netwright.data.task import Images, Table
from netwright.deploy.model import load
from netwright.errors import InputError, plural, printable

if TYPE_CHECKING:
    import pandas as pd


def predictions(model: Path, data: str) -> pd.DataFrame:
    """One row each: `prediction`, and for classes their probabilities as ``p(class)``.

    Of image files, `file` comes first, with control characters and bytes that are no text as escapes.
    """
    import pandas as pd

    loaded = load(model)
    rows, notes = read_rows(data, schema_from_card(loaded.card), NaValues.from_card(loaded.card))
    if isinstance(rows, Table):
        notes += tuple(drift_warnings(rows, loaded.card.get("seen", {})))
    for note in notes:
        print_line(note, ERR)
    frame = pd.DataFrame({"prediction": loaded.predict(rows)})
    if isinstance(rows, Images) and rows.files:
        frame.insert(0, "file", [printable(name, stays="") for name in rows.files])
    if loaded.classes:
        chances = loaded.predict_proba(rows)
        for i, label in enumerate(loaded.classes):
            frame[f"p({label})"] = chances[:, i]
    return frame


def for_spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with ``'`` before texts and headings that begin like a formula.

    A spreadsheet runs what begins with one of `_FORMULA`, whoever wrote it; numbers stay numbers.
    """
    return _with_texts(frame, _without_formula)


def for_terminal(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the control characters of texts and headings as escapes."""
    return _with_texts(frame, _printable)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _without_formula(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _printable(cell: object) -> object:
    return printable(cell) if isinstance(cell, str) else cell


def _with_texts(frame: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    """The table with `change` applied to each heading and each cell of a column of texts."""
    from pandas.api.types import is_numeric_dtype

    texts = {
        str(name): column.map(change)
        for name, column in frame.items()
        if not is_numeric_dtype(column)
    }
    return frame.assign(**texts).rename(columns=change)


def write(frame: pd.DataFrame, out: Path | None) -> None:
    """As CSV to a file, or to stdout; for a terminal, without what would command it."""
    if out is None:
        frame = for_terminal(frame) if sys.stdout.isatty() else frame
        frame.to_csv(sys.stdout, index=False)
        return
    if not out.parent.is_dir():
        raise InputError(f"--out must be in a folder that exists, got {out}.")
    frame.to_csv(out, index=False)
    print_line(f"{plural(len(frame), 'row')} -> {out}", ERR)
