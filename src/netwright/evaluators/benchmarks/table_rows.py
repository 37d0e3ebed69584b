"""The rows of a table: which candidate each is of, and the repetitions of its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, Phrase, expected
from netwright.evaluators.benchmarks.table_columns import (
    DecisionColumn,
    Fidelities,
    MetricColumns,
    read_columns,
)
from netwright.space.candidate import Candidate, Value
from netwright.space.decision import Decision
from netwright.space.space import Space

if TYPE_CHECKING:
    import pandas as pd

RowKey = tuple[Value | None, ...]
"""The values of the decisions, in the order of the table's `decisions`; None if inactive."""
ReadColumns = Callable[[Path, Sequence[str]], "pd.DataFrame"]
"""Reads the named columns of a file."""
_MAX_DECISIONS_SHOWN = 3
"""Decisions that an error names."""


@dataclass(frozen=True)
class TableRows:
    """The rows of a table that are candidates of a space.

    Args:
        frame: the columns of decisions, metrics and conditions.
        name: of the table, for errors.
        space: of the candidates; None if the decisions are not those of the space.
        decisions: path of each decision -> its column.
        fidelities: fidelity -> metric -> its columns.
        repeated_rows: whether rows of one candidate are repetitions, and no error.

    Attributes:
        index: the values of the decisions -> the candidate's number.
        metrics: fidelity -> metric -> (candidates, repetitions), NaN for missing repetitions.

    Raises:
        InputError: when an attribute is read: no row is a candidate of the space, two are the same
            one, or a cell holds something else.
    """

    frame: pd.DataFrame
    name: str
    space: Space[Any] | None
    decisions: Mapping[str, DecisionColumn]
    fidelities: Fidelities
    repeated_rows: bool

    @classmethod
    def read(
        cls,
        file: Path,
        reader: ReadColumns | None,
        conditions: Mapping[str, Value],
        space: Space[Any] | None,
        decisions: Mapping[str, DecisionColumn],
        fidelities: Fidelities,
        *,
        repeated_rows: bool,
    ) -> TableRows:
        """Read the columns that are needed, and keep the rows that meet the conditions.

        Raises:
            InputError: the file cannot be read, lacks a column, or has no such row.
        """
        names = [column.column for column in decisions.values()] + [*conditions]
        for metrics in fidelities.values():
            for columns in metrics.values():
                names += [*columns.columns, *columns.where]
        frame = (reader or read_columns)(file, list(dict.fromkeys(names)))
        frame = frame[_meet(frame, conditions)]
        if frame.empty:
            raise InputError(f"{file} must have rows of this benchmark, got none.")
        return cls(frame, file.name, space, decisions, fidelities, repeated_rows)

    @cached_property
    def _keys(self) -> list[RowKey | None]:
        """(rows,) the values of the decisions; None where they are no candidate of the space."""
        columns = [self._decision_values(path) for path in self.decisions]
        keys: list[RowKey | None] = [*zip(*columns, strict=True)]
        if self.space is None:
            return keys
        decisions = {decision.path: decision for decision in self.space.decisions}
        are_values = [
            _are_values_of(decisions[path], column)
            for path, column in zip(self.decisions, columns, strict=True)
        ]
        are_candidates = [all(row) for row in zip(*are_values, strict=True)]
        if not any(are_candidates):
            raise InputError(self._no_match_error(columns, are_values))
        return [
            key if is_candidate else None
            for key, is_candidate in zip(keys, are_candidates, strict=True)
        ]

    @cached_property
    def index(self) -> dict[RowKey, int]:
        different = dict.fromkeys(key for key in self._keys if key is not None)
        return {key: i for i, key in enumerate(different)}

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The candidates, in the order of `index`; their decisions are those of the space."""
        assert self.space is not None
        decisions = {decision.path: decision for decision in self.space.decisions}
        return [
            Candidate(
                {
                    path: _as_value(decisions[path], cell)
                    for path, cell in zip(self.decisions, key, strict=True)
                    if cell is not None
                }
            )
            for key in self.index
        ]

    @cached_property
    def metrics(self) -> dict[float, dict[str, NDArray[np.float64]]]:
        numbers = [-1 if key is None else self.index[key] for key in self._keys]
        of_rows = np.array(numbers)  # (rows,) the candidate's number, -1 for none
        return {
            fidelity: {name: self._read(columns, of_rows) for name, columns in metrics.items()}
            for fidelity, metrics in self.fidelities.items()
        }

    def _read(
        self, metric_columns: MetricColumns, of_rows: NDArray[np.int_]
    ) -> NDArray[np.float64]:
        """Return the repetitions of a metric (candidates, repetitions)."""
        inside = (of_rows >= 0) & _meet(self.frame, metric_columns.where)
        cells = self._cells(metric_columns, inside)  # (inside, columns)
        numbers = of_rows[inside]
        earlier = _n_earlier(numbers)
        n_rows, n_columns = 1 + int(earlier.max(initial=0)), cells.shape[1]
        repetitions = np.full((len(self.index), n_rows, n_columns), np.nan)
        repetitions[numbers, earlier] = cells
        if n_rows > 1 and not self.repeated_rows:
            first = repetitions[numbers, 0]
            differs = ~((cells == first) | (np.isnan(cells) & np.isnan(first))).all(1)
            if differs.any():
                raise InputError(self._repeated_error(int(numbers[differs][0])))
            return repetitions[:, 0]  # such as the parameters, in the row of each epoch
        return repetitions.reshape(len(self.index), n_rows * n_columns)

    def _cells(
        self, metric_columns: MetricColumns, inside: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the numbers in a metric's columns, NaN for empty and infinite ones."""
        import pandas as pd

        cells = self.frame.loc[inside, list(metric_columns.columns)]
        try:
            numbers = cells.to_numpy(np.float64) * metric_columns.scale
        except (ValueError, TypeError):
            for name in metric_columns.columns:
                wrong = pd.to_numeric(cells[name], errors="coerce").isna() & cells[name].notna()
                if wrong.any():
                    got = cells[name][wrong].iloc[0]
                    what = f"column {name!r} of {self.name}"
                    raise InputError(expected(what, "numbers", got)) from None
            raise
        return np.where(np.isfinite(numbers), numbers, np.nan)

    def _decision_values(self, path: str) -> list[Value | None]:
        """Return the values of a decision in all rows; None for empty cells."""
        column = self.decisions[path]
        cells = self.frame[column.column]
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

    def _repeated_error(self, index: int) -> str:
        key = list(self.index)[index]
        decided = format_decisions(zip(self.decisions, key, strict=True))
        fix = (
            "Use repeated_rows=True if they are repetitions, filter to choose one of several tables, "
            "or where= of MetricColumns if each row has one epoch or metric."
        )
        rule = "a table with one row for each candidate"
        return expected(self.name, rule, Phrase(f"several of {decided}"), fix)

    def _no_match_error(
        self, columns: Sequence[Sequence[Value | None]], are_values: Sequence[Sequence[bool]]
    ) -> str:
        """Return an error that compares a row and a candidate, in decisions that never agree if any."""
        assert self.space is not None
        paths = list(self.decisions)
        shown = [i for i, matches in enumerate(are_values) if not any(matches)]
        shown = shown or [*range(len(paths))]
        default = {decision.path: decision.from_unit(0.0) for decision in self.space.decisions}
        row = format_decisions((paths[i], columns[i][0]) for i in shown)
        candidate = format_decisions((paths[i], default[paths[i]]) for i in shown)
        got = Phrase(f"no row of any: a row has {row}, a candidate {candidate}")
        return expected(self.name, "a table of the space's candidates", got)


