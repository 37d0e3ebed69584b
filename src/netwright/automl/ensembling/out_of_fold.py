"""Out-of-fold predictions of a search's trials, and of networks pruned to a few members."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import numpy as np

from netwright.automl.ensembling.models import keep_best_members, model_of, split_in_halves
from netwright.automl.ensembling.selection import Member, ProposedEnsemble, mean_of_available
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.image.final_split import held_out_by_final
from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.run_layout import FOLD, HELD_OUT, VALIDATION
from netwright.networks.tabular.batch_ensemble import count_members
from netwright.networks.training.recipe import Training
from netwright.pipelines.weighted_ensemble import WeightedEnsemble, apply_temperature
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import predicted
from netwright.trials.metrics import network_costs, score
from netwright.trials.scores import Predictions
from netwright.trials.trial import FINAL, Status, Trial

_MIN_HELD_OUT_ROWS_TO_PRUNE = 30
"""Held-out rows per fold below which members of a network are not selected: too noisy."""


def ensemble_members(
    search: FinishedSearch, excluded: Collection[int] = ()
) -> tuple[list[Member], list[str]]:
    """Return the trials that may join an ensemble, and sentences about unreadable predictions.

    These are finished trials whose folders still hold their held-out predictions. A candidate that
    was evaluated on several numbers of folds joins with the trial of most folds.

    Args:
        search: a search over folds.
        excluded: ids of trials that may not join.
    """
    assert search.cross_validation is not None
    members: dict[Candidate, Member] = {}
    unreadable: list[str] = []
    for trial in search.trials:
        folder = search.trial_folder(trial.id)
        if trial.ensemble or trial.id in excluded or trial.status is not Status.DONE:
            continue
        if not folder.has(HELD_OUT):
            continue
        n_folds, earlier = int(trial.metrics.get("folds", 1)), members.get(trial.candidate)
        if earlier is not None and earlier.n_folds > n_folds:
            continue
        rows = search.cross_validation.held_out_mask(n_folds)
        try:
            predictions = read_predictions(folder, HELD_OUT, rows, len(search.task.classes))
        except BrokenFile as error:
            unreadable.append(f"trial {trial.id} cannot join an ensemble: {error}")
            continue
        members[trial.candidate] = Member(trial, n_folds, predictions, _model_bytes(folder))
    return list(members.values()), unreadable


def _model_bytes(folder: Folder) -> int:
    """Return the total size of the files in the folders of all folds."""
    folds = [folder / name for name in folder.names() if name.startswith(FOLD)]
    return sum(fold.size(name) for fold in folds for name in fold.names())


def out_of_fold_predictions(search: FinishedSearch, trial: Trial) -> Predictions | None:
    """Return a trial's predictions for the validation rows, by models that were not fitted on them.

    Returns:
        (rows, classes) probabilities or (rows,) values, NaN for rows without a prediction; None if
        the predictions have been deleted.
    """
    if trial.ensemble is not None:
        return _ensemble_predictions(search, trial.ensemble)
    folder, cross_validation = search.trial_folder(trial.id), search.cross_validation
    if trial.proposal.origin == FINAL:
        return _final_predictions(search, folder)
    if cross_validation:
        held_out = cross_validation.held_out_mask(int(trial.metrics.get("folds", 1)))
    else:
        held_out = np.ones(len(search.task.validation), np.bool_)
    for name in (HELD_OUT, VALIDATION):
        if folder.has(name):
            with suppress(BrokenFile):  # handled as if it had been deleted
                return read_predictions(folder, name, held_out, len(search.task.classes))
    return None


def _final_predictions(search: FinishedSearch, folder: Folder) -> Predictions | None:
    """Return the final training's predictions; NaN for validation rows that it was trained on."""
    mask, n_classes = held_out_by_final(search.task), len(search.task.classes)
    with suppress(BrokenFile):
        held_out = read_predictions(folder, VALIDATION, np.ones(mask.sum(), np.bool_), n_classes)
        predictions = np.full((len(mask), *held_out.shape[1:]), np.nan, held_out.dtype)
        predictions[mask] = held_out
        return predictions
    return None


