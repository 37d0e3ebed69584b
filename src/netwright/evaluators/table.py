"""Benchmarks that are tables: candidates already evaluated, looked up instead of trained.

A table becomes an evaluator by saying which column decides what, and which columns are the metrics
at each fidelity. It is read when the first candidate is looked up, and only in the columns needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright._optional import require
from netwright.errors import InfeasibleCandidate, InputError, closest, expected
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

if TYPE_CHECKING:
    import pandas as pd

    from netwright.evaluators.knowledge import NetworkKnowledge


@dataclass(frozen=True)
class Decided:
    """The column that holds a decision: its values as they are, or whole numbers into `codes`."""

    column: str
    codes: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Measured:
    """The columns that hold a metric, one for each repetition; a value times `scale` is the metric."""

    columns: tuple[str, ...]
    scale: float = 1.0

    @classmethod
    def of(cls, *columns: str, scale: float = 1.0) -> Measured:
        return cls(columns, scale)


Fidelities = Mapping[float, Mapping[str, Measured]]
"""Fidelity in (0, 1] -> metric -> its columns; 1 has to be there."""


@dataclass(frozen=True)
class TableBenchmark:
    """An evaluator that looks candidates up in a parquet or CSV file, or in one with a `reader`.

    `decisions`: path of a decision of `space` -> its column. `repetition` "mean" averages a
    metric's repetitions, "one" takes the one that the trial's seed points to, as training once
    would. A fidelity that the table does not have is taken as the nearest below it, or the lowest.
    Raises InputError when a column is missing; InfeasibleCandidate for a candidate not in the
    table, or without a value at the fidelity.
    """

    space: Space[Any]
    file: Path
    decisions: Mapping[str, Decided]
    fidelities: Fidelities
    repetition: Literal["mean", "one"] = "mean"
    filter: Mapping[str, Value] = field(default_factory=dict)
    """Only rows where these columns have these values."""
    costs: tuple[str, ...] = ()
    """Metrics that one knows without an evaluation, such as parameters: strategies may see them."""
    sizes: Callable[[Any], Metrics] | None = None
    """Of a filled description: see `NetworkKnowledge`."""
    identify: Callable[[Candidate], Mapping[str, Value]] | None = None
    """What the keys of `decisions` are for a candidate, where they are not its own decisions: many
    candidates may then share a row."""
    reader: Callable[[Path, Sequence[str]], pd.DataFrame] | None = None
    """Reads these columns of a file that is neither parquet nor CSV."""

    def __post_init__(self) -> None:
        if 1.0 not in self.fidelities:
            raise InputError(expected("fidelities", "such that 1 is one", [*self.fidelities]))
        if unknown := set(self.costs) - set(self.metrics):
            raise InputError(expected("costs", "metrics of the table", sorted(unknown)))
        paths = () if self.identify else (one.path for one in self.space.decisions)
        if missing := {*paths} - set(self.decisions):
            raise InputError(expected("decisions", "a column for each of the space", missing))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.fidelities[1.0])

    @property
    def knowledge(self) -> NetworkKnowledge:
        """The networks' features and canonical forms, and the `costs`; a new memory at each call."""
        from netwright.evaluators.knowledge import NetworkKnowledge  # torch loads with it

        return NetworkKnowledge(self.space, self._costs_of, self.sizes)

    def _costs_of(self, candidate: Candidate, description: object) -> Metrics:
        if not self.costs:
            return {}
        found = self.look_up(candidate)
        return {name: found[name] for name in self.costs}

    def __call__(self, job: Job) -> Metrics:
        fidelity = self.nearest(job.proposal.fidelity)
        return self.look_up(job.proposal.candidate, fidelity, job.seed)

    def look_up(self, candidate: Candidate, fidelity: float = 1.0, seed: int = 0) -> Metrics:
        """The metrics of a candidate at a fidelity of the table."""
        row = self._row_of(candidate)
        found = {}
        for name, values in self._values[fidelity].items():
            repeated = values[row][~np.isnan(values[row])]  # (repetitions,)
            if not len(repeated):
                raise InfeasibleCandidate(
                    f"{self.file.name} has no {name} at fidelity {fidelity:g}"
                )
            one = repeated[seed % len(repeated)] if self.repetition == "one" else repeated.mean()
            found[name] = float(one)
        return found

    def nearest(self, fidelity: float) -> float:
        """The fidelity of the table that stands for this one."""
        below = [one for one in self.fidelities if one <= fidelity + 1e-9]
        return max(below) if below else min(self.fidelities)

    def averaged(self) -> TableBenchmark:
        """The same table with the mean of the repetitions: what one training only hints at."""
        return self if self.repetition == "mean" else replace(self, repetition="mean")

    def column(self, metric: str, fidelity: float = 1.0) -> NDArray[np.float64]:
        """(rows,) means of a metric's repetitions over the whole table, for optima and references;
        NaN where a row has none."""
        if metric not in self.metrics:
            fix = closest(metric, self.metrics) or f"It has: {', '.join(self.metrics)}."
            raise InputError(expected("metric", f"one of {self.file.name}", metric, fix))
        values = self._values[fidelity][metric]  # (rows, repetitions)
        known = ~np.isnan(values)
        counts = known.sum(1)
        total = np.where(known, values, 0.0).sum(1)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)

    def _row_of(self, candidate: Candidate) -> int:
        values = self.identify(candidate) if self.identify else candidate.values
        key = tuple(values.get(name) for name in self.decisions)
        if key not in self._rows:
            raise InfeasibleCandidate(f"{self.file.name} has no row of this candidate")
        return self._rows[key]

    @cached_property
    def _frame(self) -> pd.DataFrame:
        wanted = [one.column for one in self.decisions.values()] + [*self.filter]
        for metrics in self.fidelities.values():
            wanted += [column for one in metrics.values() for column in one.columns]
        frame = (self.reader or _read)(self.file, list(dict.fromkeys(wanted)))
        for name, value in self.filter.items():
            frame = frame[frame[name] == value]
        if frame.empty:
            raise InputError(f"{self.file} must have rows of this benchmark, got none.")
        return frame

    @cached_property
    def _rows(self) -> dict[tuple[Value | None, ...], int]:
        """Decided values, in the order of `decisions` -> row."""
        columns = []
        for one in self.decisions.values():
            values = self._frame[one.column].tolist()
            columns.append([one.codes[int(v)] for v in values] if one.codes else values)
        return {key: row for row, key in enumerate(zip(*columns, strict=True))}

    @cached_property
    def _values(self) -> dict[float, dict[str, NDArray[np.float64]]]:
        """Fidelity -> metric -> (rows, repetitions)."""
        return {
            fidelity: {
                name: self._frame[list(one.columns)].to_numpy(np.float64) * one.scale
                for name, one in metrics.items()
            }
            for fidelity, metrics in self.fidelities.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: a worker reads for itself."""
        read = ("_frame", "_rows", "_values")
        return {name: value for name, value in self.__dict__.items() if name not in read}


def _read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    if not file.is_file():
        raise InputError(expected("table", "a file that exists", str(file)))
    if file.suffix in (".parquet", ".pq"):
        parquet = require("pyarrow.parquet", "parquet", "reading parquet")
        have = parquet.read_schema(file).names
    else:
        have = list(pd.read_csv(file, nrows=0).columns)
    for name in columns:
        if name not in have:
            raise InputError(f"{file.name} must have the column {name!r}. {closest(name, have)}")
    if file.suffix in (".parquet", ".pq"):
        return pd.read_parquet(file, columns=list(columns))
    return pd.read_csv(file, usecols=list(columns))