def _meet(frame: pd.DataFrame, conditions: Mapping[str, Value]) -> NDArray[np.bool_]:
    """(rows,) whether each row has the values of the conditions."""
    meets = np.ones(len(frame), bool)
    for name, value in conditions.items():
        meets &= (frame[name] == value).to_numpy(bool)
    return meets


def _n_earlier(numbers: NDArray[np.int_]) -> NDArray[np.int_]:
    """(rows,) how many earlier rows have the same number."""
    order = np.argsort(numbers, kind="stable")
    in_order = numbers[order]
    is_first = np.append(True, in_order[1:] != in_order[:-1])[: len(in_order)]
    positions = np.arange(len(numbers))
    first = np.maximum.accumulate(np.where(is_first, positions, 0))
    earlier = np.empty(len(numbers), int)
    earlier[order] = positions - first
    return earlier


def _are_values_of(decision: Decision, column: Sequence[Value | None]) -> list[bool]:
    """(rows,) whether each cell is a value of the decision; empty cells are, if it may be inactive."""

    def is_value(cell: Value | None) -> bool:
        if cell is None and decision.conditions is not None:
            return True
        if not len(decision.values):
            return isinstance(cell, int | float) and decision.contains(float(cell))
        if not isinstance(decision.values, range):
            return cell in decision.index_of
        is_whole = isinstance(cell, int | float) and float(cell).is_integer()
        return is_whole and int(cell) in decision.values  # type: ignore[arg-type]  # a number

    by_cell = {cell: is_value(cell) for cell in set(column)}
    return [by_cell[cell] for cell in column]


def _as_value(decision: Decision, cell: Value) -> Value:
    """Return the decision's own value that equals a cell: 3 for 3.0, True for 1."""
    if not len(decision.values):
        return float(cell)  # type: ignore[arg-type]  # a number
    if isinstance(decision.values, range):
        return int(cell)  # type: ignore[arg-type]  # a whole number
    return decision.values[decision.index_of[cell]]


def format_decisions(decided: Iterable[tuple[str, Value | None]]) -> str:
    """Format the first three decisions: ``a=0, b='x', ...``."""
    texts = [f"{path}={value!r}" for path, value in decided]
    shown = ", ".join(texts[:_MAX_DECISIONS_SHOWN])
    return shown + (", ..." if len(texts) > _MAX_DECISIONS_SHOWN else "")
