"""What a search shall improve, checked against the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.data.task import Images, Task
from netwright.errors import InputError, expected, plural
from netwright.trials.metrics import METRICS, default_metric, defined, metric
from netwright.trials.objective import Limit, Objective, limits, objectives


@dataclass(frozen=True)
class Goal:
    """What to improve, and within which bounds.

    Objectives empty: the task's metric; of images also the size of the network.
    """

    objectives: str | Objective | Sequence[str | Objective] | None = ()
    limits: str | Limit | Sequence[str | Limit] | None = ()

    def resolve(self, task: Task) -> tuple[tuple[Objective, ...], tuple[Limit, ...]]:
        """Objectives and limits, checked against the task."""
        known = defined(task.kind, task.target[task.validation], len(task.classes))
        name = default_metric(task.kind)
        if name not in known:  # auc, where a class is not among the validation rows
            name = "log_loss"
        usual = (name, "parameters") if isinstance(task.features, Images) else (name,)
        given = self.objectives
        left_out = given is None or (isinstance(given, Sequence) and not len(given))
        wanted = objectives(usual if left_out or given is None else given)
        bounds = limits(() if self.limits is None else self.limits)
        for name in [*(one.metric for one in wanted), *(limit.metric for limit in bounds)]:
            _refuse_foreign(name, task)
            _refuse_undefined(name, task, known)
        return wanted, bounds


def _refuse_undefined(name: str, task: Task, known: Sequence[str]) -> None:
    """InputError when the validation rows do not say what the metric is: auc without a class."""
    if METRICS[name].kinds and name not in known:
        rows = "rows of every class" if task.classes else "rows of different values"
        fix = "log_loss" if task.classes else "rmse"
        raise InputError(
            f"{name} needs {rows} for validation, got {plural(len(task.validation), 'row')} without. "
            f"Use {fix}, or other validation rows."
        )


def _refuse_foreign(name: str, task: Task) -> None:
    """InputError when a metric judges another kind of task."""
    kinds = metric(name).kinds
    if kinds and task.kind not in kinds:
        rule = f"a metric of {task.kind} tasks"
        raise InputError(expected("objective", rule, name, f"Try {default_metric(task.kind)}."))
