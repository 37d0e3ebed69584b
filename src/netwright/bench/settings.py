"""The settings of a comparison: what is searched, what is reported, and what a run may spend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from netwright.errors import InputError, Phrase, closest, expected
from netwright.interfaces.benchmark import Benchmark
from netwright.trials.metrics import METRICS, Direction
from netwright.trials.objective import Limit, Objective


@dataclass(frozen=True)
class ComparisonSettings:
    """The settings of a comparison, the same for each strategy.

    Strategies are told the `search` metrics and the `limits`. The incumbent is the best candidate
    by these, at the highest fidelity evaluated; with several metrics, all candidates that no other
    dominates. Its score is made of the `report` metrics, at fidelity 1, averaged over repetitions.

    Args:
        search: the objectives that strategies are told; also by name, as on the command line.
        report: the objectives that the incumbent is scored by, as many as are searched: usually
            the same metrics on the test part.
        evaluations: the budget in evaluations; one at fidelity f costs f. An evaluation that would
            end beyond the budget does not count.
        clock: the budget in seconds of training, by the table.
        fidelity: the one fidelity of all evaluations, which then cost 1 each; None for any.
        limits: bounds on metrics that the incumbent has to keep.
        references: reported metric -> the bound of the hypervolume, if there are several metrics.
        until_found: a run ends once it has the best of a single searched metric, as nothing would
            change its incumbent any more.

    Raises:
        InputError: a setting is out of range, or settings do not go together.

    Example:
        >>> settings = ComparisonSettings("accuracy", "test_accuracy", evaluations=200)
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
        for name in ("search", "report"):
            object.__setattr__(self, name, _parse_objectives(name, getattr(self, name)))
        for name, budget in (("evaluations", self.evaluations), ("clock", self.clock)):
            if not budget > 0:  # NaN, too
                raise InputError(expected(name, "above 0", budget))
        if min(self.evaluations, self.clock) == math.inf:
            raise InputError("a comparison must end: give evaluations or clock.")
        if self.fidelity is not None and not 0 < self.fidelity <= 1:
            raise InputError(expected("fidelity", "in (0, 1]", self.fidelity))
        reported = [objective.metric for objective in self.report]
        if len(self.search) != len(self.report):
            rule = "as many metrics as are searched" if len(self.search) > 1 else "one metric"
            raise InputError(expected("report", rule, reported))
        if unknown := set(self.references) - set(reported):
            rule = f"for the metrics that are reported ({metric_names(self.report)})"
            raise InputError(expected("reference", rule, sorted(unknown)[0]))
        if self.references and len(self.report) == 1:
            raise InputError("reference must go with several metrics to search, got one metric.")
        for name, bound in self.references.items():
            if not math.isfinite(bound):
                raise InputError(expected(f"reference of {name}", "a finite number", bound))

    @property
    def axis(self) -> str:
        """Unit of the budget: "cost" for evaluations, "clock" for seconds."""
        return "clock" if self.clock < math.inf else "cost"

    @property
    def budget(self) -> float:
        """Budget of a run, in the unit of `axis`."""
        return min(self.clock, self.evaluations) if self.axis == "cost" else self.clock

    @property
    def measure(self) -> str:
        """Name of the reported score."""
        return self.report[0].metric if len(self.report) == 1 else "share of the hypervolume"


def _parse_objectives(setting: str, objectives: object) -> tuple[Objective, ...]:
    """Return objectives from one or several objectives or names."""
    several = objectives if isinstance(objectives, list | tuple) else [objectives]
    parsed = [parse_objective(entry) if isinstance(entry, str) else entry for entry in several]
    checked = [entry for entry in parsed if isinstance(entry, Objective)]
    if len(checked) < len(parsed):
        wrong = next(entry for entry in parsed if not isinstance(entry, Objective))
        raise InputError(expected(setting, "Objectives, or metrics by name", wrong))
    if not checked:
        raise InputError(expected(setting, "at least one metric", []))
    if len({objective.metric for objective in checked}) < len(checked):
        raise InputError(expected(setting, "different metrics", Phrase(metric_names(checked))))
    return tuple(checked)


def metric_names(objectives: Iterable[Objective]) -> str:
    """Return the metrics of objectives, joined by commas."""
    return ", ".join(objective.metric for objective in objectives)


def parse_objective(name: str) -> Objective:
    """Return the objective of a metric's name.

    Args:
        name: a metric of netwright, ``test_`` before one, or ``NAME:min`` or ``NAME:max``.

    Raises:
        InputError: the metric is unknown and has no direction.
    """
    plain, _, direction = name.partition(":")
    if direction in ("min", "max"):
        return Objective(plain, cast(Direction, direction))
    metric = METRICS.get(plain) or METRICS.get(plain.removeprefix("test_"))
    if metric is None or direction:
        custom = f"For a metric of your own, add a direction: {plain}:max or {plain}:min."
        fix = f"{closest(plain, METRICS)} {custom}".lstrip()
        raise InputError(expected("metric", "one that netwright knows", name, fix))
    return Objective(plain, metric.direction)


def reported_objective(searched: Objective, benchmark: Benchmark) -> Objective:
    """Return the default reported objective: the test version of the metric if there is one."""
    test = f"test_{searched.metric}"
    return Objective(test, searched.direction) if test in benchmark.metrics else searched
