"""The contract of benchmarks: what strategies are compared on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.evaluator import Capabilities
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.trials.trial import Metrics


class Benchmark(Protocol):
    """Candidates whose metrics are cheap to look up; sent to worker processes, so it must pickle."""

    @property
    def space(self) -> Space[Any]:
        """The space of the candidates."""
        ...

    @property
    def name(self) -> str:
        """The name for headings."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics at fidelity 1."""
        ...

    @property
    def fidelities(self) -> Mapping[float, Collection[str]]:
        """Fidelity in (0, 1] -> names of the metrics at it."""
        ...

    @property
    def repetition(self) -> Literal["mean", "one"]:
        """Whether metrics are means of repetitions, or of the one that a seed selects."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities as an evaluator, among them what may be known before an evaluation."""
        ...

    @property
    def best(self) -> Mapping[str, float] | None:
        """The best possible metrics, as far as they are known; None: those of `metric_means`."""
        ...

    @property
    def n_candidates(self) -> int:
        """The number of candidates that `metric_means` has."""
        ...

    def look_up(
        self,
        candidate: Candidate,
        fidelity: float = 1.0,
        seed: int = 0,
        required: Collection[str] | None = None,
    ) -> Metrics:
        """Return the metrics of a candidate.

        Args:
            candidate: of the space.
            fidelity: one of the benchmark's.
            seed: selects the repetition if `repetition` is "one".
            required: metrics without which the candidate is infeasible; None for all.

        Raises:
            InfeasibleCandidate: it cannot be evaluated, or lacks a required metric.
        """
        ...

    def stand_in(self, candidate: Candidate) -> Candidate:
        """Return the candidate that is evaluated in the place of another; usually itself."""
        ...

    def metric_means(self, metric: str, fidelity: float = 1.0) -> NDArray[np.float64]:
        """Return a metric of all candidates that are known, or of a sample, from which scales follow.

        Args:
            metric: one of the benchmark's.
            fidelity: one of the benchmark's.

        Returns:
            (candidates,) means over the repetitions, NaN for a candidate without any.
        """
        ...

    def with_mean_repetitions(self) -> Benchmark:
        """Return the same benchmark with `repetition` "mean"."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return what distinguishes the benchmark from others, as JSON."""
        ...
