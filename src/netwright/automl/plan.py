"""The whole way: a task and a budget in, a searched, trained, exported model out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from netwright.automl import names
from netwright.automl.effort import Effort
from netwright.automl.export.delivery import Outcome, deliver, load_libraries
from netwright.automl.finished_search import OpenedSearch
from netwright.automl.goal import Goal
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import check_folds, kept_brief
from netwright.automl.spaces import space_for
from netwright.automl.tabular.families import NETWORKS, check_families, family_names
from netwright.automl.tabular.schedule import schedule
from netwright.automl.task_metadata import Brief
from netwright.automl.time_sharing import n_folds, time_budget
from netwright.catalog import DEFAULT_STRATEGY
from netwright.data.task import Task, summary
from netwright.errors import InputError, check_whole, expected
from netwright.evaluators.defaults import cross_validation_for, evaluator_for
from netwright.files.run_layout import MODEL
from netwright.interfaces.checks import is_strategy
from netwright.report.tables import what
from netwright.space.space import Space
from netwright.strategies.oneshot import OneShot
from netwright.study.progress.callbacks import Callbacks, Verbose, listening
from netwright.study.progress.events import (
    Callback,
    Event,
    ModelDelivered,
    TrialStarted,
    ignore,
    short_name,
)
from netwright.study.storage.run_folder import clear
from netwright.study.study import Study
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.formats import folder_name
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Status, Trial


def fit(
    task: Task,
    goal: Goal = Goal(),
    effort: Effort = Effort(),
    *,
    strategy: str | Any = DEFAULT_STRATEGY,
    families: str | Sequence[str] = (),
    seed: int = 0,
    run: str | Path | None = None,
    fresh: bool = False,
    verbose: Verbose = "auto",
    callbacks: Callback | Sequence[Callback] | None = (),
    executor: Executor | None = None,
) -> Outcome:
    """Searches until the effort is spent, then delivers the best model within the limits.

    The same call goes on where an earlier one stopped. Raises RunError when the folder belongs to
    another search, InputError when the goal does not fit the task.

    `verbose` and `callbacks`: as for `Study.run`.
    """
    effort = effort.starting()
    with listening(callbacks, verbose) as notify:
        opened = open_study(
            task, goal, effort, strategy=strategy, families=families, seed=seed, run=run,
            fresh=fresh, executor=executor,
        )  # fmt: skip
        return carry_out(opened, effort, notify)


def carry_out(opened: OpenedSearch, effort: Effort, notify: Callback = ignore) -> Outcome:
    """Runs an opened search until the effort is spent, and delivers; `notify` hears of it."""
    study = opened.study
    budget = effort.budget(study.time)
    already, before = study.over(**budget), _ended(study)
    loading = Thread(target=load_libraries, daemon=True)

    def heard(event: Event) -> None:
        # at the end time is short; before the first trial it would keep the workers from starting
        if isinstance(event, TrialStarted) and loading.ident is None and effort.seconds is not None:
            loading.start()
        notify(event)

    callbacks = Callbacks([heard])  # `notify` has joined them with logging already
    study.run(**budget, verbose=False, callbacks=callbacks, since=effort.begun)
    if loading.ident is not None:
        loading.join()
    timed = effort.seconds is not None and not already and not study.interrupted
    idle = timed and before == _ended(study) > 0
    outcome = deliver(opened, already, effort.end, effort.parallel, notify)
    notify(ModelDelivered(outcome.best, study.describe(outcome.best)))
    if not idle:
        return outcome
    said = "No further trial fitted into what was left of the time: give it more."
    return replace(outcome, doubts=(*outcome.doubts, said))


def _ended(study: Study[Any]) -> int:
    return sum(trial.status is not Status.RUNNING for trial in study.trials)


def open_study(
    task: Task,
    goal: Goal,
    effort: Effort,
    *,
    strategy: str | Any = DEFAULT_STRATEGY,
    families: str | Sequence[str] = (),
    seed: int = 0,
    run: str | Path | None = None,
    fresh: bool = False,
    executor: Executor | None = None,
) -> OpenedSearch:
    """The search that `fit` runs, with what earlier runs of its folder have found.

    `executor`: where trials run; None: in supervised workers.
    """
    wanted, limits = goal.of(task)
    families = family_names(families)
    check_whole("seed", seed, 0)
    folder = _folder(run) or default_run(task, wanted, limits, strategy, families, seed)
    if fresh:
        clear(folder)
        (folder / MODEL).unlink(missing_ok=True)
    algorithm = names.strategy(strategy) if isinstance(strategy, str) else strategy
    brief = _brief(task, algorithm, families, [*wanted, *limits])
    kept = kept_brief(folder)
    if brief.columns and not isinstance(algorithm, OneShot):
        kept_folds = kept.folds if kept else 0
        folds = kept_folds or n_folds(effort.seconds, effort.parallel, brief)
        brief = replace(brief, folds=folds)
    time = time_budget(effort.seconds, effort.parallel, brief)
    space = space_for(brief)
    first = portfolio(space, brief)
    if isinstance(algorithm, OneShot):
        first = first[:1]  # an answer; the rest of the budget is for what the search prefers
    fitting = cross_validation_for(space, task, wanted, brief.folds, time) if brief.folds else None
    seeded = fitting is not None and not is_strategy(algorithm)
    study = Study(
        space,
        evaluator_for(space, task, wanted, limits, folds=fitting, phases=time.phases),
        strategy=schedule(algorithm, first, brief.folds) if seeded else algorithm,
        objectives=wanted,
        limits=limits,
        baselines=() if seeded else first,
        run=folder,
        seed=seed,
        executor=executor or Supervised(effort.parallel, memory=effort.memory),
        about={"data": task.fingerprint},
        notes={
            "data in words": summary(task),
            "name": task.name,
            "brief": brief.json(),
            "data notes": "\n".join(task.notes),
        },
        time=time,
        describe=partial(_few_words, space),
    )
    check_folds(study.trials, folder)
    return OpenedSearch(study, task, fitting)


def _few_words(space: Space[Any], trial: Trial) -> str:
    """The trial's family of models, or its model where the space is of one family."""
    return short_name(trial) if trial.family else what(trial, space.fill)


