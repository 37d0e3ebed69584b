"""Validate the arguments of a study."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.data.task import Task
from netwright.errors import InputError, Phrase, expected
from netwright.interfaces.checks import check_evaluator
from netwright.space.candidate import Candidate
from netwright.space.space import Space


def check_study_arguments(
    space: object, evaluator: object, task: object, baselines: object
) -> None:
    """Raise InputError unless these are a space, an evaluator, a task and a list of candidates."""
    if not isinstance(space, Space):
        got = Phrase(type(space).__name__)
        raise InputError(expected("space", "a Space", got, "Make one: Space(description)."))
    if task is not None and not isinstance(task, Task):
        raise InputError(expected("task", "a Task", task, "Make one: netwright.task(data)."))
    if evaluator is not None:
        check_evaluator(evaluator)
    if not isinstance(baselines, Sequence) or not all(
        isinstance(baseline, Candidate) for baseline in baselines
    ):
        fix = "Make them of decisions: Candidate({path: value, ...})."
        raise InputError(expected("baselines", "a list of Candidates", baselines, fix))
