"""What a trial of a finished search predicts with: what it has fitted, or the average it describes.

An average is a trial of origin `ensemble`: its candidate says the share of each member's trial and
what is done to the mean. It may be light: of each member the model of one fold; and of a network of
members (TabM) a few of these may be kept. Or it is one candidate fitted again, on all rows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.automl.ensembling.checks import MEMBER, TEMPERATURE, THRESHOLD
from netwright.automl.ensembling.selection import Choice, mean_known
from netwright.data.task import Task
from netwright.errors import BrokenFile, RunError
from netwright.evaluators.training.cross_validation import HELD_OUT, CrossValidate
from netwright.networks.tabular.batch_ensemble import members_in
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import (
    FittedPipeline,
    Pipeline,
    as_pipeline,
    pruned,
)
from netwright.pipelines.weighted_ensemble import (
    Blend,
    blended,
    has_weights,
    load_trial,
    tempered,
)
from netwright.space.candidate import Candidate
from netwright.study.study import Study
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import loss_of
from netwright.trials.metrics import METRICS, default_metric, score
from netwright.trials.trial import ENSEMBLE, LIGHT, MEMBERS, REFIT, Status, Trial

_CHOOSABLE = 30
"""Rows that a fold has to hold back for members of a network to be chosen by."""


def candidate_of(choice: Choice) -> Candidate:
    """The average as a candidate, the largest shares first."""
    shares = sorted(choice.shares.items(), key=lambda one: (-one[1], one[0]))
    values: dict[str, Any] = {f"{MEMBER}{number}": share for number, share in shares}
    values |= {TEMPERATURE: choice.temperature, THRESHOLD: choice.threshold}
    values |= {LIGHT: True} if choice.light else {}
    values |= {MEMBERS: choice.members} if choice.members else {}
    values |= {REFIT: True} if choice.refit else {}
    return Candidate(values)


def parents_of(candidate: Candidate) -> tuple[int, ...]:
    """The trials that are averaged, in the candidate's order."""
    return tuple(_shares(candidate))


def threshold_of(trial: Trial) -> float:
    """The probability of the second class from which on it is the label."""
    return float(trial.candidate.values.get(THRESHOLD, 0.5))  # type: ignore[arg-type]  # a number


def cross_validation(study: Study[Any]) -> CrossValidate | None:
    """The study's evaluator of folds, where it has one."""
    waiting: list[Any] = [study.evaluator]
    while waiting:
        one = waiting.pop()
        if isinstance(one, CrossValidate):
            return one
        waiting += getattr(one, "evaluators", ())
    return None


def judging_rows(study: Study[Any], task: Task) -> NDArray[np.int64]:
    """The rows that trials are judged by: of all folds, or those held out."""
    folds = cross_validation(study)
    return folds.rows if folds else task.validation


class BrokenTrial(BrokenFile):
    """A file of `trial` is missing or damaged."""

    def __init__(self, trial: int, reason: str) -> None:
        super().__init__(f"trial {trial} cannot be used: {reason}")
        self.trial = trial


def predictor(study: Study[Any], task: Task, trial: Trial) -> FittedPipeline | Blend:
    """What the trial has fitted: a pipeline, or the average of several. RunError where it is gone."""
    folder = study.kept_folder(trial.id)
    if trial.proposal.origin == ENSEMBLE and not trial.candidate.values.get(REFIT):
        return average_of(study, task, trial.candidate)
    if not has_weights(folder):
        raise RunError(
            f"trial {trial.id} has left no weights in {study.folder}: only members of the front "
            f"are kept. Choose one of: {', '.join(str(one.id) for one in study.front)}."
        )
    (number,) = _shares(trial.candidate) or (trial.id,)  # a refit is of another trial
    try:
        return load_trial(pipeline_of(study, task, number), folder)
    except BrokenFile as error:
        raise BrokenTrial(trial.id, str(error)) from error


def pipeline_of(study: Study[Any], task: Task, number: int) -> Pipeline:
    """The description of what the trial has fitted."""
    trial = next(one for one in study.trials if one.id == number)
    return as_pipeline(study.space.fill(trial.candidate), task)


def held_out_of(study: Study[Any], task: Task, trial: Trial) -> NDArray[np.floating] | None:
    """What the trial says of the rows that judge it, NaN where nothing; None where that is gone."""
    if trial.proposal.origin == ENSEMBLE:
        known = {one.id: one for one in study.trials}
        if MEMBERS in trial.candidate.values:
            keep, of = int(_number(trial.candidate, MEMBERS)), trial.proposal.parents[0]
            return _of_few(study, task, known[of], keep)
        shares = _shares(trial.candidate)
        said = [held_out_of(study, task, known[number]) for number in shares]
        there = [one for one in said if one is not None]
        if len(there) < len(said):
            return None
        mixed = mean_known(there, [*shares.values()])
        if mixed.ndim == 1:
            return mixed
        return tempered(mixed.astype(np.float32), _number(trial.candidate, TEMPERATURE))
    folder, folds = study.kept_folder(trial.id), cross_validation(study)
    every = np.ones(len(task.validation), np.bool_)
    seen = folds.rows_known(int(trial.metrics.get("folds", 1))) if folds else every
    for name in (HELD_OUT, "validation.npy"):
        if folder.has(name):
            with suppress(BrokenFile):  # as if it were gone
                return read_predictions(folder, name, seen, len(task.classes))
    return None


