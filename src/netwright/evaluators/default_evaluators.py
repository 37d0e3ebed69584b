"""The default evaluators of a task, chosen by its objectives and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netwright.data.task import Images, Task
from netwright.errors import InputError
from netwright.evaluators.costs import NetworkCosts, cost_predictors
from netwright.evaluators.latency import Latency
from netwright.evaluators.training.cross_validation import CrossValidate
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.evaluators.wrappers import cascade, combine
from netwright.interfaces.evaluator import Evaluator
from netwright.space.space import Space
from netwright.trials.objective import Limit, Objective
from netwright.trials.time_budget import PhaseShares, TimeBudget

_N_KEPT_IMAGE_TRIALS = 20
"""Trials of images whose predictions are compared row by row before the final training."""


def default_evaluator(
    space: Space[Any],
    task: Task,
    objectives: Sequence[Objective],
    limits: Sequence[Limit] = (),
    *,
    folds: CrossValidate | None = None,
    phase_shares: PhaseShares = PhaseShares(),
    until_deadline: bool = False,
) -> Evaluator:
    """Return an evaluator of costs, then training, then (if a goal needs it) latency.

    A candidate whose costs break a limit is refused before it is trained. The evaluator gets the
    task without its test rows, so that a search cannot see them.

    Args:
        space: of the candidates.
        task: trains and scores them.
        objectives: metrics to optimise.
        limits: bounds on metrics.
        folds: trains candidates in place of `TrainAndValidate`.
        phase_shares: how a trial, or a supernet, divides its time.
        until_deadline: see `TrainAndValidate`.

    Raises:
        InputError: an objective or limit is not a metric of such a task.
    """
    task = replace(task, test=None)
    goals = {objective.metric for objective in objectives} | {limit.metric for limit in limits}
    costs = NetworkCosts(space, task, cost_predictors(sorted(goals)))
    training: Evaluator = folds or TrainAndValidate(
        space,
        task,
        _monitored_metric(objectives, task),
        phase_shares=phase_shares,
        until_deadline=until_deadline,
        n_kept=_N_KEPT_IMAGE_TRIALS if isinstance(task.features, Images) else 0,
    )
    latency = Latency(space, task)
    # limits on training metrics refuse nothing: the trial is paid for, and shows how far it is off
    needs_costs = not folds or goals & set(costs.metrics)  # many families have no such costs
    trained = cascade(costs, training, limits=limits) if needs_costs else training
    stages: list[Evaluator] = [trained]
    if goals & set(latency.metrics):
        stages.append(latency)
    if unknown := goals - {name for stage in stages for name in stage.metrics}:
        raise InputError(
            f"objectives and limits must be metrics of a {task.kind} task, got {min(unknown)!r}. "
            f"It has: {', '.join(name for stage in [*stages, latency] for name in stage.metrics)}."
        )
    return combine(*stages)


def default_cross_validation(
    space: Space[Any], task: Task, objectives: Sequence[Objective], n_folds: int, time: TimeBudget
) -> CrossValidate:
    """Return a cross-validation of the task without its test rows, within the time of a fold."""
    task = replace(task, test=None)
    return CrossValidate(
        space, task, n_folds, _monitored_metric(objectives, task), time.fold, time.phase_shares
    )


def _monitored_metric(objectives: Sequence[Objective], task: Task) -> str:
    """Return the first objective that can be scored on validation rows; empty if there is none."""
    from netwright.trials.metrics import METRICS

    names = (objective.metric for objective in objectives if objective.metric in METRICS)
    return next((name for name in names if task.kind in METRICS[name].kinds), "")
