"""Known candidates: what is drawn from them, mutated or near another is always one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, Phrase, SpaceError, expected
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, NumberChoice, OneOf
from netwright.space.decision import Decision

if TYPE_CHECKING:
    import pandas as pd

_MAX_EXACT_INTEGER = 2**53
"""Whole numbers beyond it are kept as floats."""


@dataclass(frozen=True)
class Pool:
    """Known candidates of a space, and the distances between them.

    The distance of two candidates is the number of options in which they differ, plus the
    differences of their numbers as shares of the range, plus 1 for each decision that only one of
    them makes. Each method takes O(candidates * decisions).

    Args:
        decisions: of the space.
        candidates: all different, at least one.
    """

    decisions: tuple[Decision, ...]
    candidates: tuple[Candidate, ...]

    def __contains__(self, candidate: Candidate) -> bool:
        """Return whether the candidate is known."""
        return candidate in self._index

    @cached_property
    def digest(self) -> str:
        """32 hex digits: hash of all candidates, whatever their order."""
        keys = "".join(sorted(candidate.key for candidate in self.candidates))
        return hashlib.sha256(keys.encode()).hexdigest()[:32]

    def nearest(self, values: Mapping[str, Value]) -> Candidate:
        """Return the candidate nearest to legal decisions; of equally near ones the first."""
        return self.candidates[int(np.argmin(self._distances(values).sum(1)))]

    def mutate(self, parent: Candidate, rng: np.random.Generator, under: str) -> Candidate:
        """Draw one of the candidates nearest to the parent of those that differ in one decision.

        The decision is drawn first, among those in which any candidate differs.

        Raises:
            SpaceError: none differs below `under`.
        """
        steps = [
            step
            for path, step in self._steps(parent).items()
            if not under or path == under or path.startswith(under + ".")
        ]
        if not steps:
            where = f" below {under!r}" if under else ""
            raise SpaceError(f"a mutation must have a decision to change{where}, got none.")
        nearest = steps[int(rng.integers(len(steps)))]
        return self.candidates[nearest[int(rng.integers(len(nearest)))]]

    def crossover(self, parent: Candidate, other: Candidate, rng: np.random.Generator) -> Candidate:
        """Take each decision from one of two parents, and return the candidate nearest to these.

        A third candidate, if there is one.
        """
        coins = rng.random(len(self.decisions)) < 0.5
        mixed: dict[str, Value] = {}
        for decision, coin in zip(self.decisions, coins, strict=True):
            chosen = (parent if coin else other).values
            if decision.path in chosen:
                mixed[decision.path] = chosen[decision.path]
        distances = self._distances(mixed).sum(1)
        parents = [self._index[each] for each in {parent, other} if each in self._index]
        if len(self.candidates) > len(parents):
            distances[parents] = np.inf
        return self.candidates[int(rng.choice(np.flatnonzero(distances == distances.min())))]

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """Yield the nearest candidates with each other option, and with each number above and below."""
        steps = self._steps(candidate).values()
        for row in dict.fromkeys(row for step in steps for row in step):
            yield self.candidates[row]

    @cached_property
    def _index(self) -> dict[Candidate, int]:
        return {candidate: row for row, candidate in enumerate(self.candidates)}

    @cached_property
    def _coordinates(self) -> NDArray[np.float64]:
        """(candidates, decisions): see `_coordinate`."""
        rows = [
            [_coordinate(decision, candidate.values) for decision in self.decisions]
            for candidate in self.candidates
        ]
        return np.array(rows).reshape(len(rows), len(self.decisions))

    @cached_property
    def _are_numbers(self) -> NDArray[np.bool_]:
        """(decisions,) whether differences count as shares of the range."""
        return np.array([_is_number(decision) for decision in self.decisions], bool)

    def _distances(self, values: Mapping[str, Value]) -> NDArray[np.float64]:
        """(candidates, decisions) distances to the decisions."""
        own = np.array([_coordinate(decision, values) for decision in self.decisions])
        differences = np.abs(self._coordinates - own)
        are_decided = (self._coordinates >= 0) & (own >= 0)
        as_numbers = self._are_numbers & are_decided
        distances: NDArray[np.float64] = np.where(as_numbers, differences, 1.0 * (differences > 0))
        return distances

    def _steps(self, candidate: Candidate) -> dict[str, list[int]]:
        """Path -> indices of the nearest candidates with each other option, or above and below.

        Of equally near ones all; without the decisions in which no candidate differs.
        """
        total = self._distances(candidate.values).sum(1)  # (candidates,)
        steps: dict[str, list[int]] = {}
        for d, decision in enumerate(self.decisions):
            away = self._coordinates[:, d] - _coordinate(decision, candidate.values)
            groups = np.sign(away) if self._are_numbers[d] else away
            rows: list[int] = []
            for group in np.unique(groups[away != 0]):
                inside = np.flatnonzero(groups == group)
                rows += inside[total[inside] == total[inside].min()].tolist()
            if rows:
                steps[decision.path] = rows
        return steps


def _is_number(decision: Decision) -> bool:
    return isinstance(decision.choice, NumberChoice)


def _coordinate(decision: Decision, values: Mapping[str, Value]) -> float:
    """Return a number's coordinate in [0, 1], or the index of an option; -1 if it is inactive."""
    if decision.path not in values:
        return -1.0
    decided = values[decision.path]
    return decision.to_unit(decided) if _is_number(decision) else float(decision.index(decided))


