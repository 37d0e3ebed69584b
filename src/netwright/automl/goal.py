"""Objectives and limits of a search, checked against its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.data.task import Task
from netwright.errors import InputError, expected, plural
from netwright.trials.metrics import METRICS, default_metric, defined, metric
from netwright.trials.objective import Limit, Objective, limits, objectives


@dataclass(frozen=True)
class Goal:
    """Objectives and limits of a search.

    Args:
        objectives: one metric or several, best first. None or empty for the default metric of the
            task.
        limits: bounds such as ``"latency<=2"``; None or empty for none.
    """

    objectives: str | Objective | Sequence[str | Objective] | None = ()
    limits: str | Limit | Sequence[str | Limit] | None = ()

    def resolve(self, task: Task) -> tuple[tuple[Objective, ...], tuple[Limit, ...]]:
        """Return objectives and limits, with the defaults of the task filled in.

        Raises:
            InputError: A metric is unknown, is one of another kind of task, or is not defined on the
                validation rows.
        """
        defined_metrics = defined(task.kind, task.target[task.validation], len(task.classes))
        default = default_metric(task.kind)
        if default not in defined_metrics:  # auc, if a class is not among the validation rows
            default = "log_loss"
        given = self.objectives
        use_default = given is None or (isinstance(given, Sequence) and not len(given))
        resolved = objectives(default if use_default or given is None else given)
        bounds = limits(() if self.limits is None else self.limits)
        for name in [
            *(objective.metric for objective in resolved),
            *(limit.metric for limit in bounds),
        ]:
            _check_kind(name, task)
            _check_defined(name, task, defined_metrics)
        return resolved, bounds


def _check_defined(name: str, task: Task, defined_metrics: Sequence[str]) -> None:
    """Raise InputError if the validation rows do not define the metric (auc needs every class)."""
    if METRICS[name].kinds and name not in defined_metrics:
        rows = "rows of every class" if task.classes else "rows of different values"
        fix = "log_loss" if task.classes else "rmse"
        raise InputError(
            f"{name} needs {rows} for validation, got {plural(len(task.validation), 'row')} without. "
            f"Use {fix}, or other validation rows."
        )


def _check_kind(name: str, task: Task) -> None:
    """Raise InputError if the metric is one of another kind of task."""
    kinds = metric(name).kinds
    if kinds and task.kind not in kinds:
        rule = f"a metric of {task.kind} tasks"
        raise InputError(expected("objective", rule, name, f"Try {default_metric(task.kind)}."))
