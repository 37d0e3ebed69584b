"""Three ways to put evaluators together: one after the other, with limits between, and remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netwright.errors import InfeasibleCandidate, InputError, Phrase, expected
from netwright.interfaces.evaluator import Capabilities, Evaluator, capabilities_of, merged
from netwright.trials.objective import Limit
from netwright.trials.trial import Job, Metrics


def combine(*evaluators: Evaluator) -> Evaluator:
    """All of them, in this order, in the same folder: a later one may use an earlier one's files.

    Raises InputError when two measure the same metric.
    """
    return cascade(*evaluators)


def cascade(*evaluators: Evaluator, limits: Sequence[Limit] = ()) -> Evaluator:
    """The cheap first: a candidate that breaks one of the `limits` is refused before the dear.

    A limit counts from the moment its metric is known; one on the last evaluator's metrics refuses
    nothing (the trial is paid for: it is recorded, outside its limits). Raises InputError when two
    measure the same metric, or when no fidelity is common to all.
    """
    counts = Counter(name for one in evaluators for name in one.metrics)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise InputError(expected("evaluators", "of different metrics", twice, "Leave one out."))
    merged(map(capabilities_of, evaluators))
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
    def capabilities(self) -> Capabilities:
        return merged(map(capabilities_of, self.evaluators))

    def __call__(self, job: Job) -> Metrics:
        found: dict[str, float] = {}
        for position, evaluator in enumerate(self.evaluators, start=1):
            found |= evaluator(job)
            if position < len(self.evaluators):  # after the last one there is nothing to save
                self._refuse(found)
        return found

    def _refuse(self, found: Metrics) -> None:
        for limit in self.limits:
            if limit.metric in found and not limit.keeps(found):
                raise InfeasibleCandidate(f"{limit} is broken: {found[limit.metric]:g}")


def cached(evaluator: Evaluator) -> Evaluator:
    """Answers again what it has answered, by candidate and fidelity, within one process.

    For evaluators that look neither at the seed nor at the folder: tables, costs. Raises InputError
    for one that leaves files: the second of two equal trials would have none.
    """
    capabilities = capabilities_of(evaluator)
    if capabilities.leaves_files or capabilities.keeps:
        got = Phrase(f"{type(evaluator).__name__}, which leaves files")
        rule = "one whose metrics are all that it gives"
        raise InputError(expected("a cached evaluator", rule, got, "Leave cached() out."))
    return _Cached(evaluator)


@dataclass(frozen=True)
class _Cached:
    evaluator: Evaluator
    answers: dict[tuple[str, float], Metrics] = field(default_factory=dict, compare=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.evaluator.metrics

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self.evaluator)

    def __call__(self, job: Job) -> Metrics:
        key = (job.proposal.candidate.key, job.proposal.fidelity)
        if key not in self.answers:
            self.answers[key] = self.evaluator(job)
        return self.answers[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Cached, (self.evaluator,))  # the answers stay where they were found