def pool_of_frame(frame: pd.DataFrame) -> tuple[dict[str, Any], list[Candidate]]:
    """Return the choices among the values of a table's columns, and the candidate of each row.

    Raises:
        InputError: a column has empty cells, or cells of several types.
    """
    if not frame.columns.is_unique or not len(frame.columns):
        got = Phrase("two of one name" if len(frame.columns) else "none")
        raise InputError(expected("columns of a pool", "different ones, at least one", got))
    names = [str(name) for name in frame.columns]
    columns = [_cells(name, frame.iloc[:, i]) for i, name in enumerate(names)]
    choices = {name: _choice(column) for name, column in zip(names, columns, strict=True) if column}
    rows = [Candidate(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return choices, rows


def _cells(name: str, series: pd.Series) -> list[Value]:
    """Return the cells as values of a candidate."""
    if series.isna().any():
        fix = "Fill it, such as by 'none', or leave the column out."
        raise InputError(
            expected(f"column {name!r}", "filled in each row", Phrase("an empty cell"), fix)
        )
    cells = [cell.item() if isinstance(cell, np.generic) else cell for cell in series.tolist()]
    if wrong := [cell for cell in cells if not isinstance(cell, str | int | float | bool)]:
        raise InputError(expected(f"column {name!r}", "of texts, numbers or booleans", wrong[0]))
    if all(isinstance(cell, bool) for cell in cells):
        return cast("list[Value]", cells)
    if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
        return _numbers(name, cells)
    if wrong := [cell for cell in cells if not isinstance(cell, str)]:
        rule = "of one type"
        raise InputError(expected(f"column {name!r}", rule, wrong[0], "Make all of them texts."))
    return cast("list[Value]", cells)


def _numbers(name: str, cells: Sequence[float]) -> list[Value]:
    """Return integers if all are whole, else floats."""
    if not np.isfinite(cells).all():
        raise InputError(expected(f"column {name!r}", "of finite numbers", Phrase("another")))
    if all(float(cell).is_integer() and abs(cell) <= _MAX_EXACT_INTEGER for cell in cells):
        return [int(cell) for cell in cells]
    return [float(cell) for cell in cells]


def _choice(column: Sequence[Value]) -> Any:  # noqa: ANN401  # an open choice has the type of its options
    """Return the open choice among a column's values."""
    numbers = sorted(set(cast("list[float]", column)))  # of one type, which may be another
    if len(numbers) == 1 or isinstance(numbers[0], str | bool):
        return OneOf(*numbers)
    low, high = numbers[0], numbers[-1]
    is_log = low > 0 and _is_more_even(np.log(numbers), np.asarray(numbers, float))
    if isinstance(low, int):
        return Integer(low, int(high), log=is_log)
    return Float(low, high, log=is_log)


def _is_more_even(numbers: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Return whether the median of `numbers` is nearer to their middle than that of `others`."""
    off_centre = [
        abs((np.median(each) - each[0]) / (each[-1] - each[0]) - 0.5) for each in (numbers, others)
    ]
    return bool(off_centre[0] < off_centre[1] - 1e-9)
