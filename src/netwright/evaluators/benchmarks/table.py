"""Benchmarks that are tables: candidates already evaluated, looked up instead of trained.

A table becomes an evaluator by saying which column decides what, and which columns are the metrics
at each fidelity. It is read when the first candidate is looked up, and only in the columns needed.
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


@dataclass(frozen=True)
class DecisionColumn:
    """The column that holds a decision: its values as they are, or whole numbers into `codes`.

    Where a decision is not asked its cell is empty.
    """

    column: str
    codes: tuple[Value, ...] = ()


@dataclass(frozen=True)
class MetricColumns:
    """The columns that hold a metric, one for each repetition; a value times `scale` is the metric.

    An empty cell, or one that is not finite, is a repetition that the table does not have.
    """

    columns: tuple[str, ...]
    scale: float = 1.0

    @classmethod
    def of(cls, *columns: str, scale: float = 1.0) -> MetricColumns:
        return cls(columns, scale)


Fidelities = Mapping[float, Mapping[str, MetricColumns]]
"""Fidelity in (0, 1] -> metric -> its columns; 1 has to be there."""


@dataclass(frozen=True)
class TableBenchmark:
    """An evaluator that looks candidates up in a parquet or CSV file, or in one with a `reader`.

    `decisions`: path of a decision of `space` -> its column. `repetition` "mean" averages a
    metric's repetitions, "one" takes the one that the trial's seed points to, as training once
    would. A fidelity that the table does not have is taken as the nearest below it, or the lowest.
    Raises InputError when a column is missing or has what it cannot hold, when no row is one of the
    space's candidates, or two are the same; InfeasibleCandidate for a candidate not in the table,
    or one that lacks a metric at the fidelity.
    """

    space: Space[Any]
    file: str | Path
    decisions: Mapping[str, DecisionColumn]
    fidelities: Fidelities
    repetition: Literal["mean", "one"] = "mean"
    filter: Mapping[str, Value] = field(default_factory=dict)
    """Only rows where these columns have these values."""
    costs: tuple[str, ...] = ()
    """Metrics that one knows without an evaluation, such as parameters: strategies may see them."""
    prior_scores: Callable[[Any], Metrics] | None = None
    """Of a filled description: see `NetworkKnowledge`."""
    identify: Callable[[Candidate], Mapping[str, Value]] | None = None
    """What the keys of `decisions` are for a candidate, where they are not its own decisions: many
    candidates may then share a row."""
    reader: Callable[[Path, Sequence[str]], pd.DataFrame] | None = None
    """Reads these columns of a file that is neither parquet nor CSV."""

    def __post_init__(self) -> None:
        if 1.0 not in self.fidelities:
            raise InputError(expected("fidelities", "such that 1 is one", [*self.fidelities]))
        if self.repetition not in ("mean", "one"):
            raise InputError(expected("repetition", "mean or one", self.repetition))
        measured = [one for metrics in self.fidelities.values() for one in metrics.values()]
        for kind, given in ((MetricColumns, measured), (DecisionColumn, self.decisions.values())):
            if wrong := [one for one in given if not isinstance(one, kind)]:
                raise InputError(expected("a column", f"given as a {kind.__name__}", wrong[0]))
        if wrong := [one for one in measured if isinstance(one.columns, str) or not one.columns]:
            fix = "Use Measured.of('column', ...)."
            rule = "a tuple of at least one"
            raise InputError(expected("columns of Measured", rule, wrong[0].columns, fix))
        if unknown := set(self.costs) - set(self.metrics):
            raise InputError(expected("costs", "metrics of the table", sorted(unknown)))
        if self.identify:
            return
        paths = {one.path: one for one in self.space.decisions}
        if missing := paths.keys() - set(self.decisions):
            raise InputError(expected("decisions", "a column for each of the space", missing))
        for path in self.decisions:
            if path not in paths:
                rule = "those of the space, no others"
                raise InputError(expected("decisions", rule, path, closest(path, paths)))
            if not len(paths[path].values):
                rule = f"among listed values for a table, such as OneOf, where {path!r} is decided"
                got = Phrase("any real number")
                raise InputError(expected("the space's choice", rule, got))

    @property
    def path(self) -> Path:
        """Of the file."""
        return Path(self.file)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.fidelities[1.0])

    @property
    def knowledge(self) -> NetworkKnowledge:
        """The networks' features and canonical forms, and the `costs`; a new memory at each call."""
        from netwright.evaluators.network_knowledge import NetworkKnowledge  # torch loads with it

        return NetworkKnowledge(self.space, self._costs_of, self.prior_scores)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(fidelities=tuple(self.fidelities), knowledge=self.knowledge)

    def _costs_of(self, candidate: Candidate, description: object) -> Metrics:
        if not self.costs:
            return {}
        found = self.look_up(candidate, required=self.costs)
        return {name: found[name] for name in self.costs}

    def __call__(self, job: Job) -> Metrics:
        fidelity = self.nearest_fidelity(job.proposal.fidelity)
        return self.look_up(job.proposal.candidate, fidelity, job.seed)

    def look_up(
        self,
        candidate: Candidate,
        fidelity: float = 1.0,
        seed: int = 0,
        required: Collection[str] | None = None,
    ) -> Metrics:
        """The metrics that the table has of a candidate at one of its fidelities.

        Without one of the `needed` it is infeasible; as an evaluator, which has to measure all that
        it says, without any.
        """
        row = self._row_of(candidate)
        found = {}
        for name, values in self._values[fidelity].items():
            repeated = values[row][~np.isnan(values[row])]  # (repetitions,)
            if len(repeated):
                one = (
                    repeated[seed % len(repeated)] if self.repetition == "one" else repeated.mean()
                )
                found[name] = float(one)
        for name in self.fidelities[fidelity] if required is None else required:
            if name not in found:
                at = f"at fidelity {fidelity:g}"
                raise InfeasibleCandidate(f"{self.path.name} has no {name} {at}")
        return found

    def nearest_fidelity(self, fidelity: float) -> float:
        """The fidelity of the table that stands for this one."""
        return nearest_fidelity(fidelity, [*self.fidelities])

    def with_mean_repetitions(self) -> TableBenchmark:
        """The same table with the mean of the repetitions: what one training only hints at."""
        return self if self.repetition == "mean" else replace(self, repetition="mean")

    def mean_metric(self, metric: str, fidelity: float = 1.0) -> NDArray[np.float64]:
        """(rows,) means of a metric's repetitions over the whole table, for optima and references;
        NaN where a row has none."""
        if metric not in self.metrics:
            fix = closest(metric, self.metrics) or f"It has: {', '.join(self.metrics)}."
            raise InputError(expected("metric", f"one of {self.path.name}", metric, fix))
        values = self._values[fidelity][metric]  # (rows, repetitions)
        known = ~np.isnan(values)
        counts = known.sum(1)
        total = np.where(known, values, 0.0).sum(1)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)

    @property
    def rows_in_space(self) -> NDArray[np.bool_]:
        """(rows,) which are of candidates of the space, as far as its rules are not asked; all of
        them where candidates are told by `identify`."""
        found = np.zeros(len(self._frame), bool)
        found[list(self._rows.values())] = True
        return found

    def _row_of(self, candidate: Candidate) -> int:
        values = self.identify(candidate) if self.identify else candidate.values
        key = tuple(values.get(name) for name in self.decisions)
        if key not in self._rows:
            raise InfeasibleCandidate(f"{self.path.name} has no row of this candidate")
        return self._rows[key]

    @cached_property
    def _frame(self) -> pd.DataFrame:
        wanted = [one.column for one in self.decisions.values()] + [*self.filter]
        for metrics in self.fidelities.values():
            wanted += [column for one in metrics.values() for column in one.columns]
        frame = (self.reader or _read)(self.path, list(dict.fromkeys(wanted)))
        for name, value in self.filter.items():
            frame = frame[frame[name] == value]
        if frame.empty:
            raise InputError(f"{self.file} must have rows of this benchmark, got none.")
        return frame

    @cached_property
    def _rows(self) -> dict[tuple[Value | None, ...], int]:
        """Decided values, in the order of `decisions` -> row."""
        columns = [self._decided(path) for path in self.decisions]
        fits = [True] * len(self._frame)
        if not self.identify:
            decisions = {one.path: one for one in self.space.decisions}
            legal = [
                _legal(decisions[path], c) for path, c in zip(self.decisions, columns, strict=True)
            ]
            fits = [all(row) for row in zip(*legal, strict=True)]
            if not any(fits):
                raise InputError(self._no_match(columns, legal))
        rows: dict[tuple[Value | None, ...], int] = {}
        for row, key in enumerate(zip(*columns, strict=True)):
            if fits[row] and rows.setdefault(key, row) != row:
                what = _written(zip(self.decisions, key, strict=True))
                fix = "Repetitions are columns of a metric; of several tables in one choose by filter."
                rule = "a table with one row for each candidate"
                got = Phrase(f"several of {what}")
                raise InputError(expected(self.path.name, rule, got, fix))
        return rows

    def _decided(self, path: str) -> list[Value | None]:
        """(rows,) what a column says of a decision; None where its cell is empty."""
        one = self.decisions[path]
        cells = self._frame[one.column]
        empty = cells.isna().tolist()
        values = [None if e else v for v, e in zip(cells.tolist(), empty, strict=True)]
        if not one.codes:
            return values
        places = dict(enumerate(one.codes))
        wrong = [value for value in values if value is not None and value not in places]
        if wrong:
            rule = f"whole numbers from 0 to {len(one.codes) - 1}, for {path!r}"
            raise InputError(expected(f"column {one.column!r}", rule, wrong[0]))
        return [None if value is None else places[value] for value in values]

    def _no_match(
        self, columns: Sequence[Sequence[Value | None]], legal: Sequence[Sequence[bool]]
    ) -> str:
        """What rows and candidates are like, in the decisions that never agree where there are some."""
        paths = list(self.decisions)
        shown = [i for i, one in enumerate(legal) if not any(one)] or range(len(paths))
        values = {one.path: one.values[0] for one in self.space.decisions}
        row = _written((paths[i], columns[i][0]) for i in shown)
        candidate = _written((paths[i], values[paths[i]]) for i in shown)
        got = Phrase(f"no row of any: a row has {row}, a candidate {candidate}")
        return expected(self.path.name, "a table of the space's candidates", got)

    @cached_property
    def _values(self) -> dict[float, dict[str, NDArray[np.float64]]]:
        """Fidelity -> metric -> (rows, repetitions); NaN where there is none."""
        return {
            fidelity: {name: self._numbers(one) for name, one in metrics.items()}
            for fidelity, metrics in self.fidelities.items()
        }

    def _numbers(self, measured: MetricColumns) -> NDArray[np.float64]:
        import pandas as pd

        cells = self._frame[list(measured.columns)]
        try:
            numbers = cells.to_numpy(np.float64) * measured.scale
        except (ValueError, TypeError):
            for name in measured.columns:
                wrong = pd.to_numeric(cells[name], errors="coerce").isna() & cells[name].notna()
                if wrong.any():
                    got = cells[name][wrong].iloc[0]
                    what = f"column {name!r} of {self.path.name}"
                    raise InputError(expected(what, "numbers", got)) from None
            raise
        return np.where(np.isfinite(numbers), numbers, np.nan)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: a worker reads for itself."""
        read = ("_frame", "_rows", "_values")
        return {name: value for name, value in self.__dict__.items() if name not in read}


def nearest_fidelity(fidelity: float, among: Collection[float]) -> float:
    """The nearest below it, or the lowest."""
    below = [one for one in among if one <= fidelity + 1e-9]
    return max(below) if below else min(among)


def _legal(decision: Decision, column: Sequence[Value | None]) -> list[bool]:
    """(rows,) whether a value is one of the decision's; none is, where it is not always asked."""

    def holds(value: Value | None) -> bool:
        if value is None and decision.conditions is not None:
            return True
        if not isinstance(decision.values, range):
            return value in decision.index_of
        whole = isinstance(value, int | float) and float(value).is_integer()
        return whole and int(value) in decision.values  # type: ignore[arg-type]  # a number

    known = {value: holds(value) for value in set(column)}
    return [known[value] for value in column]


