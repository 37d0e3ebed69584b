"""Feature crosses: pairs of categories as one, where together they explain more of the target."""

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

_SEPARATOR = "\x1f"
"""Between the two values: the ASCII unit separator, which does not occur in written text."""
_MAX_COLUMNS = 12
"""Columns that are paired, those that explain most by themselves: at most 66 pairs are tested."""
_MIN_ROWS_PER_CELL = 5
"""Pairs with fewer rows per cell on average are skipped: their means would be memorized targets."""
_SIGNIFICANCE_LEVEL = 0.01
"""Probability that any pair of a table of noise passes, over all pairs (Bonferroni)."""
_BACKFITTING_ROUNDS = 8
"""Rounds of the additive fit at most; it ends earlier when nothing is left to subtract."""


def best_crosses(
    table: Table, columns: Sequence[str], target_matrix: TargetMatrix, max_crosses: int
) -> tuple[Cross, ...]:
    """Select crosses by an F test of interaction in a two-way layout.

    The residuals of an additive model of both columns are compared with what the means of the
    cells explain of them beyond chance, corrected for the number of pairs.

    Args:
        table: the training rows.
        columns: the names of the columns to pair.
        target_matrix: (rows, k) the targets of the rows.
        max_crosses: number of crosses at most.

    Returns:
        The crosses, the one that explains most first.
    """
    codes = {name: np.unique(table.arrays[name], return_inverse=True)[1] for name in columns}
    explained = {name: _subtract_means(codes[name], target_matrix)[1] for name in columns}
    best_first = sorted(columns, key=lambda name: -explained[name])
    paired_columns = sorted(best_first[:_MAX_COLUMNS], key=list(columns).index)
    pairs = list(combinations(paired_columns, 2))
    gains: dict[Cross, float] = {}
    for a, b in pairs:
        level = _SIGNIFICANCE_LEVEL / len(pairs)
        gain = _interaction(codes[a], codes[b], target_matrix, level)
        if gain > 0:
            gains[a, b] = gain
    return tuple(sorted(gains, key=lambda pair: -gains[pair])[:max_crosses])


def _interaction(
    a: NDArray[np.int64], b: NDArray[np.int64], target_matrix: TargetMatrix, level: float
) -> float:
    """Return the sum of squares that cells explain beyond chance; 0 if not significant."""
    from scipy.stats import f

    sizes = int(a.max()) + 1, int(b.max()) + 1
    cells = np.unique(a * sizes[1] + b, return_inverse=True)[1]
    n_cells = int(cells.max()) + 1
    df_interaction = n_cells - sizes[0] - sizes[1] + 1
    if df_interaction < 1 or n_cells * _MIN_ROWS_PER_CELL > len(target_matrix):
        return 0.0
    residuals = _additive_residuals(a, b, target_matrix)
    rest, explained = _subtract_means(cells, residuals)
    k, df_within = target_matrix.shape[1], len(target_matrix) - n_cells
    noise = float((rest**2).sum()) / (k * df_within)
    if noise > 0:
        f_statistic = explained / (k * df_interaction) / noise
        if f.sf(f_statistic, k * df_interaction, k * df_within) >= level:
            return 0.0
    return max(0.0, float(explained - k * df_interaction * noise))


def _additive_residuals(
    a: NDArray[np.int64], b: NDArray[np.int64], target_matrix: TargetMatrix
) -> TargetMatrix:
    """Return the residuals of the best additive model of both columns, fitted by backfitting."""
    residuals = target_matrix
    for _ in range(_BACKFITTING_ROUNDS):
        residuals, explained_by_a = _subtract_means(a, residuals)
        residuals, explained_by_b = _subtract_means(b, residuals)
        total = max(1e-12, float((target_matrix**2).sum()))
        if explained_by_a + explained_by_b < 1e-6 * total:
            break
    return residuals


def _subtract_means(
    codes: NDArray[np.int64], residuals: TargetMatrix
) -> tuple[TargetMatrix, float]:
    """Return the residuals less the mean of each code, and the sum of squares this explains."""
    counts = np.maximum(np.bincount(codes), 1)
    means = np.stack([np.bincount(codes, column) / counts for column in residuals.T], axis=1)[codes]
    return residuals - means, float((means**2).sum())


def cross_name(cross: Cross) -> str:
    """Return the name of the new column and tensor; the prefix keeps it apart from a table's."""
    return f"nw/cross/{cross[0]}{_SEPARATOR}{cross[1]}"


def add_crosses(table: Table, crosses: Sequence[Cross]) -> Table:
    """Return the table with a column of joined values for each cross."""
    if not crosses:
        return table
    arrays = dict(table.arrays)
    for a, b in crosses:
        pairs = zip(table.arrays[a].tolist(), table.arrays[b].tolist(), strict=True)
        joined = np.empty(len(table), object)
        joined[:] = [f"{first}{_SEPARATOR}{second}" for first, second in pairs]
        arrays[cross_name((a, b))] = joined
    columns = [Column(cross_name(cross), "category") for cross in crosses]
    return Table((*table.columns, *columns), arrays, table.n_source_columns)


def add_crosses_onnx(builder: OnnxGraphBuilder, crosses: Sequence[Cross]) -> None:
    """Add the nodes of `add_crosses`, whose outputs have the names of the new columns."""
    for cross in crosses:
        separator = builder.constant(np.array([_SEPARATOR], object))
        first = builder.add("StringConcat", [cross[0], separator])
        builder.add("StringConcat", [first, cross[1]], output=cross_name(cross))
