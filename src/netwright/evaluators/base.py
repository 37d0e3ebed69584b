"""The door for measuring candidates, and three ways to put evaluators together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.trials.objective import Limit
from netwright.trials.trial import Job, Metrics


class Evaluator(Protocol):
    """Measures one candidate at one fidelity. Sent to worker processes: it must pickle.

    It may have a `warm_up()`: called once in each worker before its first job, so that no trial
    pays for imports.

    It may say its `fidelities`, where it can measure at no others, and have a `knowledge` of
    candidates, where it knows something before measuring; strategies are given both. One that
    trains networks may have a `supernet(method, folder, seed, make, objectives, limits, start)`,
    which makes a `Shortlist` for strategies that search over shared weights.

    It may say how many folders of the best trials it `keeps`, where children start from what their
    parents have left: those of a strategy's `breeders` stay as well. Its `identity`, texts by
    name, are settings without which a run folder must not be gone on with.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what it measures; a plain attribute will do."""
        ...

    def __call__(self, job: Job) -> Metrics:
        """The metrics of the job's candidate.

        Raises InfeasibleCandidate when it cannot be built, trained or afforded. Ends by itself
        before `job.deadline`: what does not is killed.
        """
        ...


def combine(*evaluators: Evaluator) -> Evaluator:
    """All of them, in this order, in the same folder: a later one may use an earlier one's files.

    Raises InputError when two measure the same metric.
    """
    return cascade(*evaluators)


def cascade(*evaluators: Evaluator, limits: Sequence[Limit] = ()) -> Evaluator:
    """The cheap first: a candidate that breaks one of the `limits` is refused before the dear.

    A limit counts from the moment its metric is known; one on the last evaluator's metrics refuses
    nothing (the trial is paid for: it is recorded, outside its limits). Raises InputError when two
    measure the same metric.
    """
    counts = Counter(name for one in evaluators for name in one.metrics)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise InputError(expected("evaluators", "of different metrics", twice, "Leave one out."))
    return _Cascade(tuple(evaluators), tuple(limits))


@dataclass(frozen=True)
class _Cascade:
    """Evaluators in a row, with the limits that end the row early."""

    evaluators: tuple[Evaluator, ...]
    limits: tuple[Limit, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(name for one in self.evaluators for name in one.metrics)

    @property
    def fidelities(self) -> tuple[float, ...]:
        """Those that all which say theirs have in common."""
        said = [set(one) for part in self.evaluators if (one := _fidelities(part))]
        return tuple(sorted(set.intersection(*said))) if said else ()

    @property
    def knowledge(self) -> Any:
        """That of the first which has some."""
        return next(filter(None, map(_knowledge, self.evaluators)), None)

    @property
    def supernet(self) -> Any:
        """That of the first which has one."""
        return next(filter(None, map(_supernet, self.evaluators)), None)

    @property
    def keeps(self) -> int:
        return max(getattr(one, "keeps", 0) for one in self.evaluators)

    @property
    def identity(self) -> Mapping[str, str]:
        return {name: text for one in self.evaluators for name, text in identity(one).items()}

    def __call__(self, job: Job) -> Metrics:
        found: dict[str, float] = {}
        for position, evaluator in enumerate(self.evaluators, start=1):
            found |= evaluator(job)
            if position < len(self.evaluators):  # after the last one there is nothing to save
                self._refuse(found)
        return found

    def warm_up(self) -> None:
        for evaluator in self.evaluators:
            getattr(evaluator, "warm_up", lambda: None)()

    def _refuse(self, found: Metrics) -> None:
        for limit in self.limits:
            if limit.metric in found and not limit.keeps(found):
                raise InfeasibleCandidate(f"{limit} is broken: {found[limit.metric]:g}")


def cached(evaluator: Evaluator) -> Evaluator:
    """Answers again what it has answered, by candidate and fidelity, within one process.

    For evaluators that look neither at the seed nor at the folder: tables, costs.
    """
    return _Cached(evaluator)


@dataclass(frozen=True)
class _Cached:
    evaluator: Evaluator
    answers: dict[tuple[str, float], Metrics] = field(default_factory=dict, compare=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.evaluator.metrics

    @property
    def fidelities(self) -> tuple[float, ...]:
        return _fidelities(self.evaluator)

    @property
    def knowledge(self) -> Any:
        return _knowledge(self.evaluator)

    @property
    def supernet(self) -> Any:
        return _supernet(self.evaluator)

    def __call__(self, job: Job) -> Metrics:
        key = (job.proposal.candidate.key, job.proposal.fidelity)
        if key not in self.answers:
            self.answers[key] = self.evaluator(job)
        return self.answers[key]

    def warm_up(self) -> None:
        getattr(self.evaluator, "warm_up", lambda: None)()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Cached, (self.evaluator,))  # the answers stay where they were found


def _fidelities(evaluator: Evaluator) -> tuple[float, ...]:
    return tuple(getattr(evaluator, "fidelities", ()))


def _knowledge(evaluator: Evaluator) -> Any:
    return getattr(evaluator, "knowledge", None)


def _supernet(evaluator: Evaluator) -> Any:
    return getattr(evaluator, "supernet", None)


def identity(evaluator: Evaluator) -> Mapping[str, str]:
    """The settings that a run folder has to be gone on with, if there are any."""
    found: Mapping[str, str] = getattr(evaluator, "identity", {})
    return found
