"""Read the held-out predictions that trials keep, from folders that may not be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.arrays import read_array
from netwright.files.folder import Folder

_MAX_HEADER_BYTES = 10_100
"""The largest header of a ``.npy`` file that is read."""
_MAX_ITEM_BYTES = 8
"""float64 is the widest dtype that is accepted."""
_SUM_TOLERANCE = 1e-2
"""Tolerance of the sum of a row's probabilities; means in float32 are off by 1e-6."""


def read_predictions(
    folder: Folder, name: str, has_prediction: NDArray[np.bool_], classes: int
) -> NDArray[np.floating]:
    """Return the predictions kept for each row, NaN where there is none.

    Args:
        folder: Of a trial, or of one of its folds.
        name: Of the ``.npy`` file.
        has_prediction: (rows,) whether a prediction is expected.
        classes: How many probabilities a row has; 0: values of a regression.

    Returns:
        (rows, classes) or (rows,).

    Raises:
        BrokenFile: The file is missing, damaged, or has predictions of something else.
    """
    rows = len(has_prediction)
    shape = (rows, classes) if classes else (rows,)
    what = str(folder.path / name)
    predictions = read_array(
        folder, name, _MAX_HEADER_BYTES + _MAX_ITEM_BYTES * rows * max(1, classes)
    )
    if predictions.shape != shape or predictions.dtype.kind != "f":
        rule = f"predictions of shape {shape}"
        raise BrokenFile(expected(what, rule, Phrase(f"{predictions.dtype} {predictions.shape}")))
    finite = np.isfinite(predictions.reshape(rows, -1))
    if not (finite.all(1) == has_prediction).all() or np.isinf(predictions).any():
        raise BrokenFile(expected(what, "numbers for the rows that it knows", Phrase("others")))
    if classes and not _are_probabilities(predictions[has_prediction]):
        raise BrokenFile(expected(what, "probabilities that sum to 1", Phrase("others")))
    return predictions


def _are_probabilities(p: NDArray[np.floating]) -> bool:
    inside = (p >= 0).all() and (p <= 1 + _SUM_TOLERANCE).all()
    return bool(inside and (np.abs(p.sum(1, dtype=np.float64) - 1) < _SUM_TOLERANCE).all())
