"""Paired comparison of models by the losses of the same validation rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Task
from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.run_layout import VALIDATION
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import row_losses


def validation_losses(
    folder: Folder, task: Task, rows: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return the loss of each row that a trial was validated on: log loss, or squared error.

    Args:
        folder: of the trial's files.
        task: the task.
        rows: (rows,) indices in the task of the rows that the trial predicted, in order.

    Returns:
        (rows,) losses; None if the predictions are gone or damaged.
    """
    has_prediction = np.ones(len(rows), np.bool_)
    try:
        predictions = read_predictions(folder, VALIDATION, has_prediction, len(task.classes))
    except BrokenFile:
        return None
    return row_losses(task.kind, predictions, task.target[rows])


def z_score(gains: NDArray[np.float64]) -> float:
    """Return how many standard errors the mean of paired gains (rows,) is above 0."""
    standard_error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float(gains.mean() / standard_error) if standard_error > 0 else 0.0