def average_of(study: Study[Any], task: Task, candidate: Candidate) -> Blend:
    """The average that an ensemble's candidate describes."""
    known = {trial.id: trial for trial in study.trials}
    pairs = [
        (share, predictor(study, task, known[number]))
        for number, share in _shares(candidate).items()
    ]
    if candidate.values.get(LIGHT):
        pairs = [(w, one.parts[0] if isinstance(one, Blend) else one) for w, one in pairs]
    if MEMBERS in candidate.values:  # of one trial's first fold
        folds, part = cross_validation(study), pairs[0][1]
        assert folds is not None
        assert isinstance(part, FittedPipeline)
        rows, _ = _halves(task, folds.tasks[0].validation)
        keep = int(_number(candidate, MEMBERS))
        pairs = [(1.0, _with_members(study, task, part, keep, rows))]
    return blended(pairs, _number(candidate, TEMPERATURE), _number(candidate, THRESHOLD))


def _shares(candidate: Candidate) -> dict[int, float]:
    """Member's trial -> its share."""
    return {
        int(name.removeprefix(MEMBER)): float(share)  # type: ignore[arg-type]  # a number
        for name, share in candidate.values.items()
        if name.startswith(MEMBER)
    }


def _number(candidate: Candidate, name: str) -> float:
    return float(candidate.values[name])  # type: ignore[arg-type]  # a number


def members_of(study: Study[Any], task: Task, trial: Trial) -> int:
    """How many members the trial's network is of; 0 where it is none of members, where it was not
    fitted on all folds, or where these hold too few rows back to choose some by."""
    model = pipeline_of(study, task, trial.id).model
    folds = cross_validation(study)
    if folds is None or not isinstance(model, Training):
        return 0
    whole = trial.metrics["folds"] == len(folds.tasks)
    halves = [half for one in folds.tasks for half in _halves(task, one.validation)]
    if not whole or min(map(len, halves)) < _CHOOSABLE // 2:
        return 0
    return members_in(model.network)


def few_members(study: Study[Any], task: Task, trial: Trial, keep: int) -> Choice:
    """The model of the trial's first fold with `keep` of its members.

    The metrics are of all rows: in each fold members are chosen on one half of the held-out rows
    for the other. The model has those of the first half.
    """
    folds = cross_validation(study)
    assert folds is not None
    said = _of_few(study, task, trial, keep)
    weights = task.weights_of(folds.rows)
    metrics = score(task.kind, task.target[folds.rows], said, weights=weights)
    metrics["folds"] = float(len(folds.tasks))
    return Choice({trial.id: 1.0}, 1.0, metrics, light=True, members=keep)


def known_average(study: Study[Any], choice: Choice) -> Trial | None:
    """The trial that the average has become already; of a refit one that still has its model."""
    candidate = candidate_of(choice)
    done = (one for one in study.trials if one.status is Status.DONE)
    made = (one for one in done if one.proposal.origin == ENSEMBLE and one.candidate == candidate)
    there = (one for one in made if not choice.refit or has_weights(study.kept_folder(one.id)))
    return next(there, None)


def _of_few(study: Study[Any], task: Task, trial: Trial, keep: int) -> NDArray[np.floating]:
    """Predictions for `judging_rows`, each by members that were chosen without the row."""
    folds, whole = cross_validation(study), predictor(study, task, trial)
    assert folds is not None
    assert isinstance(whole, Blend)
    shape = (len(folds.rows), *((len(task.classes),) if task.classes else ()))
    found = np.full(shape, np.nan, np.float32 if task.classes else np.float64)
    for part, of in zip(whole.parts, folds.tasks, strict=True):
        a, b = _halves(task, of.validation)
        for here, rows in ((a, b), (b, a)):
            chosen = _with_members(study, task, part, keep, here)
            found[np.searchsorted(folds.rows, rows)] = chosen.predict(task.features.take(rows))
    return found


def _halves(task: Task, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every other row, and the rest; where rows are of groups, those of every other group."""
    place = np.arange(len(rows))
    if task.groups is not None:
        place = np.unique(task.groups[rows], return_inverse=True)[1]
    return rows[place % 2 == 0], rows[place % 2 == 1]


def _with_members(
    study: Study[Any], task: Task, part: FittedPipeline, keep: int, rows: NDArray[np.int64]
) -> FittedPipeline:
    """With the members that together have the least loss on the rows."""
    loss, weights = loss_of(task.kind, judge_of(study, task)), task.weights_of(rows)

    def by_rows(p: NDArray[Any]) -> float:
        return loss(p, task.target[rows], weights)

    return pruned(part, task.features.take(rows), by_rows, keep)


def judge_of(study: Study[Any], task: Task) -> str:
    """The metric by which averages are chosen: the first objective, where it judges predictions."""
    name = study.objectives[0].metric
    return name if name in METRICS and METRICS[name].kinds else default_metric(task.kind)
