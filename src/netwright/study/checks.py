"""What a study is given has to be what it says."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.data.task import Task
from netwright.errors import InputError, Phrase, expected
from netwright.space.candidate import Candidate
from netwright.space.space import Space


def check_given(space: object, evaluator: object, task: object, baselines: object) -> None:
    """InputError for what is no space, no evaluator, no task or no list of candidates."""
    if not isinstance(space, Space):
        got = Phrase(type(space).__name__)
        raise InputError(expected("space", "a Space", got, "Make one: Space(description)."))
    if task is not None and not isinstance(task, Task):
        raise InputError(expected("task", "a Task", task, "Make one: netwright.task(data)."))
    if evaluator is not None:
        _check_evaluator(evaluator)
    if not isinstance(baselines, Sequence) or not all(
        isinstance(one, Candidate) for one in baselines
    ):
        fix = "Make them of decisions: Candidate({path: value, ...})."
        raise InputError(expected("baselines", "a list of Candidates", baselines, fix))


def _check_evaluator(evaluator: object) -> None:
    name = Phrase(getattr(evaluator, "__qualname__", type(evaluator).__name__))
    if isinstance(evaluator, type):
        got = Phrase(f"the class {name}")
        raise InputError(expected("evaluator", "an object", got, f"Make one: {name}(...)."))
    metrics = getattr(evaluator, "metrics", None)
    named = isinstance(metrics, Sequence) and not isinstance(metrics, str)
    if not callable(evaluator) or not named or not all(isinstance(one, str) for one in metrics):  # type: ignore[union-attr]  # named
        rule = "called with a job, and have `metrics`, a tuple of the names of what it measures"
        fix = 'Of a function f: f.metrics = ("loss",).'
        got = Phrase(f"{name} with metrics {metrics!r}" if metrics is not None else name)
        raise InputError(expected("evaluator", rule, got, fix))
