"""Tabular benchmarks: candidates that were evaluated already are looked up in a table.

A table becomes an evaluator by naming the column of each decision, and the columns of each metric
at each fidelity. Only these columns are read, when the first candidate is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InfeasibleCandidate, InputError, Phrase, closest, expected
from netwright.evaluators.benchmarks.table_columns import (
    DecisionColumn,
    Fidelities,
    MetricColumns,
)
from netwright.evaluators.benchmarks.table_rows import ReadColumns, TableRows, format_decisions
from netwright.files.digest import digest_of_beginning
from netwright.interfaces.evaluator import Capabilities
from netwright.space.candidate import Candidate, Value
from netwright.space.pool import Pool
from netwright.space.space import PoolSpace, Space
from netwright.trials.trial import Job, Metrics

if TYPE_CHECKING:
    from netwright.interfaces.knowledge import Knowledge

ComputeCosts = Callable[[Candidate, Any], Metrics]
"""A candidate and its filled description -> metrics that are known without an evaluation."""
_MAX_LISTED_CANDIDATES = 200_000
"""A space of more candidates is not listed to see whether all have a row."""


@dataclass(frozen=True)
class TableBenchmark:
    """Evaluator that looks candidates up in a table of evaluated ones.

    The table is read with the first candidate. A job's fidelity is rounded down to one of the
    table's, or up to the lowest. A candidate without a row, or without a metric at its fidelity, is
    infeasible.

    Args:
        space: of the candidates.
        file: a parquet or CSV file, or any file with a `reader`.
        decisions: path of each decision of `space` -> its column.
        fidelities: fidelity -> metric -> its columns.
        repetition: "mean" averages a metric's repetitions; "one" takes the one that the trial's seed
            selects, like a single training.
        filter: column -> value; only rows with these values are used.
        costs: metrics known without an evaluation, such as parameters, which strategies may use: a
            function of a candidate and its filled description, or columns that every candidate that
            can be built has. Where rows are missing only a function will do: strategies would learn
            from the gaps which candidates the table lacks.
        compute_prior_scores: scores of a filled description; see `NetworkKnowledge`.
        identify: returns the values for the keys of `decisions`, if these are not the candidate's
            own decisions; several candidates may then share a row.
        reader: reads the named columns of a file that is neither parquet nor CSV.
        repeated_rows: whether several rows of one candidate are repetitions of it; else they are
            an error, unless they are equal.
        nearest: whether a candidate without a row is that of the nearest row, as of a random search
            over real numbers; in a comparison the strategy is told the row's own candidate. The
            distance is that of `Space.from_candidates`.
        knowledge: what strategies may know of candidates, in place of the networks' features,
            `costs` and `compute_prior_scores`; None for these.

    Raises:
        InputError: an argument does not fit the space; or, with the first candidate, a column is
            missing or holds something else, no row is a candidate of the space, or two rows are of
            the same one.

    Example:
        >>> decisions = {"cell.op": DecisionColumn("op")}
        >>> fidelities = {1.0: {"accuracy": MetricColumns.of("val_acc", scale=0.01)}}
        >>> evaluator = TableBenchmark(space, "table.csv", decisions, fidelities)
    """

    space: Space[Any]
    file: str | Path
    decisions: Mapping[str, DecisionColumn]
    fidelities: Fidelities
    repetition: Literal["mean", "one"] = "mean"
    filter: Mapping[str, Value] = field(default_factory=dict)
    costs: tuple[str, ...] | ComputeCosts = ()
    compute_prior_scores: Callable[[Any], Metrics] | None = None
    identify: Callable[[Candidate], Mapping[str, Value]] | None = None
    reader: ReadColumns | None = None
    repeated_rows: bool = False
    nearest: bool = False
    knowledge: Knowledge | None = None

    def __post_init__(self) -> None:
        if 1.0 not in self.fidelities:
            raise InputError(expected("fidelities", "such that 1 is one", [*self.fidelities]))
        if self.repetition not in ("mean", "one"):
            raise InputError(expected("repetition", "mean or one", self.repetition))
        self._check_columns()
        if not callable(self.costs):
            if unknown := set(self.costs) - set(self.metrics):
                raise InputError(expected("costs", "metrics of the table", sorted(unknown)))
            if self.costs and self.identify:
                fix = "Give a function of the candidate and its description."
                rule = "a function where several candidates share a row"
                raise InputError(expected("costs", rule, list(self.costs), fix))
        if self.nearest and self.identify:
            rule = "left out where several candidates share a row"
            raise InputError(expected("nearest", rule, self.nearest))
        if not self.identify:
            self._check_decisions()

    def _check_columns(self) -> None:
        metric_columns = [
            columns for metrics in self.fidelities.values() for columns in metrics.values()
        ]
        for kind, columns in (
            (MetricColumns, metric_columns),
            (DecisionColumn, self.decisions.values()),
        ):
            if wrong := [column for column in columns if not isinstance(column, kind)]:
                raise InputError(expected("a column", f"given as a {kind.__name__}", wrong[0]))
        if without_names := [
            columns
            for columns in metric_columns
            if isinstance(columns.columns, str) or not columns.columns
        ]:
            fix = "Use MetricColumns.of('column', ...)."
            rule = "a tuple of at least one"
            got = without_names[0].columns
            raise InputError(expected("columns of MetricColumns", rule, got, fix))

    def _check_decisions(self) -> None:
        decisions = {decision.path: decision for decision in self.space.decisions}
        if missing := decisions.keys() - set(self.decisions):
            raise InputError(expected("decisions", "a column for each of the space", missing))
        for path in self.decisions:
            if path not in decisions:
                rule = "those of the space, no others"
                raise InputError(expected("decisions", rule, path, closest(path, decisions)))
            is_open = not self.nearest and not isinstance(self.space, PoolSpace)
            if is_open and not len(decisions[path].values):
                rule = f"among listed values for a table, such as OneOf, where {path!r} is decided"
                fix = "Use nearest=True to evaluate the nearest row, or Space.from_candidates."
                got = Phrase("any real number")
                raise InputError(expected("the space's choice", rule, got, fix))

    @property
    def path(self) -> Path:
        """Path of the file."""
        return Path(self.file)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics at fidelity 1."""
        return tuple(self.fidelities[1.0])

    @property
    def name(self) -> str:
        """Name of the file, for headings."""
        return self.path.name

    @property
    def n_candidates(self) -> int:
        """The number of different candidates in the table, the space's rule aside."""
        return len(self._rows.index)

    @property
    def best(self) -> None:
        """None: the table has every candidate, so that the best metrics follow from it."""

    @property
    def capabilities(self) -> Capabilities:
        """The fidelities, and the knowledge with a new cache at each call."""
        knowledge = self.knowledge
        if knowledge is None:
            from netwright.evaluators.network_knowledge import NetworkKnowledge  # imports torch

            knowledge = NetworkKnowledge(
                self.space, self._costs_of, self.compute_prior_scores, self._form_of
            )
        return Capabilities(fidelities=tuple(self.fidelities), knowledge=knowledge)

    @property
    def _form_of(self) -> Callable[[Candidate], str] | None:
        """Returns the row's key as the canonical form; None if each candidate has its own row."""
        identify = self.identify
        return (
            None
            if identify is None
            else lambda candidate: repr(sorted(identify(candidate).items()))
        )

    def _costs_of(self, candidate: Candidate, description: object) -> Metrics:
        if callable(self.costs):
            return self.costs(candidate, description)
        if not self.costs:
            return {}
        self._check_costs()
        metrics = self.look_up(candidate, required=self.costs)
        return {name: metrics[name] for name in self.costs}

    def _check_costs(self) -> None:
        """Raise InputError if a candidate that can be built lacks a column of `costs`."""
        if self._lacks_costs is not None:
            fix = "Give a function, or leave costs out to have them measured."
            rule = "columns that every candidate has, or a function"
            raise InputError(expected("costs", rule, Phrase(self._lacks_costs), fix))

    @cached_property
    def _lacks_costs(self) -> str | None:
        """Describe what lacks a column of `costs`; None if all that can be built have every column."""
        assert not callable(self.costs)
        values = [self._rows.metrics[1.0][name] for name in self.costs]
        has_all = ~np.any([np.isnan(each).all(1) for each in values], axis=0)  # (rows,)
        rows = {key for key, row in self._rows.index.items() if has_all[row]}
        if len(rows) == self.space.size or self.nearest:
            return None
        if self.space.size > _MAX_LISTED_CANDIDATES:
            return f"{len(rows)} rows for {self.space.size:g} candidates"
        missing = (
            candidate
            for candidate in self.space
            if tuple(candidate.values.get(path) for path in self.decisions) not in rows
        )
        for candidate in missing:
            if _can_be_built(self.space.fill(candidate)):
                return f"none of {format_decisions(candidate.values.items())}"
        return None

    def __call__(self, job: Job) -> Metrics:
        fidelity = self.round_down_fidelity(job.proposal.fidelity)
        return self.look_up(job.proposal.candidate, fidelity, job.seed)

    def look_up(
        self,
        candidate: Candidate,
        fidelity: float = 1.0,
        seed: int = 0,
        required: Collection[str] | None = None,
    ) -> Metrics:
        """Look up the metrics of a candidate.

        Args:
            candidate: of the space.
            fidelity: one of the table's; see `round_down_fidelity`.
            seed: selects the repetition if `repetition` is "one".
            required: metrics without which the candidate is infeasible; None for all.

        Returns:
            The metrics that the table has of it.

        Raises:
            InfeasibleCandidate: it has no row, or lacks a required metric.
        """
        row = self._row_of(candidate)
        metrics = {}
        for name, repetitions_by_row in self._rows.metrics[fidelity].items():
            repetitions = repetitions_by_row[row]
            repetitions = repetitions[~np.isnan(repetitions)]
            if not len(repetitions):
                continue
            if self.repetition == "one":
                metrics[name] = float(repetitions[seed % len(repetitions)])
            else:
                metrics[name] = float(repetitions.mean())
        for name in self.fidelities[fidelity] if required is None else required:
            if name not in metrics:
                at = f"at fidelity {fidelity:g}"
                raise InfeasibleCandidate(f"{self.path.name} has no {name} {at}")
        return metrics

    def round_down_fidelity(self, fidelity: float) -> float:
        """Return the table's highest fidelity up to this one, or its lowest.

        Args:
            fidelity: in (0, 1].
        """
        return round_down_fidelity(fidelity, [*self.fidelities])

    def with_mean_repetitions(self) -> TableBenchmark:
        """Return the same table with `repetition` "mean": the value that one training estimates."""
        return self if self.repetition == "mean" else replace(self, repetition="mean")

    def metric_means(self, metric: str, fidelity: float = 1.0) -> NDArray[np.float64]:
        """Return a metric of all candidates in the table, such as for its optimum.

        Args:
            metric: one of the table's.
            fidelity: one of the table's.

        Returns:
            (candidates,) means over the repetitions, NaN for a candidate without any.

        Raises:
            InputError: the table has no such metric.
        """
        if metric not in self.metrics:
            fix = closest(metric, self.metrics) or f"It has: {', '.join(self.metrics)}."
            raise InputError(expected("metric", f"one of {self.path.name}", metric, fix))
        repetitions = self._rows.metrics[fidelity][metric]  # (candidates, repetitions)
        is_present = ~np.isnan(repetitions)
        counts = is_present.sum(1)
        total = np.where(is_present, repetitions, 0.0).sum(1)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)

    def stand_in(self, candidate: Candidate) -> Candidate:
        """Return the candidate that is evaluated in the place of another: itself, or the nearest.

        Args:
            candidate: of the space.

        Returns:
            The candidate; with `nearest`, that of the nearest row.
        """
        if not self.nearest or tuple(map(candidate.values.get, self.decisions)) in self._rows.index:
            return candidate
        return self._pool.nearest(candidate.values)

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the table from others, as JSON.

        Returns:
            Its file, space and columns. Settings that change what strategies know are left out.
        """
        metrics = {f"{at:g}": repr(dict(of)) for at, of in sorted(self.fidelities.items())}
        identity: dict[str, Any] = {
            "file": self.path.name,
            "digest": digest_of_beginning(self.path),
            "space": self.space.fingerprint,
            "metrics": {at: text.replace(", where={}", "") for at, text in metrics.items()},
            "repetition": self.repetition,
            "filter": repr(dict(self.filter)),
        }
        # left out where they are not used: comparisons that are older than these stay the same
        for name in ("repeated_rows", "nearest"):
            if getattr(self, name):
                identity[name] = True
        return identity

    def _row_of(self, candidate: Candidate) -> int:
        values = self.identify(candidate) if self.identify else self.stand_in(candidate).values
        key = tuple(values.get(name) for name in self.decisions)
        if key not in self._rows.index:
            raise InfeasibleCandidate(f"{self.path.name} has no row of this candidate")
        return self._rows.index[key]

    @cached_property
    def _rows(self) -> TableRows:
        return TableRows.read(
            self.path,
            self.reader,
            self.filter,
            None if self.identify else self.space,
            self.decisions,
            self.fidelities,
            repeated_rows=self.repeated_rows,
        )

    @cached_property
    def _pool(self) -> Pool:
        """The candidates that have a row."""
        return Pool(self.space.decisions, tuple(self._rows.candidates))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was read: each worker reads the file itself."""
        cached = ("_rows", "_pool", "_lacks_costs")
        return {name: attribute for name, attribute in self.__dict__.items() if name not in cached}


def round_down_fidelity(fidelity: float, fidelities: Collection[float]) -> float:
    """Return the highest of the fidelities up to this one, or the lowest of all."""
    up_to = [other for other in fidelities if other <= fidelity + 1e-9]
    return max(up_to) if up_to else min(fidelities)


def _can_be_built(description: object) -> bool:
    """Return whether all graphs of a filled description have a path from input to output."""
    from netwright.networks.architecture_features import canonical_text  # imports torch

    try:
        canonical_text(description)
    except InfeasibleCandidate:
        return False
    return True
