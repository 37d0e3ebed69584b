"""What is searched on a table, what is reported of what was found, and what a run may spend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InfeasibleCandidate, InputError, Phrase, closest, expected, wording
from netwright.evaluators.benchmarks.table import TableBenchmark, nearest_fidelity
from netwright.interfaces.evaluator import capabilities_of
from netwright.interfaces.knowledge import DefaultKnowledge, Knowledge
from netwright.space.candidate import Candidate
from netwright.trials.metrics import METRICS
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import hypervolume, nondominated
from netwright.trials.trial import Metrics

_SAME = 1e-12
"""Losses that differ by less are those of one candidate under two ways of adding up."""
_WHOLE = 1e-9
"""A share of a hypervolume that may be lost in adding it up."""


@dataclass(frozen=True)
class ComparisonSettings:
    """The terms on which strategies are compared; each of them gets the same.

    Strategies are told the `search` metrics and the `limits`. The incumbent is the candidate that
    is best by them at the highest fidelity seen, or with several metrics all that none dominates;
    told of it are the `report` metrics at fidelity 1, mean of the trainings.

    `evaluations`: the budget, in evaluations at full fidelity; one at fidelity f costs f.
    `clock`: the budget in the table's own seconds of training. What would end after either does not
    count. `fidelity`: every evaluation is made at this one, and costs 1. `references`: for several
    metrics, the bound of the hypervolume under some of the `report` metrics. `until_found`: a run
    ends with the best of one searched metric, after which nothing changes its incumbent.
    """

    search: tuple[Objective, ...]
    report: tuple[Objective, ...]
    evaluations: float = math.inf
    clock: float = math.inf
    fidelity: float | None = None
    limits: tuple[Limit, ...] = ()
    references: Mapping[str, float] = field(default_factory=dict)
    until_found: bool = False

    def __post_init__(self) -> None:
        for what in ("search", "report"):
            object.__setattr__(self, what, _objectives(what, getattr(self, what)))
        for what, budget in (("evaluations", self.evaluations), ("clock", self.clock)):
            if not budget > 0:  # NaN, too
                raise InputError(expected(what, "above 0", budget))
        if min(self.evaluations, self.clock) == math.inf:
            raise InputError("a comparison must end: give evaluations or clock.")
        if self.fidelity is not None and not 0 < self.fidelity <= 1:
            raise InputError(expected("fidelity", "in (0, 1]", self.fidelity))
        if len(self.search) != len(self.report):
            names = [one.metric for one in self.report]
            rule = "as many metrics as are searched" if len(self.search) > 1 else "one metric"
            raise InputError(expected("report", rule, names))
        if unknown := set(self.references) - {one.metric for one in self.report}:
            rule = f"for the metrics that are reported ({_names(self.report)})"
            raise InputError(expected("reference", rule, sorted(unknown)[0]))
        if self.references and len(self.report) == 1:
            raise InputError("reference must go with several metrics to search, got one metric.")
        for name, bound in self.references.items():
            if not math.isfinite(bound):
                raise InputError(expected(f"reference of {name}", "a finite number", bound))

    @property
    def axis(self) -> str:
        """What a run spends: "cost" in evaluations, or "clock" in seconds."""
        return "clock" if self.clock < math.inf else "cost"

    @property
    def budget(self) -> float:
        """How much of that it may spend."""
        return min(self.clock, self.evaluations) if self.axis == "cost" else self.clock

    @property
    def measure(self) -> str:
        """What is reported, in words."""
        return self.report[0].metric if len(self.report) == 1 else "share of the hypervolume"


def _objectives(what: str, given: Any) -> tuple[Objective, ...]:
    """Objectives, or names as on the command line; one or several."""
    several = given if isinstance(given, list | tuple) else [given]
    found = [parse_objective(one) if isinstance(one, str) else one for one in several]
    if wrong := [one for one in found if not isinstance(one, Objective)]:
        raise InputError(expected(what, "Objectives, or metrics by name", wrong[0]))
    if not found:
        raise InputError(expected(what, "at least one metric", []))
    if len({one.metric for one in found}) < len(found):
        raise InputError(expected(what, "different metrics", Phrase(_names(found))))
    return tuple(found)


def _names(objectives: Sequence[Objective]) -> str:
    return ", ".join(one.metric for one in objectives)


def parse_objective(name: str) -> Objective:
    """A metric by name with its direction: known, ``test_`` before a known one, or ``NAME:min``."""
    plain, _, direction = name.partition(":")
    if direction in ("min", "max"):
        return Objective(plain, direction)  # type: ignore[arg-type]  # one of the two
    known = METRICS.get(plain) or METRICS.get(plain.removeprefix("test_"))
    if known is None or direction:
        own = f"Of your own say which way is better: {plain}:max or {plain}:min."
        fix = f"{closest(plain, METRICS)} {own}".lstrip()
        raise InputError(expected("metric", "one that netwright knows", name, fix))
    return Objective(plain, known.direction)


def reported_objective(searched: Objective, table: TableBenchmark) -> Objective:
    """What is reported where nothing is said: the test part of a metric where the table has one."""
    test = f"test_{searched.metric}"
    return Objective(test, searched.direction) if test in table.metrics else searched


class TableOracle:
    """What a table knows that no strategy does: the optimum, and what an incumbent is worth."""

    def __init__(self, table: TableBenchmark, protocol: ComparisonSettings) -> None:
        self.table, self.protocol = table, protocol
        self.fidelity = (
            1.0 if protocol.fidelity is None else table.nearest_fidelity(protocol.fidelity)
        )
        self._mean = table.with_mean_repetitions()
        _check(table, protocol, self.fidelity)
        needed = [one.metric for one in protocol.search]
        needed += [one.metric for one in protocol.limits]
        self.required_metrics = (*needed, *(["train_seconds"] if protocol.clock < math.inf else []))
        """Metrics without which an evaluation cannot be judged; any other may be missing."""

    def check(self) -> None:
        """InputError where no run on these terms can mean anything: reads the table."""
        _ = self.optimum, self.worst
        if len(self.protocol.search) == 1:
            _ = self.target
        else:
            _ = self._reported.whole, self._searched.whole

    @cached_property
    def fidelities(self) -> tuple[float, ...]:
        """Where evaluations can be made: those of the table that have all that is needed."""
        if self.protocol.fidelity is not None:
            return (self.fidelity,)
        of = self.table.fidelities
        return tuple(sorted(one for one in of if set(self.required_metrics) <= set(of[one])))

    def nearest(self, fidelity: float) -> float:
        """The fidelity that stands for this one, as in a table."""
        return nearest_fidelity(fidelity, self.fidelities)

    def evaluate(self, candidate: Candidate, fidelity: float, seed: int) -> Metrics:
        """What a strategy is told; none of a candidate that the table does not have."""
        try:
            return self.table.look_up(candidate, fidelity, seed, self.required_metrics)
        except InfeasibleCandidate:
            return {}

    @cached_property
    def knowledge(self) -> Knowledge:
        """What strategies may know beforehand: one memory for all runs of a process."""
        return capabilities_of(self.table).knowledge or DefaultKnowledge()

    @property
    def evaluations(self) -> int:
        """How many whole evaluations a run has, about: under the clock, median ones."""
        protocol = self.protocol
        if protocol.clock == math.inf:
            return max(1, int(protocol.evaluations))
        seconds = float(np.nanmedian(self._mean.mean_metric("train_seconds", self.fidelity)))
        return max(1, int(min(protocol.evaluations, protocol.clock / seconds)))

    @cached_property
    def target(self) -> float:
        """The least loss that a search of one metric can meet: what it is after."""
        return float(self._losses(self.protocol.search[:1], self.fidelity)[:, 0].min())

    @cached_property
    def optimum(self) -> float:
        """The best that can be reported: the best value in the table, or a share of 1.

        Of rows that an evaluation can meet. A search by other metrics need not choose it.
        """
        if len(self.protocol.report) > 1:
            return 1.0
        best = float(self._losses(self.protocol.report, 1.0)[:, 0].min())
        return best if self.protocol.report[0].direction == "min" else -best

    @cached_property
    def worst(self) -> float:
        """What a run is worth that found nothing within the limits."""
        if len(self.protocol.report) > 1:
            return 0.0
        one = self.protocol.report[0]
        column = self._mean.mean_metric(one.metric)
        return float(np.nanmax(column) if one.direction == "min" else np.nanmin(column))

    @property
    def references(self) -> Mapping[str, float]:
        """Reported metric -> the bound of the hypervolume: given, or from the table."""
        return self._reported.references

    @cached_property
    def _reported(self) -> HypervolumeReference:
        return self._volume(self.protocol.report, 1.0, self.protocol.references)

    @cached_property
    def _searched(self) -> HypervolumeReference:
        """A bound that is given for what is reported is that of what is searched where it can be."""
        search, given = self.protocol.search, dict(self.protocol.references)
        for one in search:
            if (bound := given.get(f"test_{one.metric}")) is not None:
                given.setdefault(one.metric, bound)
        found = self._volume(search, self.fidelity, given)
        return found if len(found.inside) else self._volume(search, self.fidelity, {})

    def _volume(
        self, objectives: Sequence[Objective], fidelity: float, given: Mapping[str, float]
    ) -> HypervolumeReference:
        """With bounds as they are given, else from the table.

        Of a cost its 98 % quantile; of what is maximised .5 where the best is above, else its 10 %
        quantile.
        """
        bounds = {}
        for one in objectives:
            column = self._mean.mean_metric(one.metric, fidelity)
            if one.metric in given:
                bounds[one.metric] = given[one.metric]
            elif one.direction == "min":
                bounds[one.metric] = float(np.nanquantile(column, 0.98))
            else:
                low = float(np.nanquantile(column, 0.1))
                bounds[one.metric] = 0.5 if np.nanmax(column) > 0.5 else low
        return HypervolumeReference(objectives, bounds, self._losses(objectives, fidelity))

    def reaches_target(self, candidate: Candidate) -> bool:
        """Whether this is the candidate that a search of one metric is after (or one of them)."""
        metrics = self._mean.look_up(candidate, self.fidelity, required=self.required_metrics)
        within = all(limit.keeps(metrics) for limit in self.protocol.limits)
        return within and self.protocol.search[0].loss(metrics) <= self.target + _SAME

    def reaches_front(self, incumbents: Sequence[Candidate]) -> bool:
        """Whether these have all of the hypervolume that a search of several metrics is after."""
        found = [
            self._mean.look_up(one, self.fidelity, required=self.required_metrics)
            for one in incumbents
        ]
        return self._searched.share(found) >= 1 - _WHOLE

    def reported_score(self, incumbents: Sequence[Candidate]) -> float:
        """The reported value of the incumbents; NaN of none, or where the table has no value."""
        found = []
        for one in incumbents:
            names = [objective.metric for objective in self.protocol.report]
            with suppress(InfeasibleCandidate):  # searched at a low fidelity, and missing at 1
                found.append(self._mean.look_up(one, required=names))
        if not found:
            return math.nan
        if len(self.protocol.report) == 1:
            return found[0][self.protocol.report[0].metric]
        return self._reported.share(found)

    def _losses(self, objectives: Sequence[Objective], fidelity: float) -> NDArray[np.float64]:
        """(rows that an evaluation can meet, m), within the limits and with every value."""
        columns = [self._mean.mean_metric(one.metric, fidelity) for one in objectives]
        signs = [1.0 if one.direction == "min" else -1.0 for one in objectives]
        losses = np.stack([sign * column for sign, column in zip(signs, columns, strict=True)], 1)
        met = self._mean.rows_in_space & np.isfinite(losses).all(1)
        for name in self.required_metrics:
            met &= np.isfinite(self._mean.mean_metric(name, self.fidelity))
        if not met.any():
            rule = f"a table with {_names(objectives)} of some candidate"
            fix = "Every row lacks one of them, or what is searched or limited."
            raise InputError(expected(self.table.path.name, rule, Phrase("none"), fix))
        for limit in self.protocol.limits:
            column = self._mean.mean_metric(limit.metric, self.fidelity)
            met &= (column <= limit.at_most) & (column >= limit.at_least)
        if not met.any():
            limits = ", ".join(map(str, self.protocol.limits))
            raise InputError(f"limits must leave a candidate of the table, got {limits}.")
        return losses[met]


@dataclass(frozen=True)
class HypervolumeReference:
    """The hypervolume that a table has under the bounds of each metric; `losses` (rows, m)."""

    objectives: Sequence[Objective]
    references: Mapping[str, float]
    losses: NDArray[np.float64]

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        """(m,) as losses."""
        return np.array([one.loss(self.references) for one in self.objectives])

    @property
    def inside(self) -> NDArray[np.float64]:
        """(rows, m) those that are better than every bound."""
        return self.losses[(self.losses < self._bounds).all(1)]

    @cached_property
    def whole(self) -> float:
        """Of the whole table; InputError where nothing is inside."""
        if not len(self.inside):
            rule = "worse than some candidate of the table"
            raise InputError(expected("reference", rule, dict(self.references)))
        return hypervolume(self.inside[nondominated(self.inside)], self._bounds)

    def share(self, found: Sequence[Metrics]) -> float:
        """How much of it these candidates have."""
        losses = np.array([[one.loss(metrics) for one in self.objectives] for metrics in found])
        return hypervolume(losses[nondominated(losses)], self._bounds) / self.whole


def _check(table: TableBenchmark, protocol: ComparisonSettings, fidelity: float) -> None:
    """InputError where the table lacks what is asked of it."""
    searched = [one.metric for one in protocol.search] + [one.metric for one in protocol.limits]
    seconds = ["train_seconds"] if protocol.clock < math.inf else []
    for what, names, at in (
        ("search", searched, fidelity),
        ("report", [one.metric for one in protocol.report], 1.0),
        ("clock", seconds, fidelity),
    ):
        have = table.fidelities[at]
        for name in names:
            if name not in have:
                fix = closest(name, have) or f"It has: {', '.join(have)}."
                of = table.path.name + (f" at fidelity {at:g}" if at < 1 else "")
                raise InputError(expected(what, f"a metric of {of}", name, fix))
    if protocol.until_found and (table.repetition != "mean" or len(protocol.search) > 1):
        got = f"{len(protocol.search)} with repetition {table.repetition}"
        rule = "asked of one metric with repetition mean"
        raise InputError(
            expected(
                wording(python="until_found", shell="until-found"),
                rule,
                Phrase(got),
                "Leave it out.",
            )
        )
