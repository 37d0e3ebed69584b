"""Refits: candidates fitted once more, on the rows of all folds.

A refit is a trial of origin `ensemble` with one member, and its folder holds the fitted model. Its
metrics are those of the trial it refits, whose fold models were trained on fewer rows.
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

_REFIT_WEIGHT = 1 / 3
"""Fraction of a member's weight that goes to its refit, beside the models of several folds.

Measured on seven development tables: better than no refit in 13 of 15 cases, by up to 3 %.
"""
_REFIT_WEIGHT_BESIDE_ONE_FOLD = 1 / 2


def refit_spec(trial: Trial) -> EnsembleSpec:
    """Return the spec of the trial's refit."""
    return EnsembleSpec.of({trial.id: 1.0}, refit=True)


def add_refits(search: FinishedSearch, ensemble: EnsembleSpec) -> EnsembleSpec:
    """Give the refits that exist a part of their member's weight."""
    weights: dict[int, float] = {}
    for trial_id, weight in ensemble.weights:
        trial = search.by_id[trial_id]
        refit_trial = search.find_ensemble_trial(refit_spec(trial))
        if refit_trial is None:
            weights[trial_id] = weight
            continue
        several_folds = trial.metrics["folds"] > 1
        fraction = _REFIT_WEIGHT if several_folds else _REFIT_WEIGHT_BESIDE_ONE_FOLD
        weights[trial_id] = weight * (1 - fraction)
        weights[refit_trial.id] = weight * fraction
    return ensemble.with_weights(weights)


def refit_trials(
    search: FinishedSearch, trial_ids: Iterable[int], deadline: float, n_threads: int = 1
) -> list[tuple[Trial, FittedPipeline | str]]:
    """Refit the candidates of trials on all rows, several at a time.

    Left out are candidates whose learner cannot be refitted, those refitted before, and those that
    would not be ready in time; the first ids have priority.

    Args:
        search: a search over folds.
        trial_ids: trials to refit, most important first.
        deadline: `time.monotonic()` by which all refits are fitted and exported.
        n_threads: how many are fitted at a time.

    Returns:
        Each trial with its refit, or with a sentence that says why fitting failed.
    """
    now, total_seconds = time.monotonic(), 0.0
    chosen: list[Trial] = []
    for trial in (search.by_id[trial_id] for trial_id in trial_ids):
        seconds = _expected_seconds(search, trial)
        if seconds is None or search.find_ensemble_trial(refit_spec(trial)):
            continue
        needed = REFIT_SAFETY * max(seconds, (total_seconds + seconds) / n_threads)
        if now + needed + REFIT_EXPORT_SECONDS * len(chosen) <= deadline:
            total_seconds += seconds
            chosen.append(trial)
    if not chosen:
        return []
    assert search.cross_validation is not None
    # one task for all, since it caches its preprocessing
    all_rows = with_all_rows(search.task, search.cross_validation.rows)
    with threadpool_limits(1), _cancellable_pool(n_threads) as pool:
        refits = list(pool.map(lambda trial: _refit(search, all_rows, trial, deadline), chosen))
    return [
        (trial, fitted) for trial, fitted in zip(chosen, refits, strict=True) if fitted is not None
    ]


@contextmanager
def _cancellable_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool whose pending jobs are cancelled on exit, so that Ctrl-C does not wait for them."""
    pool = ThreadPoolExecutor(n_threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _expected_seconds(search: FinishedSearch, trial: Trial) -> float | None:
    """Estimate the seconds of a refit from the slowest fold; None if it cannot be refitted."""
    n_folds = round(trial.metrics.get("folds", 1))
    if search.n_folds < 2 or not isinstance(search.pipeline(trial.id).model, RefittableLearner):
        return None
    folder = search.trial_folder(trial.id)
    seconds = max((read_fit_seconds(fold_folder(folder, i)) for i in range(n_folds)), default=0.0)
    return seconds * search.n_folds / (search.n_folds - 1)


def _refit(
    search: FinishedSearch, all_rows: Task, trial: Trial, deadline: float
) -> FittedPipeline | str | None:
    """Refit a candidate for as many rounds as its fold models; None if it was not ready in time."""
    pipeline = replace(search, task=all_rows).pipeline(trial.id)
    assert isinstance(pipeline, TablePipeline)
    start = time.monotonic()
    try:
        fold_models = load_fold_ensemble(pipeline, search.trial_folder(trial.id)).members
        fitted = refit(pipeline, fold_models, all_rows, seed=search.seed % 2**31, deadline=deadline)
    except Exception as error:  # the best model is delivered all the same
        return f"trial {trial.id} could not be refitted on all rows: {error}"
    seconds, available = time.monotonic() - start, deadline - start
    cut_short = math.isfinite(deadline) and seconds > REFIT_ON_TIME_SHARE * available
    return None if cut_short else fitted
