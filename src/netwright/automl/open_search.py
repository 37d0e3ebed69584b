"""Open the search of a task: space, evaluator, strategy, and the trials of earlier runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from netwright.automl.finished_search import OpenedSearch
from netwright.automl.goal import Goal
from netwright.automl.image.rungs import PortfolioRungs
from netwright.automl.image.space import image_epochs
from netwright.automl.method import Method
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import check_folds, saved_metadata
from netwright.automl.search_budget import SearchBudget
from netwright.automl.spaces import check_space_fits_task, space_for, space_name
from netwright.automl.tabular.families import NETWORK_FAMILIES, check_families
from netwright.automl.tabular.portfolio_then_halving import portfolio_then_halving
from netwright.automl.task_metadata import TaskMetadata
from netwright.automl.time_allocation import (
    SearchKind,
    comparison_seconds,
    n_folds,
    time_budget,
)
from netwright.catalog import DEFAULT_STRATEGY
from netwright.data.task import Task, summary
from netwright.errors import InputError, expected
from netwright.evaluators.default_evaluators import default_cross_validation, default_evaluator
from netwright.files.run_layout import MODEL
from netwright.interfaces.checks import is_strategy
from netwright.interfaces.strategy import Algorithm, Strategy
from netwright.report.tables import describe_trial
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.no_search import NoSearch
from netwright.strategies.oneshot import OneShot
from netwright.study.progress.events import short_name
from netwright.study.run_record import RunRecord
from netwright.study.storage.run_folder import delete_run
from netwright.study.study import Study
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.formats import folder_name
from netwright.trials.metrics import network_costs
from netwright.trials.objective import Limit, Objective
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import Trial


def open_search(
    task: Task,
    goal: Goal,
    budget: SearchBudget,
    method: Method = Method(),
    *,
    run: str | Path | None = None,
    fresh: bool = False,
    executor: Executor | None = None,
) -> OpenedSearch:
    """Open the search that `fit` runs, with the trials of earlier runs in its folder.

    Args:
        task: the data and what to predict.
        goal: objectives and limits.
        budget: what the search may spend.
        method: strategy, families or space, and seed.
        run: the run folder; None for `default_run_folder`.
        fresh: whether to delete the earlier run in this folder.
        executor: where trials run; None for supervised worker processes.

    Raises:
        RunError: The folder belongs to another search.
        InputError: The goal or the method does not fit the task.
    """
    objectives, limits = goal.resolve(task)
    metadata = _metadata_for(task, method, [*objectives, *limits])
    space = None if method.space is None else space_for(metadata, method.space)
    if space is not None:
        measured: list[Objective | Limit] = [*objectives, *limits]
        check_space_fits_task(space, task, [each.metric for each in measured])
    folder = _run_folder(run) or default_run_folder(task, objectives, limits, method, space)
    if fresh:
        delete_run(folder)
        (folder / MODEL).unlink(missing_ok=True)
    metadata = _with_folds(metadata, folder, budget, method)
    if space is None:
        space = space_for(metadata)
    time = time_budget(
        budget.seconds, budget.n_workers, metadata, _kind_of_search(method.algorithm)
    )
    cross_validation = None
    if metadata.folds:
        cross_validation = default_cross_validation(space, task, objectives, metadata.folds, time)
    candidates = portfolio(space, metadata, metric=objectives[0].metric)
    strategy, baselines = _strategy_and_baselines(method, metadata, candidates, budget, time)
    study = Study(
        space,
        default_evaluator(
            space, task, objectives, limits, folds=cross_validation, phase_shares=time.phase_shares
        ),
        strategy=strategy,
        objectives=objectives,
        limits=limits,
        baselines=baselines,
        run=folder,
        seed=method.seed,
        executor=executor or Supervised(budget.n_workers, memory_limit=budget.memory),
        time=time,
        record=RunRecord(
            {"data": task.fingerprint}, _notes(task, metadata), partial(_trial_name, space)
        ),
    )
    check_folds(study.trials, folder)
    return OpenedSearch(study, task, cross_validation)


def _with_folds(
    metadata: TaskMetadata, folder: Path, budget: SearchBudget, method: Method
) -> TaskMetadata:
    """Return the metadata with the number of folds: that of the earlier run, or one for the time."""
    if not metadata.columns or isinstance(method.algorithm, OneShot):
        return metadata
    earlier = saved_metadata(folder)
    folds = earlier.folds if earlier else 0
    return replace(metadata, folds=folds or n_folds(budget.seconds, budget.n_workers, metadata))


def _strategy_and_baselines(
    method: Method,
    metadata: TaskMetadata,
    candidates: list[Candidate],
    budget: SearchBudget,
    time: TimeBudget,
) -> tuple[Strategy | Algorithm, list[Candidate]]:
    """Return the strategy, and the candidates that are evaluated before it proposes.

    Over folds, the portfolio is part of a strategy's successive halving, unless it is a finished
    strategy. For images and supernets one model is trained for safety; what remains of the budget is
    for the strategy.
    """
    algorithm = method.algorithm
    if metadata.image and not metadata.space and method.strategy == DEFAULT_STRATEGY:
        seconds = math.inf if budget.seconds is None else comparison_seconds(time)
        rungs = PortfolioRungs(
            cast("Algorithm", algorithm),
            tuple(candidates),
            image_epochs(metadata),
            metadata.rows,
            seconds,
            budget.n_workers,
            time.trial,
            metadata.image[2],
        )
        return rungs, candidates[:1]
    if metadata.image or isinstance(algorithm, OneShot):
        return algorithm, candidates[:1]
    if metadata.folds and not is_strategy(algorithm):
        halving = portfolio_then_halving(cast("Algorithm", algorithm), candidates, metadata.folds)
        return halving, []
    return algorithm, candidates


def _kind_of_search(algorithm: Strategy | Algorithm) -> SearchKind:
    """Return what the strategy needs time for."""
    if isinstance(algorithm, OneShot):
        return "supernet"
    return "none" if isinstance(algorithm, NoSearch) else "candidates"


def _notes(task: Task, metadata: TaskMetadata) -> dict[str, str]:
    """Return what the run records of its task, so that it can be read without the data."""
    return {
        "data in words": summary(task),
        "name": task.name,
        "brief": metadata.json(),
        "data notes": "\n".join(task.notes),
    }


def _trial_name(space: Space[Any], trial: Trial) -> str:
    """Return the trial's family of models, or its model if the space has one family."""
    return short_name(trial) if trial.family else describe_trial(trial, space.fill)


