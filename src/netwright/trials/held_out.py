"""Held-out predictions as trials keep them, read back from folders that may come from a stranger."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.arrays import read_array
from netwright.files.folder import Folder

_HEADER_BYTES = 10_100
"""Of a ``.npy`` file, at most."""
_BYTES = 8
"""Of a number, at most."""
_SUM = 1e-2
"""By which the probabilities of a row may miss 1: those of a mean in float32 miss it by 1e-6."""


def read_predictions(
    folder: Folder, name: str, known: NDArray[np.bool_], classes: int
) -> NDArray[np.floating]:
    """Return predictions of rows, NaN where a row has none.

    Args:
        folder: Of a trial, or of one of its folds.
        name: Of the ``.npy`` file.
        known: (rows,), which of them have predictions.
        classes: How many probabilities a row has; 0: values of a regression.

    Returns:
        (rows, classes) or (rows,).

    Raises:
        BrokenFile: The file is missing, damaged, or has predictions of something else.
    """
    rows = len(known)
    shape = (rows, classes) if classes else (rows,)
    what = str(folder.path / name)
    predictions = read_array(folder, name, _HEADER_BYTES + _BYTES * rows * max(1, classes))
    if predictions.shape != shape or predictions.dtype.kind != "f":
        rule = f"predictions of shape {shape}"
        raise BrokenFile(expected(what, rule, Phrase(f"{predictions.dtype} {predictions.shape}")))
    finite = np.isfinite(predictions.reshape(rows, -1))
    if not (finite.all(1) == known).all() or np.isinf(predictions).any():
        raise BrokenFile(expected(what, "numbers for the rows that it knows", Phrase("others")))
    if classes and not _are_probabilities(predictions[known]):
        raise BrokenFile(expected(what, "probabilities that sum to 1", Phrase("others")))
    return predictions


def _are_probabilities(known: NDArray[np.floating]) -> bool:
    inside = (known >= 0).all() and (known <= 1 + _SUM).all()
    return bool(inside and (np.abs(known.sum(1, dtype=np.float64) - 1) < _SUM).all())
