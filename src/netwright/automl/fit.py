"""The whole way: a task and a budget in, a searched, trained, exported model out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

from netwright.automl.export.delivery import FitResult, deliver, load_libraries
from netwright.automl.finished_search import OpenedSearch
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.open_search import open_search
from netwright.automl.search_budget import SearchBudget
from netwright.data.task import Task
from netwright.study.progress.callbacks import CallbackList, Verbose, open_callbacks
from netwright.study.progress.events import (
    Callback,
    Event,
    ModelDelivered,
    TrialStarted,
    ignore_event,
)
from netwright.study.study import Study
from netwright.study.workers.executors import Executor
from netwright.trials.trial import Status


def fit(
    task: Task,
    goal: Goal = Goal(),
    effort: SearchBudget = SearchBudget(),
    method: Method = Method(),
    *,
    run: str | Path | None = None,
    fresh: bool = False,
    verbose: Verbose = "auto",
    callbacks: Callback | Sequence[Callback] | None = (),
    executor: Executor | None = None,
) -> FitResult:
    """Searches until the effort is spent, then delivers the best model within the limits.

    The same call goes on where an earlier one stopped. Raises RunError when the folder belongs to
    another search, InputError when the goal or the method does not fit the task.

    `verbose` and `callbacks`: as for `Study.run`.
    """
    effort = effort.started()
    with open_callbacks(callbacks, verbose) as notify:
        opened = open_search(task, goal, effort, method, run=run, fresh=fresh, executor=executor)
        return carry_out(opened, effort, notify)


def carry_out(
    opened: OpenedSearch, effort: SearchBudget, notify: Callback = ignore_event
) -> FitResult:
    """Runs an opened search until the effort is spent, and delivers; `notify` hears of it."""
    study = opened.study
    already, before = study.is_budget_used(trials=effort.trials, until=effort.until), _ended(study)
    loading = Thread(target=load_libraries, daemon=True)

    def heard(event: Event) -> None:
        # at the end time is short; before the first trial it would keep the workers from starting
        if isinstance(event, TrialStarted) and loading.ident is None and effort.seconds is not None:
            loading.start()
        notify(event)

    callbacks = CallbackList([heard])  # `notify` has joined them with logging already
    study.run(
        trials=effort.trials, until=effort.until, verbose=False, callbacks=callbacks,
        started_at=effort.start_time,
    )  # fmt: skip
    if loading.ident is not None:
        loading.join()
    timed = effort.seconds is not None and not already and not study.interrupted
    idle = timed and before == _ended(study) > 0
    outcome = deliver(opened, already, effort.deadline, effort.n_workers, notify)
    notify(ModelDelivered(outcome.best, study.describe(outcome.best)))
    if not idle:
        return outcome
    said = "No further trial fitted into what was left of the time: give it more."
    return replace(outcome, warnings=(*outcome.warnings, said))


def _ended(study: Study[Any]) -> int:
    return sum(trial.status is not Status.RUNNING for trial in study.trials)
