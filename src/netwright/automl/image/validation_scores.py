"""Comparison of models by the losses and correct predictions of the same validation rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netwright.automl.image.default_configs import RARE_CLASS_METRICS
from netwright.data.task import Task
from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.run_layout import VALIDATION
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import row_losses

_Z_OF_INTERVAL = 1.96
"""Standard errors on each side of a mean in its 95 % interval."""


class RowScores(NamedTuple):
    """Loss and correctness of the prediction of each validation row.

    Args:
        losses: (rows,) log loss, or squared error.
        correct: (rows,) 1.0 where the most probable class is the true one; None for a regression.
    """

    losses: NDArray[np.float64]
    correct: NDArray[np.float64] | None


class PairedGain(NamedTuple):
    """Gain of a trial over another one on the same rows.

    Args:
        loss: mean decrease of the loss of a row.
        interval: half the width of its 95 % interval.
        loss_z: the decrease in standard errors.
        correct: how many more rows are predicted correctly; 0 for a regression.
        correct_z: the mean increase of correct predictions in standard errors; infinite for a
            regression.
        n_rows: number of rows.
    """

    loss: float
    interval: float
    loss_z: float
    correct: int
    correct_z: float
    n_rows: int


def paired_gain(task: Task, metric: str, folder: Folder, other: Folder) -> PairedGain | None:
    """Return how much better a trial predicts the validation rows than another one.

    Args:
        task: the task.
        metric: the first objective: with one of `RARE_CLASS_METRICS` all classes weigh the same.
        folder: the files of the trial.
        other: the files of the other trial.

    Returns:
        The gain; None if predictions of either are gone or damaged, or there is a single row.
    """
    rows = task.validation
    scores, other_scores = (validation_scores(each, task, rows) for each in (folder, other))
    if scores is None or other_scores is None or len(rows) < 2:
        return None
    weights = row_weights(task, metric)
    gains = weights * (other_scores.losses - scores.losses)
    interval = float(_Z_OF_INTERVAL * gains.std(ddof=1) / math.sqrt(len(rows)))
    mean, loss_z = float(gains.mean()), z_score(gains)
    if scores.correct is None or other_scores.correct is None:
        return PairedGain(mean, interval, loss_z, 0, math.inf, len(rows))
    more = scores.correct - other_scores.correct
    return PairedGain(mean, interval, loss_z, int(more.sum()), z_score(weights * more), len(rows))


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
    correct = (predictions.argmax(1) == truth).astype(np.float64) if task.classes else None
    return RowScores(row_losses(task.kind, predictions, truth), correct)


def row_weights(task: Task, metric: str) -> NDArray[np.float64]:
    """Return (rows,) weights of the validation rows: all 1, or the same total for each class.

    Args:
        task: the task.
        metric: the first objective; see `RARE_CLASS_METRICS`.
    """
    target = task.target[task.validation]
    if metric not in RARE_CLASS_METRICS:
        return np.ones(len(target))
    classes, indices, counts = np.unique(target, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = len(target) / (len(classes) * counts[indices])
    return weights


def z_score(gains: NDArray[np.float64]) -> float:
    """Return how many standard errors the mean of paired gains (rows,) is above 0."""
    standard_error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float(gains.mean() / standard_error) if standard_error > 0 else 0.0
