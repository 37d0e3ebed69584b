"""Candidates as rows of numbers, for models that learn from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice, SubsetOfChoice
from netwright.space.decision import Decision


class Encoder:
    """Options as one-hot columns (multi-hot for subsets), numbers as one column in [0, 1]."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._numbers: list[tuple[str, int, Decision]] = []
        self._options: list[tuple[str, dict[Value, int], bool]] = []
        columns: list[str] = []
        for decision in decisions:
            if isinstance(decision.choice, NumberChoice):
                self._numbers.append((decision.path, len(columns), decision))
                columns.append(decision.path)
                continue
            labels = decision.choice.labels
            column_of = {label: len(columns) + i for i, label in enumerate(labels)}
            is_subset = isinstance(decision.choice, SubsetOfChoice)
            self._options.append((decision.path, column_of, is_subset))
            columns += [f"{decision.path}={label}" for label in labels]
        self.columns = tuple(columns)

    def encode(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Return (n, columns); inactive options are 0 and inactive numbers -1."""
        rows = np.zeros((len(candidates), len(self.columns)))
        for _, column, _ in self._numbers:
            rows[:, column] = -1.0
        for row, candidate in zip(rows, candidates, strict=True):
            values = candidate.values
            for path, column_of, is_subset in self._options:
                if path in values:
                    chosen = values[path]
                    for label in chosen if is_subset else (chosen,):  # type: ignore[union-attr]  # subsets are tuples
                        row[column_of[label]] = 1.0
            for path, column, decision in self._numbers:
                if path in values:
                    row[column] = decision.to_unit(values[path])
        return rows