def _folder(run: object) -> Path | None:
    """The run folder that is asked for, if any; InputError for what is no path."""
    if run is not None and not isinstance(run, str | Path):
        raise InputError(expected("run", "the path of a folder", run))
    return Path(run) if run else None


def _brief(
    task: Task, algorithm: Any, families: Sequence[str], wanted: Sequence[Objective | Limit]
) -> Brief:
    """The task's, with the families that can be searched by the strategy and have the metrics."""
    brief = Brief.of(task)
    if brief.image:
        if families:
            raise InputError(expected("families", "left out for images", ", ".join(families)))
        return brief
    if isinstance(algorithm, OneShot):
        if set(families) - {"network"}:
            rule = "network alone for a strategy that shares weights"
            raise InputError(expected("families", rule, ", ".join(families)))
        return replace(brief, families=("network",))
    found = check_families(families)
    if sized := {one.metric for one in wanted} & {"parameters", "flops", "memory"}:
        if others := [name for name in families if name not in NETWORKS]:
            rule = f"networks ({', '.join(NETWORKS)}) where {min(sized)} counts"
            raise InputError(expected("families", rule, ", ".join(others)))
        found = tuple(name for name in found if name in NETWORKS)
    return replace(brief, families=found)


def default_run(
    task: Task, wanted: Sequence[Objective], limits: Sequence[Limit], strategy: Any,
    families: Sequence[str], seed: int,
) -> Path:  # fmt: skip
    """``runs/adult-3f9c1a``: the data's name, and a hash of what makes this search this search."""
    line = [task.name, task.kind, [one.metric for one in wanted], [str(one) for one in limits]]
    line += [sorted(families)] if families else []
    text = json.dumps([*line, str(strategy), seed])
    name = folder_name(task.name) or "run"
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
