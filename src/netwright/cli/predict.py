"""`netwright predict`: rows in, labels and probabilities out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.cli.screen import ERR, say
from netwright.data.drift import drifted
from netwright.data.prediction import read_rows, schema_from
from netwright.data.task import Table
from netwright.deploy.model import load
from netwright.errors import InputError, plural

if TYPE_CHECKING:
    import pandas as pd


def predictions(model: Path, data: str) -> pd.DataFrame:
    """One row each: `prediction`, and for classes their probabilities as ``p(class)``.

    Of image files, `file` comes first.
    """
    import pandas as pd

    from netwright.data.images import ENDINGS, image_files

    loaded = load(model)
    rows, notes = read_rows(data, schema_from(loaded.card))
    if isinstance(rows, Table):
        notes += tuple(drifted(rows, loaded.card.get("seen", {})))
    for note in notes:
        say(note, ERR)
    frame = pd.DataFrame({"prediction": loaded.predict(rows)})
    path = Path(data)
    if "image" in loaded.card and (path.is_dir() or path.suffix.lower() in ENDINGS):
        frame.insert(0, "file", [str(file) for file in image_files(path)])
    if loaded.classes:
        chances = loaded.predict_proba(rows)
        for i, label in enumerate(loaded.classes):
            frame[f"p({label})"] = chances[:, i]
    return frame


def for_spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with ``'`` before texts and headings that begin like a formula.

    A spreadsheet runs what begins with one of `_FORMULA`, whoever wrote it; numbers stay numbers.
    """
    from pandas.api.types import is_numeric_dtype

    texts = {
        str(name): column.map(_without_formula)
        for name, column in frame.items()
        if not is_numeric_dtype(column)
    }
    return frame.assign(**texts).rename(columns=_without_formula)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _without_formula(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def write(frame: pd.DataFrame, out: Path | None) -> None:
    """As CSV to a file, or to stdout."""
    if out is None:
        frame.to_csv(sys.stdout, index=False)
        return
    if not out.parent.is_dir():
        raise InputError(f"--out must be in a folder that exists, got {out}.")
    frame.to_csv(out, index=False)
    say(f"{plural(len(frame), 'row')} -> {out}", ERR)
