"""Combine evaluators: one after the other, with limits between them, or cached."""

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
    """Combine evaluators: all run in this order, in the same folder, for each candidate.

    A later evaluator may use the files of an earlier one.

    Args:
        *evaluators: of different metrics.

    Returns:
        An evaluator of all their metrics.

    Raises:
        InputError: two measure the same metric, or no fidelity is common to all.

    Example:
        >>> evaluator = combine(TrainAndValidate(space, task), Latency(space, task))
    """
    return cascade(*evaluators)


def cascade(*evaluators: Evaluator, limits: Sequence[Limit] = ()) -> Evaluator:
    """Combine evaluators, cheap ones first: a candidate that breaks a limit skips the rest.

    A limit is checked as soon as its metric is measured. Limits on the last evaluator's metrics
    refuse nothing, since nothing is left to save: the trial is recorded, outside its limits.

    Args:
        *evaluators: of different metrics, in the order in which they run.
        limits: bounds on their metrics.

    Returns:
        An evaluator of all their metrics, which raises InfeasibleCandidate for a broken limit.

    Raises:
        InputError: two measure the same metric, or no fidelity is common to all.

    Example:
        >>> costs, training = NetworkCosts(space, task), TrainAndValidate(space, task)
        >>> evaluator = cascade(costs, training, limits=[Limit("parameters", at_most=1e5)])
    """
    counts = Counter(name for evaluator in evaluators for name in evaluator.metrics)
    duplicates = sorted(name for name, count in counts.items() if count > 1)
    if duplicates:
        raise InputError(
            expected("evaluators", "of different metrics", duplicates, "Leave one out.")
        )
    merged(map(capabilities_of, evaluators))
    return _Cascade(tuple(evaluators), tuple(limits))


@dataclass(frozen=True)
class _Cascade:
    """Evaluators that run one after the other, until a limit is broken."""

    evaluators: tuple[Evaluator, ...]
    limits: tuple[Limit, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(name for evaluator in self.evaluators for name in evaluator.metrics)

    @property
    def capabilities(self) -> Capabilities:
        return merged(map(capabilities_of, self.evaluators))

    def __call__(self, job: Job) -> Metrics:
        metrics: dict[str, float] = {}
        for position, evaluator in enumerate(self.evaluators, start=1):
            metrics |= evaluator(job)
            if position < len(self.evaluators):  # after the last one there is nothing to save
                self._check_limits(metrics)
        return metrics

    def _check_limits(self, metrics: Metrics) -> None:
        for limit in self.limits:
            if limit.metric in metrics and not limit.keeps(metrics):
                raise InfeasibleCandidate(f"{limit} is broken: {metrics[limit.metric]:g}")


def cached(evaluator: Evaluator) -> Evaluator:
    """Cache an evaluator's metrics by candidate and fidelity, within one process.

    Args:
        evaluator: one that looks neither at the seed nor at the folder, such as a table or costs.

    Returns:
        An evaluator of the same metrics.

    Raises:
        InputError: it leaves files, which the second of two equal trials would lack.

    Example:
        >>> evaluator = cached(NetworkCosts(space, task))
    """
    capabilities = capabilities_of(evaluator)
    if capabilities.leaves_files or capabilities.keeps:
        got = Phrase(f"{type(evaluator).__name__}, which leaves files")
        rule = "one that gives nothing but metrics"
        raise InputError(expected("a cached evaluator", rule, got, "Leave cached() out."))
    return _Cached(evaluator)


@dataclass(frozen=True)
class _Cached:
    evaluator: Evaluator
    cache: dict[tuple[str, float], Metrics] = field(default_factory=dict, compare=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.evaluator.metrics

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self.evaluator)

    def __call__(self, job: Job) -> Metrics:
        key = (job.proposal.candidate.key, job.proposal.fidelity)
        if key not in self.cache:
            self.cache[key] = self.evaluator(job)
        return self.cache[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Cached, (self.evaluator,))  # a copy in another process starts with an empty cache
