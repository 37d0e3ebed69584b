"""What a study is given has to be what it says."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.data.task import Task
from netwright.errors import InputError, Phrase, expected
from netwright.interfaces.checks import check_evaluator
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
        check_evaluator(evaluator)
    if not isinstance(baselines, Sequence) or not all(
        isinstance(one, Candidate) for one in baselines
    ):
        fix = "Make them of decisions: Candidate({path: value, ...})."
        raise InputError(expected("baselines", "a list of Candidates", baselines, fix))
