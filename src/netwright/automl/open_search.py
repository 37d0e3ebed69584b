"""A search of a task, opened: its space, its evaluator, its strategy, and what earlier runs found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from netwright.automl.finished_search import OpenedSearch
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import check_folds, saved_metadata
from netwright.automl.search_budget import SearchBudget
from netwright.automl.spaces import check_describes, name_of_space, space_for
from netwright.automl.tabular.families import NETWORK_FAMILIES, check_families
from netwright.automl.tabular.portfolio_then_halving import portfolio_then_halving
from netwright.automl.task_metadata import TaskMetadata
from netwright.automl.time_allocation import n_folds, time_budget
from netwright.data.task import Task, summary
from netwright.errors import InputError, expected
from netwright.evaluators.default_evaluators import default_cross_validation, default_evaluator
from netwright.files.run_layout import MODEL
from netwright.interfaces.checks import is_strategy
from netwright.report.tables import describe_trial
from netwright.space.space import Space
from netwright.strategies.oneshot import OneShot
from netwright.study.progress.events import short_name
from netwright.study.run_record import RunRecord
from netwright.study.storage.run_folder import delete_run
from netwright.study.study import Study
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.formats import folder_name
from netwright.trials.metrics import network_costs
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Trial


def open_search(
    task: Task,
    goal: Goal,
    effort: SearchBudget,
    method: Method = Method(),
    *,
    run: str | Path | None = None,
    fresh: bool = False,
    executor: Executor | None = None,
) -> OpenedSearch:
    """The search that `fit` runs, with what earlier runs of its folder have found.

    `executor`: where trials run; None: in supervised workers.
    """
    wanted, limits = goal.resolve(task)
    algorithm = method.algorithm
    brief = _brief(task, method, [*wanted, *limits])
    space = None if method.space is None else space_for(brief, method.space)
    if space is not None:
        metrics = [*(one.metric for one in wanted), *(limit.metric for limit in limits)]
        check_describes(space, task, metrics)
    folder = _folder(run) or default_run(task, wanted, limits, method, space)
    if fresh:
        delete_run(folder)
        (folder / MODEL).unlink(missing_ok=True)
    if brief.columns and not isinstance(algorithm, OneShot):
        kept = saved_metadata(folder)
        kept_folds = kept.folds if kept else 0
        folds = kept_folds or n_folds(effort.seconds, effort.n_workers, brief)
        brief = replace(brief, folds=folds)
    if space is None:
        space = space_for(brief)
    time = time_budget(effort.seconds, effort.n_workers, brief)
    first = portfolio(space, brief)
    if isinstance(algorithm, OneShot):
        first = first[:1]  # an answer; the rest of the budget is for what the search prefers
    fitting = (
        default_cross_validation(space, task, wanted, brief.folds, time) if brief.folds else None
    )
    seeded = fitting is not None and not is_strategy(algorithm)
    study = Study(
        space,
        default_evaluator(space, task, wanted, limits, folds=fitting, phases=time.phases),
        strategy=portfolio_then_halving(algorithm, first, brief.folds) if seeded else algorithm,
        objectives=wanted,
        limits=limits,
        baselines=() if seeded else first,
        run=folder,
        seed=method.seed,
        executor=executor or Supervised(effort.n_workers, memory_limit=effort.memory),
        time=time,
        record=RunRecord(
            {"data": task.fingerprint}, _notes(task, brief), partial(_few_words, space)
        ),
    )
    check_folds(study.trials, folder)
    return OpenedSearch(study, task, fitting)


def _notes(task: Task, brief: TaskMetadata) -> dict[str, str]:
    """What is kept of the task, so that the run can be read without its data."""
    return {
        "data in words": summary(task),
        "name": task.name,
        "brief": brief.json(),
        "data notes": "\n".join(task.notes),
    }


def _few_words(space: Space[Any], trial: Trial) -> str:
    """The trial's family of models, or its model where the space is of one family."""
    return short_name(trial) if trial.family else describe_trial(trial, space.fill)


def _folder(run: object) -> Path | None:
    """The run folder that is asked for, if any; InputError for what is no path."""
    if run is not None and not isinstance(run, str | Path):
        raise InputError(expected("run", "the path of a folder", run))
    return Path(run) if run else None


def _brief(task: Task, method: Method, wanted: Sequence[Objective | Limit]) -> TaskMetadata:
    """The task's, with the families that can be searched by the strategy and have the metrics."""
    brief = replace(TaskMetadata.of(task), space=name_of_space(method.space))
    families = method.family_names
    if brief.image:
        if families:
            raise InputError(expected("families", "left out for images", ", ".join(families)))
        return brief
    if method.space is not None:
        return brief
    if isinstance(method.algorithm, OneShot):
        if set(families) - {"network"}:
            rule = "network alone for a strategy that shares weights"
            raise InputError(expected("families", rule, ", ".join(families)))
        return replace(brief, families=("network",))
    found = check_families(families)
    if sized := network_costs(one.metric for one in wanted):
        if others := [name for name in families if name not in NETWORK_FAMILIES]:
            rule = f"networks ({', '.join(NETWORK_FAMILIES)}) where {min(sized)} counts"
            raise InputError(expected("families", rule, ", ".join(others)))
        found = tuple(name for name in found if name in NETWORK_FAMILIES)
    return replace(brief, families=found)


def default_run(
    task: Task, wanted: Sequence[Objective], limits: Sequence[Limit], method: Method,
    space: Space[Any] | None = None,
) -> Path:  # fmt: skip
    """``runs/adult-3f9c1a``: the data's name, and a hash of what makes this search this search.

    `space`: the user's own.
    """
    line = [task.name, task.kind, [one.metric for one in wanted], [str(one) for one in limits]]
    line += [sorted(method.family_names)] if method.family_names else []
    line += [space.fingerprint] if space is not None else []
    text = json.dumps([*line, str(method.strategy), method.seed])
    name = folder_name(task.name) or "run"
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