def _run_folder(run: object) -> Path | None:
    """Return the run folder that the user chose, if any; InputError unless it is a path."""
    if run is not None and not isinstance(run, str | Path):
        raise InputError(expected("run", "the path of a folder", run))
    return Path(run) if run else None


def _metadata_for(
    task: Task, method: Method, measured: Sequence[Objective | Limit]
) -> TaskMetadata:
    """Return the task's metadata with the families to search.

    These are families that the strategy can search and that have the measured metrics.

    Raises:
        InputError: The user chose other families.
    """
    metadata = replace(TaskMetadata.from_task(task), space=space_name(method.space))
    families = method.family_names
    if metadata.image:
        if families:
            raise InputError(expected("families", "left out for images", ", ".join(families)))
        return metadata
    if method.space is not None:
        return metadata
    if isinstance(method.algorithm, OneShot):
        if set(families) - {"network"}:
            rule = "network alone for a strategy that trains a supernet"
            raise InputError(expected("families", rule, ", ".join(families)))
        return replace(metadata, families=("network",))
    searched = check_families(families)
    if costs := network_costs(bound.metric for bound in measured):
        if others := [name for name in families if name not in NETWORK_FAMILIES]:
            networks = ", ".join(NETWORK_FAMILIES)
            rule = f"networks ({networks}), since {min(costs)} is an objective or a limit"
            raise InputError(expected("families", rule, ", ".join(others)))
        searched = tuple(name for name in searched if name in NETWORK_FAMILIES)
    return replace(metadata, families=searched)


def default_run_folder(
    task: Task,
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    method: Method,
    space: Space[Any] | None = None,
) -> Path:
    """Return ``runs/adult-3f9c1a``: the data's name, and a hash of the settings of the search.

    Args:
        task: the task.
        objectives: what is optimised.
        limits: bounds on metrics.
        method: strategy, families and seed.
        space: the user's own space, if any.
    """
    settings: list[object] = [
        task.name,
        task.kind,
        [objective.metric for objective in objectives],
        [str(limit) for limit in limits],
    ]
    if method.family_names:
        settings.append(sorted(method.family_names))
    if space is not None:
        settings.append(space.fingerprint)
    text = json.dumps([*settings, str(method.strategy), method.seed])
    name = folder_name(task.name) or "run"
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
