"""Load the model of a trial: its fitted pipeline, or the ensemble that the trial records."""

from __future__ import annotations

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
from netwright.trials.scores import Predictions
from netwright.trials.trial import Trial


class BrokenTrial(BrokenFile):
    """A file of the trial with this id is missing or damaged."""

    def __init__(self, trial_id: int, reason: str) -> None:
        super().__init__(f"trial {trial_id} cannot be used: {reason}")
        self.trial_id = trial_id


def model_of(search: FinishedSearch, trial: Trial) -> FittedPipeline | WeightedEnsemble:
    """Load the model that a trial predicts with: a pipeline, or the weighted mean of several.

    Raises:
        RunError: The fitted model has been deleted.
        BrokenTrial: The fitted model is damaged.
    """
    if trial.ensemble is not None and not trial.ensemble.refit:
        return build_ensemble(search, trial.ensemble)
    folder = search.trial_folder(trial.id)
    if not has_fitted_model(folder):
        available = ", ".join(str(member.id) for member in search.front)
        raise RunError(
            f"trial {trial.id} has no fitted model in {search.folder}: only members of the front "
            f"keep theirs. Choose one of: {available}."
        )
    refitted = trial.ensemble.trials[0] if trial.ensemble else trial.id
    try:
        return load_trial_model(search.pipeline(refitted), folder)
    except BrokenFile as error:
        raise BrokenTrial(trial.id, str(error)) from error


def build_ensemble(search: FinishedSearch, ensemble: EnsembleSpec) -> WeightedEnsemble:
    """Return the weighted mean of the members' models."""
    pairs = [(weight, model_of(search, search.by_id[id_])) for id_, weight in ensemble.weights]
    if ensemble.first_fold:
        pairs = [
            (weight, model.members[0] if isinstance(model, WeightedEnsemble) else model)
            for weight, model in pairs
        ]
    if ensemble.n_members:  # always the first fold's model of a single trial
        network = pairs[0][1]
        assert search.cross_validation is not None
        assert isinstance(network, FittedPipeline)
        first_fold = search.cross_validation.fold_tasks[0]
        rows, _ = split_in_halves(search.task, first_fold.validation)
        pairs = [(1.0, keep_best_members(search, network, ensemble.n_members, rows))]
    return flatten_ensembles(pairs, ensemble.temperature, ensemble.threshold)


def split_in_halves(
    task: Task, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split row indices into every other row, or every other group, and the rest."""
    index = np.arange(len(rows))
    if task.groups is not None:
        index = np.unique(task.groups[rows], return_inverse=True)[1]
    return rows[index % 2 == 0], rows[index % 2 == 1]


def keep_best_members(
    search: FinishedSearch, network: FittedPipeline, n_members: int, rows: NDArray[np.int64]
) -> FittedPipeline:
    """Prune a network of members (TabM) to those with the lowest joint loss on the rows."""
    task = search.task
    metric_loss, weights = loss_of(task.kind, search.metric), task.weights_of(rows)

    def loss(predictions: Predictions) -> float:
        return metric_loss(predictions, task.target[rows], weights)

    return prune_members(network, task.features.take(rows), loss, n_members)
