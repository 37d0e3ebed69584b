"""`fit`: search a task within a budget, then train, export and deliver the best model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from netwright.automl.export.delivery import (
    FitResult,
    deliver,
    delivery_prediction_seconds,
    export_best,
    import_export_libraries,
)
from netwright.automl.finished_search import OpenedSearch
from netwright.automl.goal import Goal
from netwright.automl.image.final_record import FinalRecord
from netwright.automl.image.final_training import (
    Reserve,
    is_due,
    train_final,
)
from netwright.automl.image.final_workers import FinalWorkers
from netwright.automl.image.paired_gains import PairedGains, compares_trials
from netwright.automl.method import Method
from netwright.automl.open_search import open_search
from netwright.automl.search_budget import SearchBudget
from netwright.automl.time_allocation import (
    FINAL_EXPORT_SECONDS,
    MIN_EXPORT_SECONDS,
    SHORT_IMAGE_SECONDS,
)
from netwright.data.task import Images, Task
from netwright.errors import wording
from netwright.study.progress.callbacks import CallbackList, Verbose, open_callbacks
from netwright.study.progress.events import (
    Callback,
    Event,
    ModelDelivered,
    TrialEnded,
    TrialStarted,
    ignore_event,
)
from netwright.study.study import Study
from netwright.study.workers.executors import Executor
from netwright.trials.trial import Status


def fit(
    task: Task,
    goal: Goal = Goal(),
    budget: SearchBudget = SearchBudget(),
    method: Method = Method(),
    *,
    run: str | Path | None = None,
    fresh: bool = False,
    verbose: Verbose = "auto",
    callbacks: Callback | Sequence[Callback] | None = (),
    executor: Executor | None = None,
) -> FitResult:
    """Search until the budget is used, then deliver the best model within the limits.

    The same call with the same run folder resumes an earlier one.

    Args:
        task: the data and what to predict.
        goal: objectives and limits.
        budget: seconds, trials, or limits to reach.
        method: strategy, families or space, and seed.
        run: the run folder; None for ``runs/NAME-HASH``.
        fresh: whether to delete the earlier run in this folder.
        verbose: as for `Study.run`.
        callbacks: as for `Study.run`.
        executor: where trials run; None for supervised worker processes.

    Raises:
        RunError: The folder belongs to another search, or there is nothing to deliver.
        InputError: The goal or the method does not fit the task.
    """
    budget = budget.started()
    with open_callbacks(callbacks, verbose) as notify:
        opened = open_search(task, goal, budget, method, run=run, fresh=fresh, executor=executor)
        return run_and_deliver(opened, budget, notify)


def run_and_deliver(
    opened: OpenedSearch, budget: SearchBudget, notify: Callback = ignore_event
) -> FitResult:
    """Run an opened search until the budget is used, then deliver.

    Args:
        opened: the search.
        budget: what it may spend, in all of its runs.
        notify: called with each event.
    """
    study = opened.study
    already_finished = is_finished(opened, budget)
    used_before = seconds_used(study)
    n_ended_before = _n_ended(study)
    left_out: tuple[str, ...] = ()
    if _has_final_training(opened):
        with closing(FinalWorkers(opened, budget.seconds, budget.n_workers)) as final:
            _run_study(opened, budget, notify, final)
            left_out = _train_final(opened, budget, used_before, final, notify)
    else:
        _run_study(opened, budget, notify)
    timed_out = budget.seconds is not None and not already_finished and not study.interrupted
    no_new_trial = timed_out and n_ended_before == _n_ended(study) > 0
    outcome = deliver(
        opened,
        already_finished=already_finished,
        deadline=budget.deadline - used_before,
        n_threads=budget.n_workers,
        notify=notify,
    )
    outcome = replace(outcome, left_out=(*outcome.left_out, *left_out))
    notify(ModelDelivered(outcome.best, study.describe(outcome.best)))
    if not no_new_trial:
        return outcome
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    warning = f"No time was left to evaluate another candidate. {longer}"
    return replace(outcome, warnings=(*outcome.warnings, warning))


def _has_final_training(opened: OpenedSearch) -> bool:
    """Return whether the search is followed by a training of what it chose: that of images is."""
    return isinstance(opened.task.features, Images)


def _run_study(
    opened: OpenedSearch, budget: SearchBudget, notify: Callback, final: FinalWorkers | None = None
) -> None:
    """Run the study until its part of the budget is used.

    Meanwhile the libraries of the export are imported, and the workers of the final training start:
    at the end time is short. They wait until the search's own workers have started, or if the search
    compares times of trainings and is not short, until the first of them is over.

    Args:
        opened: a search.
        budget: of all runs.
        notify: called with events.
        final: the workers of the final training, if there is one.
    """
    study = opened.study
    importing = Thread(target=import_export_libraries, daemon=True)
    is_compared = compares_trials(opened)
    is_timed = is_compared and (budget.seconds or 0.0) >= SHORT_IMAGE_SECONDS
    first_event = TrialEnded if is_timed else TrialStarted

    def prepare_then_notify(event: Event) -> None:
        if (
            budget.seconds is not None
            and isinstance(event, first_event)
            and importing.ident is None
        ):
            importing.start()
            if final is not None:
                final.start_early(event.trial if isinstance(event, TrialEnded) else None)
        notify(event)

    compare = [PairedGains(opened, notify)] if is_compared else []
    study.run(
        trials=budget.trials,
        until=budget.until,
        verbose=False,
        # `notify` includes the logger already
        callbacks=CallbackList([prepare_then_notify, *compare]),
        started_at=budget.start_time,
    )
    if importing.ident is not None:
        importing.join()


def is_finished(opened: OpenedSearch, budget: SearchBudget) -> bool:
    """Return whether earlier runs have used up the budget, so that `fit` would train nothing."""
    study = opened.study
    if not study.is_budget_used(trials=budget.trials, until=budget.until):
        return False
    if not _has_final_training(opened) or _target_is_reached(study, budget):
        return True
    used = seconds_used(study)
    seconds_left = math.inf if budget.seconds is None else budget.seconds - used
    return not is_due(opened.finished(), seconds_left)


def _train_final(
    opened: OpenedSearch,
    budget: SearchBudget,
    used_before: float,
    final: FinalWorkers,
    notify: Callback,
) -> tuple[str, ...]:
    """Export the best model so far, then train the final one if there is time.

    Args:
        opened: a search of images whose study has run.
        budget: of all runs.
        used_before: seconds that earlier runs have used.
        final: the workers of the final training.
        notify: called with events.

    Returns:
        Sentences about why there is no final model.
    """
    study = opened.study
    deadline = budget.deadline - used_before
    if _target_is_reached(study, budget):
        return ()
    if not is_due(opened.finished(), deadline - time.monotonic()):
        return ()

    def export_first() -> Reserve:
        start_time = time.monotonic()
        best = export_best(opened, notify)
        elapsed = time.monotonic() - start_time
        seconds = FINAL_EXPORT_SECONDS + max(elapsed, MIN_EXPORT_SECONDS)
        if best is None:
            return Reserve(seconds)
        trial, model = best
        return Reserve(seconds, trial, partial(delivery_prediction_seconds, model, opened.task))

    try:
        reason = train_final(
            opened,
            final.executor,
            deadline,
            budget.n_workers,
            final.n_members,
            notify,
            export_first,
        )
    except KeyboardInterrupt:
        study.interrupted = True
        return ()
    return (reason,) if reason else ()


def seconds_used(study: Study[Any]) -> float:
    """Return the seconds of the search and of final trainings, in all runs of the folder."""
    return study.seconds + FinalRecord.read(study.folder).seconds


def _target_is_reached(study: Study[Any], budget: SearchBudget) -> bool:
    return bool(budget.until) and study.is_budget_used(seconds=math.inf, until=budget.until)


def _n_ended(study: Study[Any]) -> int:
    return sum(trial.status is not Status.RUNNING for trial in study.trials)
