"""Tabular benchmarks: candidates that were evaluated already are looked up in a table.

A table becomes an evaluator by naming the column of each decision, and the columns of each metric
at each fidelity. Only these columns are read, when the first candidate is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright._optional import import_optional
from netwright.errors import InfeasibleCandidate, InputError, Phrase, closest, expected
from netwright.interfaces.evaluator import Capabilities
from netwright.space.candidate import Candidate, Value
from netwright.space.decision import Decision
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

if TYPE_CHECKING:
    import pandas as pd

    from netwright.evaluators.network_knowledge import NetworkKnowledge


_RowKey = tuple[Value | None, ...]
"""The values of the decisions, in the order of `TableBenchmark.decisions`; None if inactive."""
ComputeCosts = Callable[[Candidate, Any], Metrics]
"""A candidate and its filled description -> metrics that are known without an evaluation."""
_MAX_LISTED_CANDIDATES = 200_000
"""A space of more candidates is not listed to see whether all have a row."""
_MAX_DECISIONS_SHOWN = 3
_MAX_COLUMNS_SHOWN = 12
"""Decisions and columns that an error names."""


@dataclass(frozen=True)
class DecisionColumn:
    """The column of a table that holds a decision; its cell is empty if the decision is inactive.

    Args:
        column: its name.
        codes: the decision's values, if cells are whole numbers that index them; empty if cells
            hold the values.
    """

    column: str
    codes: tuple[Value, ...] = ()


@dataclass(frozen=True)
class MetricColumns:
    """The columns of a table that hold a metric, one for each repetition.

    An empty or infinite cell is a repetition that the table does not have.

    Args:
        columns: their names.
        scale: factor from a cell to the metric, such as 0.01 for percent.

    Example:
        >>> MetricColumns.of("val_acc_seed0", "val_acc_seed1", scale=0.01)
    """

    columns: tuple[str, ...]
    scale: float = 1.0

    @classmethod
    def of(cls, *columns: str, scale: float = 1.0) -> MetricColumns:
        """Make it of column names as arguments.

        Args:
            *columns: their names, one for each repetition.
            scale: see the class.

        Returns:
            The columns of the metric.
        """
        return cls(columns, scale)


Fidelities = Mapping[float, Mapping[str, MetricColumns]]
"""Fidelity in (0, 1] -> metric -> its columns; 1 is required."""


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

    Raises:
        InputError: an argument does not fit the space; or, with the first candidate, a column is
            missing or holds something else, no row is a candidate of the space, or two rows are the
            same one.

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
    reader: Callable[[Path, Sequence[str]], pd.DataFrame] | None = None

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
            if not len(decisions[path].values):
                rule = f"among listed values for a table, such as OneOf, where {path!r} is decided"
                got = Phrase("any real number")
                raise InputError(expected("the space's choice", rule, got))

    @property
    def path(self) -> Path:
        """Path of the file."""
        return Path(self.file)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics at fidelity 1."""
        return tuple(self.fidelities[1.0])

    @property
    def knowledge(self) -> NetworkKnowledge:
        """The networks' features and the `costs`, with a new cache at each call."""
        from netwright.evaluators.network_knowledge import NetworkKnowledge  # imports torch

        return NetworkKnowledge(
            self.space, self._costs_of, self.compute_prior_scores, self._form_of
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(fidelities=tuple(self.fidelities), knowledge=self.knowledge)

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
        """What lacks a column of `costs`; None if every candidate that can be built has all."""
        assert not callable(self.costs)
        values = [self._metric_values[1.0][name] for name in self.costs]
        has_all = ~np.any([np.isnan(each).all(1) for each in values], axis=0)  # (rows,)
        rows = {key for key, row in self._rows.items() if has_all[row]}
        if len(rows) == self.space.size:
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
                return f"none of {_format_decisions(candidate.values.items())}"
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
        for name, repetitions_by_row in self._metric_values[fidelity].items():
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
        """Return a metric of all rows, such as for the optimum of a table.

        Args:
            metric: one of the table's.
            fidelity: one of the table's.

        Returns:
            (rows,) means over the repetitions, NaN for a row without any.

        Raises:
            InputError: the table has no such metric.
        """
        if metric not in self.metrics:
            fix = closest(metric, self.metrics) or f"It has: {', '.join(self.metrics)}."
            raise InputError(expected("metric", f"one of {self.path.name}", metric, fix))
        repetitions = self._metric_values[fidelity][metric]  # (rows, repetitions)
        is_present = ~np.isnan(repetitions)
        counts = is_present.sum(1)
        total = np.where(is_present, repetitions, 0.0).sum(1)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)

    @property
    def rows_in_space(self) -> NDArray[np.bool_]:
        """(rows,) which rows are candidates of the space, its rule aside; with `identify`, all."""
        mask = np.zeros(len(self._frame), bool)
        mask[list(self._rows.values())] = True
        return mask

    def _row_of(self, candidate: Candidate) -> int:
        values = self.identify(candidate) if self.identify else candidate.values
        key = tuple(values.get(name) for name in self.decisions)
        if key not in self._rows:
            raise InfeasibleCandidate(f"{self.path.name} has no row of this candidate")
        return self._rows[key]

    @cached_property
    def _frame(self) -> pd.DataFrame:
        names = [column.column for column in self.decisions.values()] + [*self.filter]
        for metrics in self.fidelities.values():
            names += [name for columns in metrics.values() for name in columns.columns]
        frame = (self.reader or _read_file)(self.path, list(dict.fromkeys(names)))
        for name, value in self.filter.items():
            frame = frame[frame[name] == value]
        if frame.empty:
            raise InputError(f"{self.file} must have rows of this benchmark, got none.")
        return frame

    @cached_property
    def _rows(self) -> dict[_RowKey, int]:
        """Key -> index of its row."""
        columns = [self._decision_values(path) for path in self.decisions]
        is_candidate = [True] * len(self._frame)
        if not self.identify:
            decisions = {decision.path: decision for decision in self.space.decisions}
            are_values = [
                _are_values_of(decisions[path], column)
                for path, column in zip(self.decisions, columns, strict=True)
            ]
            is_candidate = [all(row) for row in zip(*are_values, strict=True)]
            if not any(is_candidate):
                raise InputError(self._no_match_error(columns, are_values))
        rows: dict[_RowKey, int] = {}
        for row, key in enumerate(zip(*columns, strict=True)):
            if is_candidate[row] and rows.setdefault(key, row) != row:
                decided = _format_decisions(zip(self.decisions, key, strict=True))
                fix = "Repetitions are columns of a metric; use filter to choose one of several tables."
                rule = "a table with one row for each candidate"
                got = Phrase(f"several of {decided}")
                raise InputError(expected(self.path.name, rule, got, fix))
        return rows

    def _decision_values(self, path: str) -> list[Value | None]:
        """Return the values of a decision in all rows; None for empty cells."""
        column = self.decisions[path]
        cells = self._frame[column.column]
        is_empty = cells.isna().tolist()
        values = [
            None if empty else cell for cell, empty in zip(cells.tolist(), is_empty, strict=True)
        ]
        if not column.codes:
            return values
        value_of_code = dict(enumerate(column.codes))
        wrong = [code for code in values if code is not None and code not in value_of_code]
        if wrong:
            rule = f"whole numbers from 0 to {len(column.codes) - 1}, for {path!r}"
            raise InputError(expected(f"column {column.column!r}", rule, wrong[0]))
        return [None if code is None else value_of_code[code] for code in values]

    def _no_match_error(
        self, columns: Sequence[Sequence[Value | None]], are_values: Sequence[Sequence[bool]]
    ) -> str:
        """Return an error that compares a row and a candidate, in decisions that never agree if any."""
        paths = list(self.decisions)
        shown = [i for i, matches in enumerate(are_values) if not any(matches)]
        shown = shown or [*range(len(paths))]
        first_values = {decision.path: decision.values[0] for decision in self.space.decisions}
        row = _format_decisions((paths[i], columns[i][0]) for i in shown)
        candidate = _format_decisions((paths[i], first_values[paths[i]]) for i in shown)
        got = Phrase(f"no row of any: a row has {row}, a candidate {candidate}")
        return expected(self.path.name, "a table of the space's candidates", got)

    @cached_property
    def _metric_values(self) -> dict[float, dict[str, NDArray[np.float64]]]:
        """Fidelity -> metric -> (rows, repetitions), NaN for missing repetitions."""
        return {
            fidelity: {name: self._read_metric(columns) for name, columns in metrics.items()}
            for fidelity, metrics in self.fidelities.items()
        }

    def _read_metric(self, metric_columns: MetricColumns) -> NDArray[np.float64]:
        import pandas as pd

        cells = self._frame[list(metric_columns.columns)]
        try:
            repetitions = cells.to_numpy(np.float64) * metric_columns.scale
        except (ValueError, TypeError):
            for name in metric_columns.columns:
                wrong = pd.to_numeric(cells[name], errors="coerce").isna() & cells[name].notna()
                if wrong.any():
                    got = cells[name][wrong].iloc[0]
                    what = f"column {name!r} of {self.path.name}"
                    raise InputError(expected(what, "numbers", got)) from None
            raise
        return np.where(np.isfinite(repetitions), repetitions, np.nan)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was read: each worker reads the file itself."""
        cached = ("_frame", "_rows", "_metric_values", "_lacks_costs")
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


def _are_values_of(decision: Decision, column: Sequence[Value | None]) -> list[bool]:
    """(rows,) whether each cell is a value of the decision; empty cells are, if it may be inactive."""

    def is_value(cell: Value | None) -> bool:
        if cell is None and decision.conditions is not None:
            return True
        if not isinstance(decision.values, range):
            return cell in decision.index_of
        is_whole = isinstance(cell, int | float) and float(cell).is_integer()
        return is_whole and int(cell) in decision.values  # type: ignore[arg-type]  # a number

    by_cell = {cell: is_value(cell) for cell in set(column)}
    return [by_cell[cell] for cell in column]


def _format_decisions(decided: Iterable[tuple[str, Value | None]]) -> str:
    """Format the first three decisions: ``a=0, b='x', ...``."""
    texts = [f"{path}={value!r}" for path, value in decided]
    shown = ", ".join(texts[:_MAX_DECISIONS_SHOWN])
    return shown + (", ..." if len(texts) > _MAX_DECISIONS_SHOWN else "")


def _read_file(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    names = column_names(file)
    for name in columns:
        if name not in names:
            shown = ", ".join(names[:_MAX_COLUMNS_SHOWN])
            shown += ", ..." if len(names) > _MAX_COLUMNS_SHOWN else ""
            fix = closest(name, names) or f"It has: {shown}."
            raise InputError(f"{file.name} must have the column {name!r}. {fix}")
    try:
        if _is_parquet(file):
            return pd.read_parquet(file, columns=list(columns))
        return pd.read_csv(file, usecols=list(columns))
    except (ValueError, OSError) as error:  # the base classes of the parsers' errors
        raise InputError(_unreadable_error(file, error)) from error


def column_names(file: Path) -> list[str]:
    """Return the names of a table's columns; InputError if it is not a parquet or CSV file."""
    import pandas as pd

    if not file.is_file():
        raise InputError(expected("table", "a file that exists", str(file)))
    try:
        if _is_parquet(file):
            parquet = import_optional("pyarrow.parquet", "parquet", "reading parquet")
            return list(parquet.read_schema(file).names)
        return list(pd.read_csv(file, nrows=0).columns)
    except (ValueError, OSError) as error:
        raise InputError(_unreadable_error(file, error)) from error


def _is_parquet(file: Path) -> bool:
    return file.suffix in (".parquet", ".pq")


def _unreadable_error(file: Path, error: Exception) -> str:
    kind = "parquet" if _is_parquet(file) else "CSV"
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    rule = f"a {kind} file"
    got = Phrase(f"another or one cut off ({reason})")
    return expected(str(file), rule, got)
