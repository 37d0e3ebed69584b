"""Candidates fitted once more, on all rows: trials of origin `ensemble`, averages of one trial.

The folder of such a trial holds what was fitted. Its metrics are those of the trial it is of, whose
folds have judged models of fewer rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from threadpoolctl import threadpool_limits

from netwright.automl.finished_search import FinishedSearch
from netwright.automl.time_allocation import (
    REFIT_EXPORT_SECONDS,
    REFIT_ON_TIME_SHARE,
    REFIT_SAFETY,
)
from netwright.data.task import Task
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline
from netwright.pipelines.refit import RefittableLearner, refit, with_all_rows
from netwright.pipelines.weighted_ensemble import fold_folder, load_fold_ensemble, read_fit_seconds
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.trial import Trial

_SHARE = 1 / 3
"""Of a member's share: what its refit has beside the folds' models; beside one a half. Measured on
seven development tables: better than none in 13 of 15 cases, by up to 3 %."""


def refit_of(trial: Trial) -> EnsembleSpec:
    """The trial's candidate fitted again."""
    return EnsembleSpec.of({trial.id: 1.0}, refit=True)


def with_refits(search: FinishedSearch, whole: EnsembleSpec) -> EnsembleSpec:
    """The average with the refits of its members that there are."""
    weights: dict[int, float] = {}
    for number, weight in whole.weights:
        trial = search.by_id[number]
        again = search.find_ensemble_trial(refit_of(trial))
        part = (_SHARE if trial.metrics["folds"] > 1 else 0.5) if again else 0.0
        weights[number] = weight * (1 - part)
        weights |= {again.id: weight * part} if again else {}
    return whole.with_weights(weights)


def fit_again(
    search: FinishedSearch, numbers: Iterable[int], end: float, threads: int = 1
) -> list[tuple[Trial, FittedPipeline | str]]:
    """The trials with their candidates fitted on all rows, side by side, or a sentence why not.

    Those that cannot be fitted so, that are known, and for which there is no time are left out; the
    first come first.
    """
    begun, expected = time.monotonic(), 0.0
    chosen: list[Trial] = []
    for trial in (search.by_id[number] for number in numbers):
        seconds = _seconds(search, trial)
        if seconds is None or search.find_ensemble_trial(refit_of(trial)):
            continue
        needed = REFIT_SAFETY * max(seconds, (expected + seconds) / threads)
        if begun + needed + REFIT_EXPORT_SECONDS * len(chosen) <= end:
            expected += seconds
            chosen.append(trial)
    if not chosen:
        return []
    assert search.folds is not None
    whole = with_all_rows(search.task, search.folds.rows)  # one, whose preparations are remembered
    with threadpool_limits(1), _pool(threads) as pool:
        fitted = list(pool.map(lambda trial: _fitted(search, whole, trial, end), chosen))
    return [(t, one) for t, one in zip(chosen, fitted, strict=True) if one is not None]


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Who interrupts it does not wait for those that have not begun."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _seconds(search: FinishedSearch, trial: Trial) -> float | None:
    """About how long it takes; None where the trial's model cannot be fitted so."""
    many = round(trial.metrics.get("folds", 1))
    if search.n_folds < 2 or not isinstance(search.pipeline(trial.id).model, RefittableLearner):
        return None
    folder = search.trial_folder(trial.id)
    seconds = max((read_fit_seconds(fold_folder(folder, i)) for i in range(many)), default=0.0)
    return seconds * search.n_folds / (search.n_folds - 1)


def _fitted(
    search: FinishedSearch, whole: Task, trial: Trial, end: float
) -> FittedPipeline | str | None:
    """For as long as the folds' models; None where it is not on time."""
    pipeline = replace(search, task=whole).pipeline(trial.id)
    assert isinstance(pipeline, TablePipeline)
    begun = time.monotonic()
    try:
        parts = load_fold_ensemble(pipeline, search.trial_folder(trial.id)).members
        fitted = refit(pipeline, parts, whole, seed=search.seed % 2**31, deadline=end)
    except Exception as error:  # the best is delivered all the same
        return f"trial {trial.id} is not fitted again on all rows: {error}"
    late = math.isfinite(end) and time.monotonic() - begun > REFIT_ON_TIME_SHARE * (end - begun)
    return None if late else fitted
