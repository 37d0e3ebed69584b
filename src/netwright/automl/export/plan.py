"""What of a finished search is worth delivering: the best, and what is less good and faster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from netwright.automl.ensembling.average_trials import (
    cross_validation,
    few_members,
    judge_of,
    known_average,
    members_of,
)
from netwright.automl.ensembling.refits import choice_of, with_refits
from netwright.automl.ensembling.selection import Choice, Member, Truth, choose, members
from netwright.data.task import Task
from netwright.evaluators.latency import Latency
from netwright.pipelines.weighted_ensemble import has_weights
from netwright.study.study import Study
from netwright.trials.trial import Status, Trial

_FRONT = 24
"""So many members of the front are exported and measured; the best come first."""
_ALONE = 3
"""So many single candidates of a table are, beside the averages: one a family, the best."""
_KEPT = (2, 1)
"""Members that are kept of a network of members: faster in proportion."""
_SMALL = 2
"""Models in the small average: faster than the large one."""

Offer = Trial | Choice | Callable[[], Choice]
"""What is to be delivered: a trial, or an average that is to become one, or to be made first."""


@dataclass(frozen=True)
class Wanted:
    """The averages of a search over folds, the best and perhaps a smaller one; the best candidates
    by themselves, one a family. `alone`: the one trial that the best average is of, if it is.
    `bytes`: what the models of the best average take on disk; `single_bytes`: those of `best`."""

    averages: tuple[Choice, ...]
    best: tuple[Trial, ...]
    alone: Trial | None
    bytes: int
    single_bytes: tuple[int, ...] = ()

    @property
    def singles(self) -> list[int]:
        """The candidates whose single models are worth having."""
        return [*(one.id for one in self.best), *self.averages[-1].shares]


def wanted_of(
    study: Study[Any], task: Task, notes: list[str], without: Collection[int] = ()
) -> Wanted | None:
    """None where there are no folds to choose by, or an objective is of networks: an average has no
    such figure. It is the front alone then.

    `notes` takes sentences on trials whose predictions cannot be read; trials `without` take no
    part.
    """
    folds = cross_validation(study)
    if folds is None:
        return None
    trials = [trial for trial in study.trials if trial.id not in without]
    found, broken = members(trials, study.kept_folder, folds.rows_known, len(task.classes))
    notes += [sentence for sentence in broken if sentence not in notes]
    known = {*folds.metrics, *Latency(study.space, task).metrics}
    if not found or any(one.metric not in known for one in study.objectives):
        return None
    metric, target = judge_of(study, task), task.target[folds.rows]
    truth = Truth(target, task.groups_of(folds.rows), task.weights_of(folds.rows))
    whole = choose(found, task.kind, truth, metric)
    most = max(one.folds for one in found)
    full = [one for one in found if one.folds == most]
    small = choose(full, task.kind, truth, metric, _SMALL)
    averages = _worth_having(study, whole, small, {one.trial.id for one in full})
    size = sum(one.bytes for one in found if one.trial.id in averages[0].shares)
    best = _families(study, found)
    bytes_of = {one.trial.id: one.bytes for one in found}
    singles = tuple(bytes_of[trial.id] for trial in best)
    return Wanted(averages, tuple(best), _alone(found, averages[0]), size, singles)


def front(study: Study[Any]) -> Iterator[Offer]:
    """Of trials that have been measured each by itself."""
    yield from study.front[:_FRONT]


def behind_front(study: Study[Any]) -> Iterator[Offer]:
    """The other finished trials that have left something, best first: where nothing of the front
    can be read."""
    ahead = {trial.id for trial in study.front[:_FRONT]}
    done = [one for one in study.trials if one.status is Status.DONE and one.id not in ahead]
    done = [one for one in done if all(limit.keeps(one.metrics) for limit in study.limits)]
    for trial in sorted(done, key=lambda one: study.objectives[0].loss(one.metrics)):
        if trial.proposal.fidelity == 1 and has_weights(study.kept_folder(trial.id)):
            yield trial


def first(study: Study[Any], wanted: Wanted) -> Iterator[Offer]:
    """The best average, then what is delivered where it cannot be.

    It has the refits that there are beside the folds' models.
    """
    whole, fuller = wanted.averages[0], with_refits(study, wanted.averages[0])
    if fuller.shares != whole.shares:
        yield fuller
    if fuller.shares == whole.shares or known_average(study, fuller) is None:
        yield wanted.alone or whole
    yield from wanted.best
    yield from (one for one in wanted.averages[1:] if len(one.shares) > 1)


def faster(study: Study[Any], task: Task, wanted: Wanted) -> Iterator[Offer]:
    """One model of each candidate: fitted again on all rows, or that of a fold; averages of these;
    a few members of networks that are many."""
    folds = cross_validation(study)
    if folds is None or len(folds.tasks) < 2:
        return
    singles: dict[int, Choice] = {}
    known = {trial.id: trial for trial in study.trials}

    def each(numbers: Iterable[int]) -> Iterator[Choice]:
        for number in numbers:
            if number not in singles:
                singles[number] = _single(study, known[number])
                yield singles[number]

    *large, small = wanted.averages
    yield from each(wanted.singles)
    yield from _of_singles(study, small, singles)
    for trial in wanted.best:
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


def _single(study: Study[Any], trial: Trial) -> Choice:
    """One model of the trial's candidate: of all rows where there is one."""
    again = choice_of(trial)
    return again if known_average(study, again) else replace(again, refit=False, light=True)


def _worth_having(
    study: Study[Any], whole: Choice, small: Choice, full: set[int]
) -> tuple[Choice, ...]:
    """The best first. What is smaller and no worse on the same rows leaves nothing to the larger:
    those are chosen on some of the rows."""
    if len(small.shares) >= len(whole.shares):
        return (whole,)
    loss = study.objectives[0].loss
    no_worse = full >= whole.shares.keys() and loss(small.metrics) <= loss(whole.metrics)
    return (small,) if no_worse else (whole, small)


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
