"""Refit on all rows: one model in place of one for each fold, as good and faster to predict with.

No rows are held out any more for early stopping, so the model trains for the mean number of rounds
of the fold models, at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Task
from netwright.pipelines.interfaces import Learner
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline, fit

_N_MONITORED_ROWS = 1_000
"""Training rows that stand in for the validation rows which `Learner.fit` asks for."""


@runtime_checkable
class RefittableLearner(Protocol):
    """A learner that can be trained without validation rows, guided by its fold models."""

    def for_refit(self, fold_models: Sequence[Any]) -> Learner:
        """Return a learner that trains for the mean number of rounds of the fold models.

        Args:
            fold_models: the models that this learner fitted on the folds.

        Returns:
            A learner that can be trained without validation rows.
        """
        ...


def with_all_rows(task: Task, rows: NDArray[np.int64]) -> Task:
    """Return the task with `rows` as training rows; its validation rows are some of these."""
    indices = np.linspace(0, len(rows) - 1, min(len(rows), _N_MONITORED_ROWS)).astype(int)
    return replace(task, train=rows, validation=rows[indices], test=None)


def refit(
    pipeline: TablePipeline,
    fold_pipelines: Sequence[FittedPipeline],
    task: Task,
    *,
    seed: int,
    deadline: float = math.inf,
) -> FittedPipeline:
    """Fit a pipeline on all rows.

    Args:
        pipeline: the pipeline, whose model is a `RefittableLearner`.
        fold_pipelines: the pipeline as fitted on each fold.
        task: the task made by `with_all_rows`.
        seed: seed of the fit.
        deadline: seconds of `time.monotonic()` by which to stop with what has been fitted.
    """
    assert isinstance(pipeline.model, RefittableLearner)
    model = pipeline.model.for_refit([fitted.model for fitted in fold_pipelines])
    return fit(
        replace(pipeline, model=model),
        task,
        seed=seed,
        deadline=deadline,
        metric_name="log_loss" if task.classes else "rmse",
    )
