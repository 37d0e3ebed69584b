"""Arithmetic features: sums, differences, products and quotients of two numeric columns.

Selected in the way of OpenFE (Zhang et al. 2023, 2211.12507): a boosted model leaves residuals, and
candidate features are compared by how much of these they explain, on few rows first (successive
halving). Here the model consists of stumps, which explain all that columns do one by one, and the
residuals are out of fold. A candidate counts for what it explains beyond its two columns and has to
pass a test that is corrected for the number of candidates; after each choice the residuals are
updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import TargetMatrix

_MAX_ROWS = 4_000
"""Rows, drawn at random, on which features are selected."""
_SCREENING_ROWS = 1_000
"""Rows of the first comparison of all candidates."""
_MAX_COLUMNS = 10
"""Columns that are paired, those with most gain in the boosted stumps."""
_N_SCREENED = 24
"""Candidates that pass the first comparison."""
_N_BINS = 16
"""Bins of equal frequency whose means measure what a feature explains."""
_SIGNIFICANCE_LEVEL = 0.01
"""Probability that any feature of a table of noise passes, over all candidates (Bonferroni)."""
_MIN_ROWS = 100
"""On fewer rows no feature is selected."""
_N_STUMPS = 100
"""Boosting rounds of the additive model."""

_ONNX_OPS = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}


@dataclass(frozen=True)
class ArithmeticFeature:
    """``first op second`` of two columns.

    Args:
        op: one of ``+ - * /``.
        first: index of a column.
        second: index of a column.
    """

    op: str
    first: int
    second: int


def arithmetic_columns(
    matrix: NDArray[np.float32], features: Sequence[ArithmeticFeature]
) -> NDArray[np.float32]:
    """Return (rows, features), not finite where a column is not or after division by 0."""
    columns = np.empty((len(matrix), len(features)), np.float32)
    for i, feature in enumerate(features):
        columns[:, i] = _compute(matrix, feature)
    return columns


@np.errstate(all="ignore")
def _compute(matrix: NDArray[np.float32], feature: ArithmeticFeature) -> NDArray[np.float32]:
    a, b = matrix[:, feature.first], matrix[:, feature.second]
    match feature.op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case _:
            return a / b


def arithmetic_columns_onnx(
    builder: OnnxGraphBuilder, matrix: str, features: Sequence[ArithmeticFeature]
) -> str:
    """Add the nodes of `arithmetic_columns` for the tensor `matrix`."""
    columns = []
    for feature in features:
        operands = [
            builder.add("Gather", [matrix, builder.constant(np.array([column], np.int64))], axis=1)
            for column in (feature.first, feature.second)
        ]
        columns.append(builder.add(_ONNX_OPS[feature.op], operands))
    return builder.add("Concat", columns, axis=1) if len(columns) > 1 else columns[0]


def best_arithmetic_features(
    matrix: NDArray[np.float32], target_matrix: TargetMatrix, max_features: int
) -> tuple[ArithmeticFeature, ...]:
    """Select features that explain the target beyond their columns and beyond chance.

    Args:
        matrix: (rows, columns) of the training rows, NaN where missing.
        target_matrix: (rows, k) their targets.
        max_features: number of features at most.

    Returns:
        The features, the one that explains most first.
    """
    if len(matrix) < _MIN_ROWS or matrix.shape[1] < 2:
        return ()
    sample = np.random.default_rng(0).permutation(len(matrix))[:_MAX_ROWS]
    matrix, target_matrix = matrix[sample], target_matrix[sample]
    residuals, gains_of_columns = _stump_residuals(matrix, target_matrix)
    columns = sorted(np.argsort(-gains_of_columns, kind="stable")[:_MAX_COLUMNS].tolist())
    pairs = list(combinations(columns, 2))
    candidates = [ArithmeticFeature(op, i, j) for i, j in pairs for op in _ONNX_OPS]
    candidates += [ArithmeticFeature("/", j, i) for i, j in pairs]
    level = _SIGNIFICANCE_LEVEL / len(candidates)
    screening, screening_residuals = matrix[:_SCREENING_ROWS], residuals[:_SCREENING_ROWS]
    by_column = {i: _explained(screening[:, i], screening_residuals) for i in columns}
    gains = [
        _explained(_compute(screening, candidate), screening_residuals)
        - max(by_column[candidate.first], by_column[candidate.second])
        for candidate in candidates
    ]
    screened = np.argsort(-np.array(gains), kind="stable")[:_N_SCREENED]
    return _select(matrix, residuals, [candidates[i] for i in screened], max_features, level)


def _select(
    matrix: NDArray[np.float32],
    residuals: TargetMatrix,
    candidates: list[ArithmeticFeature],
    max_features: int,
    level: float,
) -> tuple[ArithmeticFeature, ...]:
    """Select one by one, each on the residuals that the ones before leave."""
    values = {candidate: _compute(matrix, candidate) for candidate in candidates}
    columns = {i for candidate in candidates for i in (candidate.first, candidate.second)}
    selected: list[ArithmeticFeature] = []
    while candidates and len(selected) < max_features:
        by_column = {i: _explained(matrix[:, i], residuals) for i in columns}
        gains = [
            _explained(values[candidate], residuals)
            - max(by_column[candidate.first], by_column[candidate.second])
            for candidate in candidates
        ]
        best = int(np.argmax(gains))
        if not _is_significant(gains[best], residuals, level):
            break
        selected.append(candidates.pop(best))
        residuals = residuals - _bin_means(values[selected[-1]], residuals)
    return tuple(selected)


def _stump_residuals(
    matrix: NDArray[np.float32], target_matrix: TargetMatrix
) -> tuple[TargetMatrix, NDArray[np.float64]]:
    """Return the two-fold residuals (rows, k) of boosted stumps and each column's gain in them."""
    import lightgbm

    settings: dict[str, object] = {
        "objective": "regression", "learning_rate": 0.2, "num_leaves": 2, "min_data_in_leaf": 20,
        "num_threads": 1, "deterministic": True, "force_col_wise": True, "seed": 0,
        "verbosity": -1,
    }  # fmt: skip
    folds = np.arange(len(matrix)) % 2
    residuals, gains = np.empty_like(target_matrix), np.zeros(matrix.shape[1])
    for k in range(target_matrix.shape[1]):
        for fold in (0, 1):
            train = folds == fold
            train_set = lightgbm.Dataset(matrix[train], target_matrix[train, k])
            model = lightgbm.train(settings, train_set, _N_STUMPS)
            residuals[~train, k] = target_matrix[~train, k] - model.predict(matrix[~train])
            gains += model.feature_importance("gain")
    return residuals, gains


