"""What the trials of a finished search predict for rows that they have not learnt from."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from netwright.automl.ensembling.models import halves_of, model_of, with_members
from netwright.automl.ensembling.selection import Member, ProposedEnsemble, mean_known
from netwright.automl.finished_search import FinishedSearch
from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.run_layout import FOLD, HELD_OUT, VALIDATION
from netwright.networks.tabular.batch_ensemble import count_members
from netwright.networks.training.recipe import Training
from netwright.pipelines.weighted_ensemble import WeightedEnsemble, apply_temperature
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.held_out import read_predictions
from netwright.trials.metrics import score
from netwright.trials.trial import Status, Trial

_MIN_ROWS_TO_CHOOSE = 30
"""Rows that a fold has to hold back for members of a network to be chosen by."""


def members_of(
    search: FinishedSearch, without: Collection[int] = ()
) -> tuple[list[Member], list[str]]:
    """The finished trials whose folders still hold their predictions, and sentences on broken ones.

    Of a candidate that was tried on one fold, then on more, the last.

    Args:
        without: ids of trials that take no part.
    """
    assert search.folds is not None
    members: dict[Candidate, Member] = {}
    broken: list[str] = []
    for trial in search.trials:
        folder = search.trial_folder(trial.id)
        if trial.ensemble or trial.id in without or trial.status is not Status.DONE:
            continue
        if not folder.has(HELD_OUT):
            continue
        n_folds, before = int(trial.metrics.get("folds", 1)), members.get(trial.candidate)
        if before is not None and before.folds > n_folds:
            continue
        rows = search.folds.held_out_mask(n_folds)
        try:
            predictions = read_predictions(folder, HELD_OUT, rows, len(search.task.classes))
        except BrokenFile as error:
            broken.append(f"trial {trial.id} takes no part in averages: {error}")
            continue
        members[trial.candidate] = Member(trial, n_folds, predictions, _bytes_in(folder))
    return list(members.values()), broken


def _bytes_in(folder: Folder) -> int:
    """Of the files in the folders of all folds."""
    folds = [folder / name for name in folder.names() if name.startswith(FOLD)]
    return sum(fold.size(name) for fold in folds for name in fold.names())


def predictions_of(search: FinishedSearch, trial: Trial) -> NDArray[np.floating] | None:
    """What the trial predicts for the judging rows, each by models that have not seen it.

    Returns:
        (rows, classes) probabilities or (rows,) values, NaN where there are none; None where they
        are gone.
    """
    if trial.ensemble is not None:
        return _of_ensemble(search, trial.ensemble)
    folder, folds = search.trial_folder(trial.id), search.folds
    every = np.ones(len(search.task.validation), np.bool_)
    seen = folds.held_out_mask(int(trial.metrics.get("folds", 1))) if folds else every
    for name in (HELD_OUT, VALIDATION):
        if folder.has(name):
            with suppress(BrokenFile):  # as if it were gone
                return read_predictions(folder, name, seen, len(search.task.classes))
    return None


def _of_ensemble(search: FinishedSearch, ensemble: EnsembleSpec) -> NDArray[np.floating] | None:
    if ensemble.n_members:
        return _of_few_members(search, search.by_id[ensemble.trials[0]], ensemble.n_members)
    predictions = [predictions_of(search, search.by_id[number]) for number in ensemble.trials]
    known = [one for one in predictions if one is not None]
    if len(known) < len(predictions):
        return None
    mean = mean_known(known, [weight for _, weight in ensemble.weights])
    return (
        mean if mean.ndim == 1 else apply_temperature(mean.astype(np.float32), ensemble.temperature)
    )


def n_members_of(search: FinishedSearch, trial: Trial) -> int:
    """How many members the trial's network is of.

    0 where it is none of members, where it was not fitted on all folds, or where these hold too few
    rows back to choose some by.
    """
    model, folds = search.pipeline(trial.id).model, search.folds
    if folds is None or not isinstance(model, Training):
        return 0
    whole = trial.metrics["folds"] == len(folds.fold_tasks)
    halves = [half for one in folds.fold_tasks for half in halves_of(search.task, one.validation)]
    if not whole or min(map(len, halves)) < _MIN_ROWS_TO_CHOOSE // 2:
        return 0
    return count_members(model.network)


def few_members_spec(trial: int, n_members: int) -> EnsembleSpec:
    """The model of the trial's first fold with `n_members` of its members."""
    return EnsembleSpec.of({trial: 1.0}, first_fold=True, n_members=n_members)


def few_members(search: FinishedSearch, trial: Trial, n_members: int) -> ProposedEnsemble:
    """The same with its metrics.

    These are of all rows: in each fold members are chosen on one half of the held-out rows for the
    other. The model has those of the first half.
    """
    assert search.folds is not None
    task, rows = search.task, search.folds.rows
    predictions = _of_few_members(search, trial, n_members)
    metrics = score(task.kind, task.target[rows], predictions, weights=task.weights_of(rows))
    metrics["folds"] = float(search.n_folds)
    return ProposedEnsemble(few_members_spec(trial.id, n_members), metrics)


def _of_few_members(search: FinishedSearch, trial: Trial, n_members: int) -> NDArray[np.floating]:
    """Predictions for the judging rows, each by members that were chosen without the row."""
    task, folds, whole = search.task, search.folds, model_of(search, trial)
    assert folds is not None
    assert isinstance(whole, WeightedEnsemble)
    shape = (len(folds.rows), *((len(task.classes),) if task.classes else ()))
    found = np.full(shape, np.nan, np.float32 if task.classes else np.float64)
    for part, of in zip(whole.members, folds.fold_tasks, strict=True):
        a, b = halves_of(task, of.validation)
        for here, rows in ((a, b), (b, a)):
            chosen = with_members(search, part, n_members, here)
            found[np.searchsorted(folds.rows, rows)] = chosen.predict(task.features.take(rows))
    return found
