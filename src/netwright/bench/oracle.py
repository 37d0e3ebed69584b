"""Scoring with knowledge of the whole benchmark: its optimum, and the score of an incumbent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.bench.settings import ComparisonSettings, metric_names
from netwright.errors import InfeasibleCandidate, InputError, Phrase, closest, expected, wording
from netwright.evaluators.benchmarks.table import round_down_fidelity
from netwright.interfaces.benchmark import Benchmark
from netwright.interfaces.knowledge import DefaultKnowledge, Knowledge
from netwright.space.candidate import Candidate
from netwright.trials.objective import Objective
from netwright.trials.pareto import hypervolume, nondominated
from netwright.trials.trial import Metrics

_LOSS_TOLERANCE = 1e-12
"""Losses that differ by less are equal but for the order of summation."""
_HYPERVOLUME_TOLERANCE = 1e-9
"""Share of a hypervolume that rounding may lose."""
_COST_BOUND_QUANTILE = 0.98
"""Default bound of a minimised metric: the costliest candidates would dominate the hypervolume."""
_SCORE_BOUND_QUANTILE = 0.1
"""Default bound of a maximised metric, if no candidate is above `_SCORE_BOUND`."""
_SCORE_BOUND = 0.5
"""Default bound of a maximised metric: an accuracy or AUC no better than guessing two classes."""


class TableOracle:
    """Knowledge of a benchmark that strategies lack: its optimum, and how incumbents score.

    Args:
        table: the evaluated candidates, or another benchmark.
        settings: of the comparison.

    Attributes:
        fidelity: the one fidelity of all evaluations, or 1.
        required_metrics: what an evaluation needs to be compared; other metrics may be missing.

    Raises:
        InputError: the table lacks a metric that the settings ask for.
    """

    def __init__(self, table: Benchmark, settings: ComparisonSettings) -> None:
        self.table, self.settings = table, settings
        fidelity = settings.fidelity
        self.fidelity = 1.0 if fidelity is None else round_down_fidelity(fidelity, table.fidelities)
        self._mean = table.with_mean_repetitions()
        _check(table, settings, self.fidelity)
        required = [objective.metric for objective in settings.search]
        required += [limit.metric for limit in settings.limits]
        seconds = ["train_seconds"] if settings.clock < math.inf else []
        self.required_metrics = (*required, *seconds)

    def check(self) -> None:
        """Read the table, and raise InputError if these settings admit no meaningful run."""
        _ = self.optimum, self.worst
        if len(self.settings.search) == 1:
            _ = self.target
        else:
            _ = self._reported.total, self._searched.total

    @cached_property
    def fidelities(self) -> tuple[float, ...]:
        """The fidelities at which the table has all required metrics."""
        if self.settings.fidelity is not None:
            return (self.fidelity,)
        metrics_at = self.table.fidelities
        required = set(self.required_metrics)
        return tuple(
            sorted(fidelity for fidelity in metrics_at if required <= set(metrics_at[fidelity]))
        )

    def round_down_fidelity(self, fidelity: float) -> float:
        """Return the table's fidelity that stands for the given one."""
        return round_down_fidelity(fidelity, self.fidelities)

    def evaluate(self, candidate: Candidate, fidelity: float, seed: int) -> Metrics:
        """Return the metrics reported to a strategy; empty if the table lacks the candidate."""
        try:
            return self.table.look_up(candidate, fidelity, seed, self.required_metrics)
        except InfeasibleCandidate:
            return {}

    @cached_property
    def knowledge(self) -> Knowledge:
        """Knowledge about candidates before their evaluation, cached for all runs of a process."""
        return self.table.capabilities.knowledge or DefaultKnowledge()

    @property
    def evaluations(self) -> int:
        """Approximate number of full evaluations in a run; with a time budget, of median duration."""
        settings = self.settings
        if settings.clock == math.inf:
            return max(1, int(settings.evaluations))
        seconds = float(np.nanmedian(self._mean.metric_means("train_seconds", self.fidelity)))
        return max(1, int(min(settings.evaluations, settings.clock / seconds)))

    @cached_property
    def target(self) -> float:
        """The lowest loss that a search of one metric can evaluate; minus infinity if unknown."""
        if self.table.best is not None:
            searched = self.settings.search[0]
            is_known = searched.metric in self.table.best
            return searched.loss(self.table.best) if is_known else -math.inf
        return float(self._losses(self.settings.search[:1], self.fidelity)[:, 0].min())

    @cached_property
    def optimum(self) -> float:
        """The best score that can be reported: the best in the table, or a hypervolume share of 1.

        Of rows that can be evaluated. A search by other metrics need not choose it. NaN if it is
        unknown: then the best that any run reports takes its place.
        """
        if self.table.best is not None:
            return float(self.table.best.get(self.measured_metric, math.nan))
        if len(self.settings.report) > 1:
            return 1.0
        lowest_loss = float(self._losses(self.settings.report, 1.0)[:, 0].min())
        return lowest_loss if self.settings.report[0].direction == "min" else -lowest_loss

    @property
    def measured_metric(self) -> str:
        """Name of the reported metric; empty if several are reported."""
        return self.settings.report[0].metric if len(self.settings.report) == 1 else ""

    @property
    def knows_optimum(self) -> bool:
        """Whether it is known when a run has found the best searched metrics."""
        if len(self.settings.search) > 1:
            return self.table.best is None
        return self.target > -math.inf

    @cached_property
    def worst(self) -> float:
        """The score of a run that finds nothing within the limits."""
        if len(self.settings.report) > 1:
            return 0.0
        objective = self.settings.report[0]
        column = self._mean.metric_means(objective.metric)
        return float(np.nanmax(column) if objective.direction == "min" else np.nanmin(column))

    @property
    def references(self) -> Mapping[str, float]:
        """Map each reported metric to its hypervolume reference, from the settings or the table."""
        return self._reported.references

    @cached_property
    def _reported(self) -> HypervolumeReference:
        return self._hypervolume(self.settings.report, 1.0, self.settings.references)

    @cached_property
    def _searched(self) -> HypervolumeReference:
        """Hypervolume of the searched metrics, with the references of their test versions, if given."""
        search, bounds = self.settings.search, dict(self.settings.references)
        for objective in search:
            if (bound := bounds.get(f"test_{objective.metric}")) is not None:
                bounds.setdefault(objective.metric, bound)
        reference = self._hypervolume(search, self.fidelity, bounds)
        return reference if len(reference.inside) else self._hypervolume(search, self.fidelity, {})

    def _hypervolume(
        self, objectives: Sequence[Objective], fidelity: float, prescribed: Mapping[str, float]
    ) -> HypervolumeReference:
        """Return the hypervolume reference, with the table's own values for metrics without one."""
        bounds = {}
        for objective in objectives:
            column = self._mean.metric_means(objective.metric, fidelity)
            if objective.metric in prescribed:
                bounds[objective.metric] = prescribed[objective.metric]
            elif objective.direction == "min":
                bounds[objective.metric] = float(np.nanquantile(column, _COST_BOUND_QUANTILE))
            else:
                low = float(np.nanquantile(column, _SCORE_BOUND_QUANTILE))
                best = np.nanmax(column)
                bounds[objective.metric] = _SCORE_BOUND if best > _SCORE_BOUND else low
        return HypervolumeReference(objectives, bounds, self._losses(objectives, fidelity))

    def reaches_target(self, candidate: Candidate) -> bool:
        """Return whether the candidate is the best, or tied, for a search of one metric."""
        if not self.knows_optimum:
            return False
        metrics = self._mean.look_up(candidate, self.fidelity, required=self.required_metrics)
        within = all(limit.keeps(metrics) for limit in self.settings.limits)
        return within and self.settings.search[0].loss(metrics) <= self.target + _LOSS_TOLERANCE

    def reaches_front(self, incumbents: Sequence[Candidate]) -> bool:
        """Return whether the incumbents have all the hypervolume of the searched metrics."""
        if not self.knows_optimum:
            return False
        metrics = [
            self._mean.look_up(candidate, self.fidelity, required=self.required_metrics)
            for candidate in incumbents
        ]
        return self._searched.share(metrics) >= 1 - _HYPERVOLUME_TOLERANCE

    def reported_score(self, incumbents: Sequence[Candidate]) -> float:
        """Return the score of the incumbents: the reported metric, or with several metrics the
        share of the table's hypervolume.

        NaN without incumbents, or if the table has no reported value for any of them.
        """
        names = [objective.metric for objective in self.settings.report]
        metrics = []
        for candidate in incumbents:
            with suppress(InfeasibleCandidate):  # searched at a low fidelity, and missing at 1
                metrics.append(self._mean.look_up(candidate, required=names))
        if not metrics:
            return math.nan
        if len(names) == 1:
            return metrics[0][names[0]]
        return self._reported.share(metrics)

    def _losses(self, objectives: Sequence[Objective], fidelity: float) -> NDArray[np.float64]:
        """Return the losses (candidates, m) of those that have all metrics and satisfy the limits."""
        columns = [self._mean.metric_means(objective.metric, fidelity) for objective in objectives]
        signs = [1.0 if objective.direction == "min" else -1.0 for objective in objectives]
        losses = np.stack([sign * column for sign, column in zip(signs, columns, strict=True)], 1)
        usable = np.isfinite(losses).all(1)
        for name in self.required_metrics:
            usable &= np.isfinite(self._mean.metric_means(name, self.fidelity))
        if not usable.any():
            rule = f"a table with {metric_names(objectives)} of some candidate"
            fix = "Every row lacks one of them, or a metric that is searched or limited."
            raise InputError(expected(self.table.name, rule, Phrase("none"), fix))
        for limit in self.settings.limits:
            column = self._mean.metric_means(limit.metric, self.fidelity)
            usable &= (column <= limit.at_most) & (column >= limit.at_least)
        if not usable.any():
            limits = ", ".join(map(str, self.settings.limits))
            raise InputError(f"limits must leave a candidate of the table, got {limits}.")
        return losses[usable]


