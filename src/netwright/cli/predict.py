"""`netwright predict`: predict the rows of a file, as a CSV of labels and probabilities."""

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


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Characters with which a cell begins that a spreadsheet runs as a formula."""


def predictions(model: Path, data: str) -> pd.DataFrame:
    """Predict the rows of a file or folder.

    Args:
        model: an ONNX file or a run folder.
        data: rows or images.

    Returns:
        A row each: `prediction`, and for classes their probabilities as ``p(class)``. For image
        files `file` comes first, with control characters and undecodable bytes escaped.
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
        probabilities = loaded.predict_proba(rows)
        for i, label in enumerate(loaded.classes):
            frame[f"p({label})"] = probabilities[:, i]
    return frame


def for_spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """Put ``'`` before texts and headings that a spreadsheet would run as formulas.

    Numbers stay numbers.
    """
    return _map_texts(frame, _quote_formula)


def for_terminal(frame: pd.DataFrame) -> pd.DataFrame:
    """Escape the control characters of texts and headings."""
    return _map_texts(frame, _escape)


def _quote_formula(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _escape(cell: object) -> object:
    return printable(cell) if isinstance(cell, str) else cell


def _map_texts(frame: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    """Apply `change` to each heading, and to each cell of the columns that are not numeric."""
    from pandas.api.types import is_numeric_dtype

    texts = {
        str(name): column.map(change)
        for name, column in frame.items()
        if not is_numeric_dtype(column)
    }
    return frame.assign(**texts).rename(columns=change)


def write(frame: pd.DataFrame, out: Path | None) -> None:
    """Write the table as CSV to a file, or to stdout; with escapes if that is a terminal."""
    if out is None:
        frame = for_terminal(frame) if sys.stdout.isatty() else frame
        frame.to_csv(sys.stdout, index=False)
        return
    if not out.parent.is_dir():
        raise InputError(f"--out must be in a folder that exists, got {out}.")
    frame.to_csv(out, index=False)
    print_line(f"{plural(len(frame), 'row')} -> {out}", ERR)
