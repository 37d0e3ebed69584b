"""Candidates as rows of numbers, for models."""

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
        for one in decisions:
            if isinstance(one.choice, NumberChoice):
                self._numbers.append((one.path, len(columns), one))
                columns.append(one.path)
                continue
            labels = one.choice.labels
            places = {name: len(columns) + i for i, name in enumerate(labels)}
            self._options.append((one.path, places, isinstance(one.choice, SubsetOfChoice)))
            columns += [f"{one.path}={name}" for name in labels]
        self.columns = tuple(columns)

    def encode(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """(n, columns); what is not active is 0 in options and -1 in numbers."""
        rows = np.zeros((len(candidates), len(self.columns)))
        for _, column, _ in self._numbers:
            rows[:, column] = -1.0
        for row, candidate in zip(rows, candidates, strict=True):
            values = candidate.values
            for path, places, subset in self._options:
                if path in values:
                    chosen = values[path]
                    for name in chosen if subset else (chosen,):  # type: ignore[union-attr]  # subsets are tuples
                        row[places[name]] = 1.0
            for path, column, decision in self._numbers:
                if path in values:
                    row[column] = decision.to_unit(values[path])
        return rows