@dataclass(frozen=True)
class HypervolumeReference:
    """Hypervolume of all candidates in a table, by which that of incumbents is normalised.

    Args:
        objectives: the m metrics.
        references: metric -> its bound.
        losses: (rows, m) of the table.
    """

    objectives: Sequence[Objective]
    references: Mapping[str, float]
    losses: NDArray[np.float64]

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        """References (m,) as losses."""
        return np.array([objective.loss(self.references) for objective in self.objectives])

    @property
    def inside(self) -> NDArray[np.float64]:
        """Losses (rows, m) of the rows that are better than every reference."""
        return self.losses[(self.losses < self._bounds).all(1)]

    @cached_property
    def total(self) -> float:
        """Hypervolume of the whole table; raises InputError if no row is better than all references."""
        if not len(self.inside):
            rule = "worse than some candidate of the table"
            raise InputError(expected("reference", rule, dict(self.references)))
        return hypervolume(self.inside[nondominated(self.inside)], self._bounds)

    def share(self, metrics: Sequence[Metrics]) -> float:
        """Return the fraction of `total` that candidates with these metrics dominate."""
        losses = np.array(
            [[objective.loss(each) for objective in self.objectives] for each in metrics]
        )
        return hypervolume(losses[nondominated(losses)], self._bounds) / self.total


def _check(table: Benchmark, settings: ComparisonSettings, fidelity: float) -> None:
    """Raise InputError if the table lacks a metric that the settings ask for."""
    searched = [objective.metric for objective in settings.search]
    searched += [limit.metric for limit in settings.limits]
    reported = [objective.metric for objective in settings.report]
    seconds = ["train_seconds"] if settings.clock < math.inf else []
    for setting, names, at in (
        ("search", searched, fidelity),
        ("report", reported, 1.0),
        ("clock", seconds, fidelity),
    ):
        available = table.fidelities[at]
        for name in names:
            if name not in available:
                fix = closest(name, available) or f"It has: {', '.join(available)}."
                where = table.name + (f" at fidelity {at:g}" if at < 1 else "")
                raise InputError(expected(setting, f"a metric of {where}", name, fix))
    if settings.until_found and (table.repetition != "mean" or len(settings.search) > 1):
        option = wording(python="until_found", shell="until-found")
        got = Phrase(f"{len(settings.search)} with repetition {table.repetition}")
        rule = "asked of one metric with repetition mean"
        raise InputError(expected(option, rule, got, "Leave it out."))
