"""The evaluators that a task's metrics call for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netwright.data.task import Task
from netwright.errors import InputError
from netwright.evaluators.costs import NetworkCosts, predictors_of
from netwright.evaluators.latency import Latency
from netwright.evaluators.training.cross_validation import CrossValidate
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.evaluators.wrappers import cascade, combine
from netwright.interfaces.evaluator import Evaluator
from netwright.space.space import Space
from netwright.trials.objective import Limit, Objective
from netwright.trials.time_budget import PhaseShares, TimeBudget


def default_evaluator(
    space: Space[Any], task: Task, objectives: Sequence[Objective], limits: Sequence[Limit] = (), *,
    folds: CrossValidate | None = None, phases: PhaseShares = PhaseShares(),
) -> Evaluator:  # fmt: skip
    """Costs first, then training, then latency where an objective or limit asks for it.

    `folds`: what fits candidates, in place of the task's own split; `phases`: how a trial, or a
    supernet, divides its time. A candidate whose known costs
    break a limit is refused before it is trained. The evaluator is handed the task without its test
    part: a search cannot see what it does not have.
    """
    task = replace(task, test=None)
    wanted = {one.metric for one in objectives} | {one.metric for one in limits}
    costs = NetworkCosts(space, task, predictors_of(sorted(wanted)))
    training: Evaluator = folds or TrainAndValidate(
        space, task, _keep(objectives, task), phases=phases
    )
    latency = Latency(space, task)
    # a limit on what training measures refuses nothing: the trial is paid for, and says how far off
    sized = not folds or wanted & set(costs.metrics)  # many families have none of these figures
    trained = cascade(costs, training, limits=limits) if sized else training
    stages: list[Evaluator] = [trained]
    if wanted & set(latency.metrics):
        stages.append(latency)
    if unknown := wanted - {name for stage in stages for name in stage.metrics}:
        raise InputError(
            f"objectives and limits must be metrics of a {task.kind} task, got {min(unknown)!r}. "
            f"It has: {', '.join(name for stage in [*stages, latency] for name in stage.metrics)}."
        )
    return combine(*stages)


def default_cross_validation(
    space: Space[Any], task: Task, objectives: Sequence[Objective], folds: int, time: TimeBudget
) -> CrossValidate:
    """So many folds of the task without its test part, fitted within the time."""
    task = replace(task, test=None)
    return CrossValidate(space, task, folds, _keep(objectives, task), time.fold, time.phases)


def _keep(objectives: Sequence[Objective], task: Task) -> str:
    """The first objective that training can watch on the validation rows; else the default."""
    from netwright.trials.metrics import METRICS

    known = (one.metric for one in objectives if one.metric in METRICS)
    return next((name for name in known if task.kind in METRICS[name].kinds), "")
