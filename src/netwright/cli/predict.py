"""`netwright predict`: rows in, labels and probabilities out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.data.drift import drifted
from netwright.data.missing import MissingMarks
from netwright.data.prediction import read_rows, schema_from
from netwright.data.task import Images, Table
from netwright.deploy.model import load
from netwright.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def predictions(model: Path, data: str) -> pd.DataFrame:
    """One row each: `prediction`, and for classes their probabilities as ``p(class)``.

    Of image files, `file` comes first.
    """
    import pandas as pd

    loaded = load(model)
    rows, notes = read_rows(data, schema_from(loaded.card), MissingMarks.from_card(loaded.card))
    if isinstance(rows, Table):
        notes += tuple(drifted(rows, loaded.card.get("seen", {})))
    for note in notes:
        sys.stderr.write(f"{note}\n")
    frame = pd.DataFrame({"prediction": loaded.predict(rows)})
    if isinstance(rows, Images) and rows.files:
        frame.insert(0, "file", rows.files)
    if loaded.classes:
        chances = loaded.predict_proba(rows)
        for i, label in enumerate(loaded.classes):
            frame[f"p({label})"] = chances[:, i]
    return frame


def write(frame: pd.DataFrame, out: Path | None) -> None:
    """As CSV to a file, or to stdout."""
    if out is None:
        frame.to_csv(sys.stdout, index=False)
        return
    if not out.parent.is_dir():
        raise InputError(f"--out must be in a folder that exists, got {out}.")
    frame.to_csv(out, index=False)
    sys.stderr.write(f"{len(frame):,} rows -> {out}\n")