def _ensemble_predictions(search: FinishedSearch, ensemble: EnsembleSpec) -> Predictions | None:
    """Return the weighted mean of the members' predictions; None if any of them is missing."""
    if ensemble.n_members:
        return _pruned_predictions(search, search.by_id[ensemble.trials[0]], ensemble.n_members)
    predictions = [out_of_fold_predictions(search, search.by_id[id_]) for id_ in ensemble.trials]
    available = [prediction for prediction in predictions if prediction is not None]
    if len(available) < len(predictions):
        return None
    mean = mean_of_available(available, [weight for _, weight in ensemble.weights])
    if mean.ndim == 1:
        return mean
    return apply_temperature(mean.astype(np.float32), ensemble.temperature)


def mean_of_finals(search: FinishedSearch, finals: Sequence[Trial]) -> ProposedEnsemble:
    """Return the mean of several final trainings, scored on the rows that they hold out.

    Its metrics are those of the best single one if a member's predictions have been deleted.
    """
    spec = EnsembleSpec.of({trial.id: 1 / len(finals) for trial in finals})
    predictions = _ensemble_predictions(search, spec)
    if predictions is None:
        return ProposedEnsemble(spec, finals[0].metrics)
    task, mask = search.task, predicted(predictions)
    rows = task.validation[mask]
    metrics = score(task.kind, task.target[rows], predictions[mask], weights=task.weights_of(rows))
    summed = {
        name: sum(trial.metrics[name] for trial in finals)
        for name in network_costs(finals[0].metrics)
    }
    return ProposedEnsemble(spec, dict(finals[0].metrics) | dict(metrics) | summed)


def n_prunable_members(search: FinishedSearch, trial: Trial) -> int:
    """Return how many members the trial's network has, if it can be pruned to fewer; else 0.

    It cannot be pruned if it is no network of members, if it was not fitted on all folds, or if the
    folds hold out too few rows to select members on.
    """
    model, cross_validation = search.pipeline(trial.id).model, search.cross_validation
    if cross_validation is None or not isinstance(model, Training):
        return 0
    fold_tasks = cross_validation.fold_tasks
    if trial.metrics["folds"] != len(fold_tasks):
        return 0
    halves = [half for fold in fold_tasks for half in split_in_halves(search.task, fold.validation)]
    if min(map(len, halves)) < _MIN_HELD_OUT_ROWS_TO_PRUNE // 2:
        return 0
    return count_members(model.network)


def pruned_network_spec(trial_id: int, n_members: int) -> EnsembleSpec:
    """Return the spec of the trial's first-fold network, pruned to `n_members` members."""
    return EnsembleSpec.of({trial_id: 1.0}, first_fold=True, n_members=n_members)


def pruned_network(search: FinishedSearch, trial: Trial, n_members: int) -> ProposedEnsemble:
    """Return the pruned first-fold network with its metrics.

    The metrics cover all rows without bias: in each fold, members are selected on one half of the
    held-out rows and scored on the other. The delivered network has the members of the first half.
    """
    assert search.cross_validation is not None
    task, rows = search.task, search.cross_validation.rows
    predictions = _pruned_predictions(search, trial, n_members)
    metrics = score(task.kind, task.target[rows], predictions, weights=task.weights_of(rows))
    metrics["folds"] = float(search.n_folds)
    return ProposedEnsemble(pruned_network_spec(trial.id, n_members), metrics)


def _pruned_predictions(search: FinishedSearch, trial: Trial, n_members: int) -> Predictions:
    """Predict each validation row with members that were selected without it."""
    task, cross_validation = search.task, search.cross_validation
    ensemble = model_of(search, trial)
    assert cross_validation is not None
    assert isinstance(ensemble, WeightedEnsemble)
    shape: tuple[int, ...] = (len(cross_validation.rows),)
    if task.classes:
        shape = (*shape, len(task.classes))
    predictions = np.full(shape, np.nan, np.float32 if task.classes else np.float64)
    for network, fold in zip(ensemble.members, cross_validation.fold_tasks, strict=True):
        first, second = split_in_halves(task, fold.validation)
        for selection_rows, rows in ((first, second), (second, first)):
            pruned = keep_best_members(search, network, n_members, selection_rows)
            index = np.searchsorted(cross_validation.rows, rows)
            predictions[index] = pruned.predict(task.features.take(rows))
    return predictions
