"""One model of all rows in place of one for each fold: as good as a fold's or better, and as fast.

Nothing is held out any more that could say when to stop: it goes on for as many rounds as theirs,
on average, at most.
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

_WATCHED = 1_000
"""Rows of those learnt from on which a loss is counted, for that is what learners ask for."""


@runtime_checkable
class RefittableLearner(Protocol):
    """A learner that can tell from what it has fitted how long to go on where nothing is held out."""

    def for_refit(self, fitted: Sequence[Any]) -> Learner:
        """The learner that goes on for as long as those have on average."""
        ...


def with_all_rows(task: Task, rows: NDArray[np.int64]) -> Task:
    """The task with all of `rows` to learn from; some of them are watched, for learners ask so."""
    watched = rows[np.linspace(0, len(rows) - 1, min(len(rows), _WATCHED)).astype(int)]
    return replace(task, train=rows, validation=watched, test=None)


def refit(
    pipeline: TablePipeline, folds: Sequence[FittedPipeline], whole: Task, *, seed: int,
    deadline: float = math.inf,
) -> FittedPipeline:  # fmt: skip
    """Fitted on `all_rows`; `folds`: what the pipeline has become on parts of them.

    The pipeline's model is one that `Settles`.
    """
    assert isinstance(pipeline.model, RefittableLearner)
    model = pipeline.model.for_refit([one.model for one in folds])
    return fit(
        replace(pipeline, model=model), whole, seed=seed, deadline=deadline,
        metric_name="log_loss" if whole.classes else "rmse",
    )  # fmt: skip
