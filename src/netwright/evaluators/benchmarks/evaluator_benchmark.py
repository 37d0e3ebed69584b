"""Benchmarks of an evaluator: a function, or a surrogate model of trained networks."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InfeasibleCandidate, InputError, Phrase, closest, expected
from netwright.files.digest import digest_of_sources
from netwright.interfaces.evaluator import Capabilities, Evaluator, capabilities_of
from netwright.interfaces.knowledge import Knowledge
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics, Proposal

_SAMPLE_SEED = 20_261_201
_REPORT_SEED = 0
"""Seed of the evaluations that report a score, with `repetition` "mean"."""


@dataclass(frozen=True)
class EvaluatorBenchmark:
    """A benchmark of any evaluator, such as a function of a candidate or a surrogate model.

    The scales of its metrics are those of random candidates, which are evaluated once. Where the
    best metric is unknown, regret is the distance to the best that any run of a comparison reports.

    Args:
        space: of the candidates.
        evaluator: an evaluator, fast and deterministic in the seed of its job.
        best: metric -> the best possible value, as far as it is known.
        n_random: number of random candidates that are evaluated for the scales.
        repetition: "mean" evaluates all trials with one seed, "one" each with its own.
        knowledge: what strategies may know of candidates; None for what the evaluator declares.

    Raises:
        InputError: the evaluator names no metrics, `best` names others, or there is no random
            candidate that it can evaluate.

    Example:
        >>> def sphere(job):
        ...     return {"loss": job.proposal.candidate.values["x"] ** 2}
        >>> sphere.metrics = ("loss",)
        >>> benchmark = EvaluatorBenchmark(Space({"x": Float(-1, 1)}), sphere, best={"loss": 0})
    """

    space: Space[Any]
    evaluator: Evaluator
    best: Mapping[str, float] = field(default_factory=dict)
    n_random: int = 200
    repetition: Literal["mean", "one"] = "mean"
    knowledge: Knowledge | None = None

    def __post_init__(self) -> None:
        if not callable(self.evaluator) or not getattr(self.evaluator, "metrics", ()):
            fix = "Set it: evaluate.metrics = ('loss',)."
            rule = "a callable with an attribute metrics"
            raise InputError(expected("evaluator", rule, self.evaluator, fix))
        if unknown := set(self.best) - set(self.metrics):
            fix = closest(sorted(unknown)[0], self.metrics)
            raise InputError(expected("best", "of its metrics", sorted(unknown)[0], fix))
        for metric, bound in self.best.items():
            if not math.isfinite(bound):
                raise InputError(expected(f"best of {metric}", "a finite number", bound))
        if self.n_random < 1:
            raise InputError(expected("n_random", "at least 1", self.n_random))
        if self.repetition not in ("mean", "one"):
            raise InputError(expected("repetition", "mean or one", self.repetition))

    @property
    def name(self) -> str:
        """Name of the function, or of the evaluator's class."""
        named = getattr(self.evaluator, "__name__", None)
        return str(named or type(self.evaluator).__name__)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The evaluator's metrics."""
        return tuple(self.evaluator.metrics)

    @property
    def fidelities(self) -> Mapping[float, Collection[str]]:
        """The fidelities that the evaluator declares, else 1; all have its metrics."""
        declared = capabilities_of(self.evaluator).fidelities or (1.0,)
        return dict.fromkeys(declared, self.metrics)

    @property
    def capabilities(self) -> Capabilities:
        """The evaluator's capabilities; `knowledge`, if it is given, replaces the evaluator's."""
        declared = capabilities_of(self.evaluator)
        knowledge = declared.knowledge if self.knowledge is None else self.knowledge
        return replace(declared, fidelities=tuple(self.fidelities), knowledge=knowledge)

    @property
    def n_candidates(self) -> int:
        """The number of random candidates that set the scales."""
        return self.n_random

    def look_up(
        self,
        candidate: Candidate,
        fidelity: float = 1.0,
        seed: int = 0,
        required: Collection[str] | None = None,
    ) -> Metrics:
        """Evaluate a candidate.

        Args:
            candidate: of the space.
            fidelity: one of the benchmark's.
            seed: of the evaluation if `repetition` is "one".
            required: metrics without which the candidate is infeasible; None for all.

        Returns:
            Its metrics.

        Raises:
            InfeasibleCandidate: the evaluator says so, or a required metric is not finite.
        """
        seed = _REPORT_SEED if self.repetition == "mean" else seed
        key = (candidate, fidelity, seed)
        if key not in self._evaluated:  # a score is reported of what has just been evaluated
            with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
                job = Job(Proposal(candidate, fidelity), seed, Path(folder))
                self._evaluated[key] = dict(self.evaluator(job))
        metrics = dict(self._evaluated[key])
        for name in self.metrics if required is None else required:
            if not math.isfinite(metrics.get(name, math.nan)):
                raise InfeasibleCandidate(f"{self.name} has no {name}")
        return metrics

    def stand_in(self, candidate: Candidate) -> Candidate:
        """Return the candidate that is evaluated in the place of another: itself.

        Args:
            candidate: of the space.

        Returns:
            The candidate.
        """
        return candidate

    def metric_means(self, metric: str, fidelity: float = 1.0) -> NDArray[np.float64]:
        """Return a metric of the random candidates, which are evaluated with the first.

        Args:
            metric: one of the evaluator's.
            fidelity: one of the benchmark's.

        Returns:
            (candidates,) NaN for a candidate that cannot be evaluated.

        Raises:
            InputError: the evaluator has no such metric.
        """
        if metric not in self.metrics:
            fix = closest(metric, self.metrics) or f"It has: {', '.join(self.metrics)}."
            raise InputError(expected("metric", f"one of {self.name}", metric, fix))
        return self._sample[fidelity][metric]

    def with_mean_repetitions(self) -> EvaluatorBenchmark:
        """Return the same benchmark with `repetition` "mean", which evaluates with one seed."""
        return self if self.repetition == "mean" else replace(self, repetition="mean")

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the benchmark from others, as JSON."""
        return {
            "file": self.name,
            "digest": digest_of_sources(self.evaluator),
            "space": self.space.fingerprint,
            "metrics": {f"{at:g}": list(names) for at, names in sorted(self.fidelities.items())},
            "repetition": self.repetition,
            "filter": "{}",
        }

    @cached_property
    def _sample(self) -> dict[float, dict[str, NDArray[np.float64]]]:
        """Fidelity -> metric -> (candidates,) of random candidates, NaN for infeasible ones."""
        rng = np.random.default_rng(_SAMPLE_SEED)
        candidates = [self.space.sample(rng) for _ in range(self.n_random)]
        sample = {}
        for fidelity in self.fidelities:
            rows = [self._metrics_if_feasible(candidate, fidelity) for candidate in candidates]
            sample[fidelity] = {
                name: np.array([row.get(name, math.nan) for row in rows]) for name in self.metrics
            }
        if not np.isfinite(list(sample[1.0].values())).all(0).any():
            rule = "able to evaluate a random candidate"
            raise InputError(expected(self.name, rule, Phrase(f"none of {self.n_random}")))
        return sample

    @cached_property
    def _evaluated(self) -> dict[tuple[Candidate, float, int], Metrics]:
        """Candidate, fidelity and seed -> metrics of this process's evaluations."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the evaluations, but not the sample: workers need not evaluate it again."""
        return {name: field for name, field in self.__dict__.items() if name != "_evaluated"}

    def _metrics_if_feasible(self, candidate: Candidate, fidelity: float) -> Metrics:
        try:
            return self.look_up(candidate, fidelity)
        except InfeasibleCandidate:
            return {}
