"""Paired comparison of models by the losses of the same validation rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Task
from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.run_layout import VALIDATION
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import row_losses


class RowScores(NamedTuple):
    """How well each validation row was predicted.

    Args:
        losses: (rows,) log loss, or squared error.
        hits: (rows,) 1.0 where the most probable class is the true one; None for a regression.
    """

    losses: NDArray[np.float64]
    hits: NDArray[np.float64] | None


def validation_scores(folder: Folder, task: Task, rows: NDArray[np.int64]) -> RowScores | None:
    """Return the scores of the rows that a trial was validated on.

    Args:
        folder: of the trial's files.
        task: the task.
        rows: (rows,) indices in the task of the rows that the trial predicted, in order.

    Returns:
        The scores of these rows; None if the predictions are gone or damaged.
    """
    has_prediction = np.ones(len(rows), np.bool_)
    try:
        predictions = read_predictions(folder, VALIDATION, has_prediction, len(task.classes))
    except BrokenFile:
        return None
    truth = task.target[rows]
    hits = (predictions.argmax(1) == truth).astype(np.float64) if task.classes else None
    return RowScores(row_losses(task.kind, predictions, truth), hits)


def z_score(gains: NDArray[np.float64]) -> float:
    """Return how many standard errors the mean of paired gains (rows,) is above 0."""
    standard_error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float(gains.mean() / standard_error) if standard_error > 0 else 0.0
