"""The model of a trial of a finished search: what it has fitted, or the ensemble that it records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.automl.finished_search import FinishedSearch
from netwright.data.task import Task
from netwright.errors import BrokenFile, RunError
from netwright.pipelines.pipeline import FittedPipeline, prune_members
from netwright.pipelines.weighted_ensemble import (
    WeightedEnsemble,
    flatten_ensembles,
    has_fitted_model,
    load_trial_model,
)
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.losses import loss_of
from netwright.trials.trial import Trial


class BrokenTrial(BrokenFile):
    """A file of `trial` is missing or damaged."""

    def __init__(self, trial: int, reason: str) -> None:
        super().__init__(f"trial {trial} cannot be used: {reason}")
        self.trial = trial


def model_of(search: FinishedSearch, trial: Trial) -> FittedPipeline | WeightedEnsemble:
    """What the trial predicts with: a pipeline, or the mean of several.

    Raises:
        RunError: What it has fitted is gone.
        BrokenTrial: What it has fitted is damaged.
    """
    if trial.ensemble is not None and not trial.ensemble.refit:
        return ensemble_of(search, trial.ensemble)
    folder = search.trial_folder(trial.id)
    if not has_fitted_model(folder):
        raise RunError(
            f"trial {trial.id} has left no weights in {search.folder}: only members of the front "
            f"are kept. Choose one of: {', '.join(str(one.id) for one in search.front)}."
        )
    of = trial.ensemble.trials[0] if trial.ensemble else trial.id  # a refit is of another trial
    try:
        return load_trial_model(search.pipeline(of), folder)
    except BrokenFile as error:
        raise BrokenTrial(trial.id, str(error)) from error


def ensemble_of(search: FinishedSearch, ensemble: EnsembleSpec) -> WeightedEnsemble:
    """The weighted mean of the members' models."""
    pairs = [(weight, model_of(search, search.by_id[n])) for n, weight in ensemble.weights]
    if ensemble.first_fold:
        pairs = [
            (w, one.members[0] if isinstance(one, WeightedEnsemble) else one) for w, one in pairs
        ]
    if ensemble.n_members:  # of one trial's first fold
        part = pairs[0][1]
        assert search.folds is not None
        assert isinstance(part, FittedPipeline)
        rows, _ = halves_of(search.task, search.folds.fold_tasks[0].validation)
        pairs = [(1.0, with_members(search, part, ensemble.n_members, rows))]
    return flatten_ensembles(pairs, ensemble.temperature, ensemble.threshold)


def halves_of(task: Task, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every other row, and the rest; where rows are of groups, those of every other group."""
    place = np.arange(len(rows))
    if task.groups is not None:
        place = np.unique(task.groups[rows], return_inverse=True)[1]
    return rows[place % 2 == 0], rows[place % 2 == 1]


def with_members(
    search: FinishedSearch, part: FittedPipeline, n_members: int, rows: NDArray[np.int64]
) -> FittedPipeline:
    """A network of members with those that together have the least loss on the rows."""
    task = search.task
    loss, weights = loss_of(task.kind, search.metric), task.weights_of(rows)

    def by_rows(p: NDArray[Any]) -> float:
        return loss(p, task.target[rows], weights)

    return prune_members(part, task.features.take(rows), by_rows, n_members)
