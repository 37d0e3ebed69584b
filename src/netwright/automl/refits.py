"""Candidates fitted once more, on all rows: trials of origin `ensemble`, averages of one trial.

The folder of such a trial holds what was fitted. Its metrics are those of the trial it is of, whose
folds have judged models of fewer rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from netwright.automl.averages import cross_validation, known_average, pipeline_of
from netwright.automl.ensembles import Choice
from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate
from netwright.pipelines.blend import fold_folder, load_folds, seconds_of
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline
from netwright.pipelines.refit import Settles, refit
from netwright.study.study import Study
from netwright.trials.trial import Trial

_UNSURE = 1.5
"""Times as long as expected: what a fit may take before there is no use in beginning it."""
_ON_TIME = 0.8
"""A fit that takes more of what it is given may have been cut short."""
_SHARE = 1 / 3
"""Of a member's share: what its refit has beside the folds' models. Measured on seven development
tables: better than none in 13 of 15 cases, by up to 3 %."""


def choice_of(trial: Trial) -> Choice:
    """The trial's candidate fitted again."""
    return Choice({trial.id: 1.0}, 1.0, trial.metrics, refit=True)


def known_refit(study: Study[Any], trial: Trial) -> Trial | None:
    """The trial that the refit has become already."""
    return known_average(study, choice_of(trial))


def with_refits(study: Study[Any], whole: Choice) -> Choice:
    """The average with the refits of its members that there are."""
    shares: dict[int, float] = {}
    for number, share in whole.shares.items():
        again = known_refit(study, _trial(study, number))
        shares[number] = share * (1 - _SHARE) if again else share
        shares |= {again.id: share * _SHARE} if again else {}
    return replace(whole, shares=shares)


def fit_again(
    study: Study[Any], task: Task, numbers: Iterable[int], end: float, threads: int = 1
) -> Iterator[tuple[Trial, FittedPipeline]]:
    """The trials, with their candidates fitted on all rows, side by side.

    Those that cannot be fitted so, that are known, and for which there is no time are left out; the
    first come first.
    """
    begun, expected, chosen = time.monotonic(), 0.0, []
    for trial in (_trial(study, number) for number in dict.fromkeys(numbers)):
        seconds = _seconds(study, task, trial)
        if seconds is None or known_refit(study, trial):
            continue
        if begun + _UNSURE * max(seconds, (expected + seconds) / threads) <= end:
            expected += seconds
            chosen.append(trial)
    with ThreadPoolExecutor(threads) as pool:
        fitted = pool.map(lambda trial: _fitted(study, task, trial, end), chosen)
        for trial, one in zip(chosen, fitted, strict=True):
            if one is not None:
                yield trial, one


def _seconds(study: Study[Any], task: Task, trial: Trial) -> float | None:
    """About how long it takes; None where the trial's model cannot be fitted so."""
    folds, many = cross_validation(study), round(trial.metrics.get("folds", 1))
    if folds is None or many < 2:
        return None
    if not isinstance(pipeline_of(study, task, trial.id).model, Settles):
        return None
    folder = study.trial_folder(trial.id)
    seconds = max(seconds_of(fold_folder(folder, i)) for i in range(many))
    return seconds * len(folds.tasks) / (len(folds.tasks) - 1)


def _fitted(study: Study[Any], task: Task, trial: Trial, end: float) -> FittedPipeline | None:
    """On the rows of all folds, for as long as the folds' models; None where it is not on time."""
    folds, pipeline = cross_validation(study), pipeline_of(study, task, trial.id)
    assert folds is not None
    assert isinstance(pipeline, TablePipeline)
    parts = load_folds(pipeline, study.trial_folder(trial.id)).parts
    rows, begun = replace(task, train=folds.rows), time.monotonic()
    try:
        fitted = refit(pipeline, parts, rows, seed=study.seed, deadline=end)
    except InfeasibleCandidate:  # no time for a single round
        return None
    late = math.isfinite(end) and time.monotonic() - begun > _ON_TIME * (end - begun)
    return None if late else fitted


def _trial(study: Study[Any], number: int) -> Trial:
    return next(one for one in study.trials if one.id == number)
