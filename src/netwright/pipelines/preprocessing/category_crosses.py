"""Two categories as one: pairs of columns whose values say more together than one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import Column
from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import TargetMatrix

Cross: TypeAlias = tuple[str, str]
"""The names of two columns."""

_BETWEEN = "\x1f"
"""Between the two values: the unit separator, which no text of a person has."""
_COLUMNS = 12
"""So many columns, those that say most by themselves, are paired."""
_ROWS_A_CELL = 5
"""Pairs with more cells would have fewer rows each: they tell little, and by heart."""
_CHANCE = 0.01
"""The chance that a table of noise passes, over all pairs."""


def best_crosses(
    table: Table, columns: Sequence[str], aims: TargetMatrix, most: int
) -> tuple[Cross, ...]:
    """Up to `most` pairs, the most telling first: an F test of interaction in a two-way layout.

    What is left of each aim (rows, k) when the means of both values are taken off is compared with
    what the means of the cells take off it beyond chance, corrected for the number of pairs.
    """
    codes = {name: np.unique(table.arrays[name], return_inverse=True)[1] for name in columns}
    told = {name: _by_means(codes[name], aims)[1] for name in columns}
    kept = sorted(sorted(columns, key=lambda name: -told[name])[:_COLUMNS], key=list(columns).index)
    options = list(combinations(kept, 2))
    scores: dict[Cross, float] = {}
    for a, b in options:
        gain = _interaction(codes[a], codes[b], aims, _CHANCE / len(options))
        if gain > 0:
            scores[a, b] = gain
    return tuple(sorted(scores, key=lambda pair: -scores[pair])[:most])


def _interaction(
    a: NDArray[np.int64], b: NDArray[np.int64], aims: TargetMatrix, level: float
) -> float:  # fmt: skip
    """The sum of squares that cells explain beyond chance; 0 where chance explains as much."""
    from scipy.stats import f

    sizes = int(a.max()) + 1, int(b.max()) + 1
    cells = np.unique(a * sizes[1] + b, return_inverse=True)[1]
    many = int(cells.max()) + 1
    free = many - sizes[0] - sizes[1] + 1
    if free < 1 or many * _ROWS_A_CELL > len(aims):
        return 0.0
    left = _additive(a, b, aims)
    rest, explained = _by_means(cells, left)
    k, within = aims.shape[1], len(aims) - many
    noise = float((rest**2).sum()) / (k * within)
    if noise > 0 and f.sf(explained / (k * free) / noise, k * free, k * within) >= level:
        return 0.0
    return max(0.0, float(explained - k * free * noise))


def _additive(a: NDArray[np.int64], b: NDArray[np.int64], aims: TargetMatrix) -> TargetMatrix:
    """What the best sum of one number a value leaves: means taken off in turn until they are 0."""
    left = aims
    for _ in range(8):
        left, first = _by_means(a, left)
        left, second = _by_means(b, left)
        if first + second < 1e-6 * max(1e-12, float((aims**2).sum())):
            break
    return left


def _by_means(codes: NDArray[np.int64], left: TargetMatrix) -> tuple[TargetMatrix, float]:
    """The rest without the means of each code, and the sum of squares that they were."""
    counts = np.maximum(np.bincount(codes), 1)
    means = np.stack([np.bincount(codes, aim) / counts for aim in left.T], axis=1)[codes]
    return left - means, float((means**2).sum())


def name_of(cross: Cross) -> str:
    """What the new column is called, among nodes too: no column of a table begins like it."""
    return f"nw/cross/{cross[0]}{_BETWEEN}{cross[1]}"


def crossed(table: Table, crosses: Sequence[Cross]) -> Table:
    """The table with a column of joined values for each pair."""
    if not crosses:
        return table
    arrays = dict(table.arrays)
    for a, b in crosses:
        pairs = zip(table.arrays[a].tolist(), table.arrays[b].tolist(), strict=True)
        joined = np.empty(len(table), object)
        joined[:] = [f"{first}{_BETWEEN}{second}" for first, second in pairs]
        arrays[name_of((a, b))] = joined
    columns = [Column(name_of(one), "category") for one in crosses]
    return Table((*table.columns, *columns), arrays, table.n_source_columns)


def emit_crosses(nodes: OnnxGraphBuilder, crosses: Sequence[Cross]) -> None:
    """The same columns as tensors of the same names."""
    for cross in crosses:
        between = nodes.constant(np.array([_BETWEEN], object))
        first = nodes.add("StringConcat", [cross[0], between])
        nodes.add("StringConcat", [first, cross[1]], output=name_of(cross))
