"""What of a finished search is worth delivering: the best, and what is less good and faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from netwright.automl.averages import (
    cross_validation,
    few_members,
    judge_of,
    known_average,
    members_of,
    seconds_of_refit,
)
from netwright.automl.ensembles import Choice, Member, choose, members
from netwright.data.task import Task
from netwright.evaluators.latency import Latency
from netwright.study.study import Study
from netwright.trials.trial import Trial

_FRONT = 24
"""So many members of the front are exported and measured; the best come first."""
_ALONE = 3
"""So many single candidates of a table are, beside the averages: one a family, the best."""
_KEPT = (2, 1)
"""Members that are kept of a network of members: faster in proportion."""
_SMALL = 2
"""Models in the small average: faster than the large one."""
_UNSURE = 1.5
"""Times as long as expected: what a fit may take before there is no use in beginning it."""

Offer = Trial | Choice | Callable[[], Choice]
"""What is to be delivered: a trial, or an average that is to become one, or to be made first."""


def _front(study: Study[Any]) -> Iterator[Offer]:
    yield from study.front[:_FRONT]


def offers(study: Study[Any], task: Task, end: float) -> tuple[Iterator[Offer], Iterator[Offer]]:
    """What may be delivered, the best first, and what is faster than its first.

    Of a search over folds: the best average, the best candidates alone, a small average; faster
    ones of these. The front alone where an objective is of networks: an average has no such figure.
    """
    folds = cross_validation(study)
    if folds is None:
        return _front(study), iter(())
    found = members(study.trials, study.trial_folder)
    known = {*folds.metrics, *Latency(study.space, task).metrics}
    if not found or any(one.metric not in known for one in study.objectives):
        return _front(study), iter(())
    target, judge = task.target[folds.rows], judge_of(study, task)
    whole = choose(found, task.kind, target, judge)
    small = choose(found, task.kind, target, judge, steps=_SMALL)
    averages = [whole, *([small] if len(small.shares) < len(whole.shares) else ())]
    best = _families(study, found)
    full = [_alone(found, one) or one for one in averages]
    first = iter([full[0], *best, *full[1:]])
    return first, _faster(study, task, best, averages, end) if len(folds.tasks) > 1 else iter(())


def _faster(
    study: Study[Any], task: Task, best: list[Trial], averages: list[Choice], end: float
) -> Iterator[Offer]:
    """One model of each candidate: fitted again on all rows, or that of a fold; averages of these;
    a few members of networks that are many."""
    singles: dict[int, Choice] = {}
    known = {trial.id: trial for trial in study.trials}

    def each(numbers: Iterable[int]) -> Iterator[Choice]:
        for number in numbers:
            if number not in singles:
                singles[number] = _single(study, task, known[number], end)
                yield singles[number]

    *large, small = averages
    yield from each([*(one.id for one in best), *small.shares])
    yield from _of_singles(study, small, singles)
    for trial in best:
        for keep in (k for k in _KEPT if k < members_of(study, task, trial)):
            few = Choice({trial.id: 1.0}, 1.0, {}, light=True, members=keep)
            yield known_average(study, few) or partial(few_members, study, task, trial, keep)
    for whole in large:
        yield from each(whole.shares)
        yield from _of_singles(study, whole, singles)


def _of_singles(study: Study[Any], whole: Choice, singles: Mapping[int, Choice]) -> list[Choice]:
    """The average, of one model for each of its members; none where that is the single itself."""
    made = {number: known_average(study, singles[number]) for number in whole.shares}
    if len(made) == 1 and (whole.temperature, whole.threshold) == (1, 0.5):
        return []
    if not all(made.values()):  # one of them could not be made
        return [replace(whole, light=True)]
    return [replace(whole, shares={t.id: whole.shares[n] for n, t in made.items() if t})]


def _single(study: Study[Any], task: Task, trial: Trial, end: float) -> Choice:
    """One model of the trial's candidate: of all rows, where its kind and the time allow that."""
    again = Choice({trial.id: 1.0}, 1.0, trial.metrics, refit=True)
    seconds = seconds_of_refit(study, task, trial)
    if known_average(study, again):
        return again
    if seconds is None or time.monotonic() + _UNSURE * seconds > end:
        return replace(again, refit=False, light=True)
    return again


def _alone(found: list[Member], choice: Choice) -> Trial | None:
    """The trial, where the average is of one and changes nothing."""
    if len(choice.shares) > 1 or (choice.temperature, choice.threshold) != (1, 0.5):
        return None
    trial = next(one.trial for one in found if one.trial.id in choice.shares)
    return trial if trial.proposal.fidelity == 1 else None


def _families(study: Study[Any], found: list[Member]) -> list[Trial]:
    """The best trial of each of the best families, of full fidelity."""
    first = study.objectives[0]
    most = max(one.folds for one in found)
    full = [one.trial for one in found if one.folds == most and one.trial.proposal.fidelity == 1]
    best: dict[object, Trial] = {}
    for trial in sorted(full, key=lambda one: first.loss(one.metrics)):
        best.setdefault(trial.candidate.values.get(""), trial)
    return list(best.values())[:_ALONE]