def _explained(values: NDArray[np.float32], residuals: TargetMatrix) -> float:
    """Return the sum of squares that the bins of a feature explain."""
    return float((_bin_means(values, residuals) ** 2).sum())


def _bin_means(values: NDArray[np.float32], residuals: TargetMatrix) -> TargetMatrix:
    """Return (rows, k) the mean residual of each row's bin; values that are not finite are one."""
    finite = np.isfinite(values)
    bins = np.zeros(len(values), np.int64)
    if finite.any():
        edges = np.quantile(values[finite], np.linspace(0, 1, _N_BINS + 1)[1:-1])
        bins[finite] = 1 + np.searchsorted(edges, values[finite], side="right")
    counts = np.bincount(bins, minlength=_N_BINS + 1)
    sums = np.zeros((_N_BINS + 1, residuals.shape[1]))
    np.add.at(sums, bins, residuals)
    means: TargetMatrix = (sums / np.maximum(counts, 1)[:, None])[bins]
    return means


def _is_significant(gain: float, residuals: TargetMatrix, level: float) -> bool:
    """Return whether noise would gain this much with a probability below `level` (F test)."""
    from scipy.stats import f

    n, k = residuals.shape
    df_bins, df_rest = k * _N_BINS, k * (n - _N_BINS - 1)
    rest = float((residuals**2).sum()) - gain
    if rest <= 0:
        return True
    return bool(f.sf(gain / df_bins / (rest / df_rest), df_bins, df_rest) < level)