def _written(decided: Iterable[tuple[str, Value | None]]) -> str:
    """``a=0, b='x'``, the first three."""
    parts = [f"{path}={value!r}" for path, value in decided]
    return ", ".join(parts[:3]) + (", ..." if len(parts) > 3 else "")


def _read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    have = columns_of(file)
    for name in columns:
        if name not in have:
            listed = ", ".join(have[:12]) + (", ..." if len(have) > 12 else "")
            fix = closest(name, have) or f"It has: {listed}."
            raise InputError(f"{file.name} must have the column {name!r}. {fix}")
    try:
        if _is_parquet(file):
            return pd.read_parquet(file, columns=list(columns))
        return pd.read_csv(file, usecols=list(columns))
    except (ValueError, OSError) as error:  # what their parsers raise are of these
        raise InputError(_unreadable(file, error)) from error


def columns_of(file: Path) -> list[str]:
    """The names of a table's columns; InputError where it is not a parquet or CSV file."""
    import pandas as pd

    if not file.is_file():
        raise InputError(expected("table", "a file that exists", str(file)))
    try:
        if _is_parquet(file):
            parquet = import_optional("pyarrow.parquet", "parquet", "reading parquet")
            return list(parquet.read_schema(file).names)
        return list(pd.read_csv(file, nrows=0).columns)
    except (ValueError, OSError) as error:
        raise InputError(_unreadable(file, error)) from error


def _is_parquet(file: Path) -> bool:
    return file.suffix in (".parquet", ".pq")


def _unreadable(file: Path, error: Exception) -> str:
    kind = "parquet" if _is_parquet(file) else "CSV"
    why = str(error).strip().partition("\n")[0].rstrip(".")
    rule = f"a {kind} file"
    got = Phrase(f"another or one cut off ({why})")
    return expected(str(file), rule, got)
