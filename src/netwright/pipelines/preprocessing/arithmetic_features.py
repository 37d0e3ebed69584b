"""New numbers from two: sums, differences, products and quotients that say what the others miss.

Searched in the way of OpenFE (Zhang et al. 2023, 2211.12507): a boosted model says what is left to
explain, candidates are judged by how much of that they explain alone, on few rows first (successive
halving). Here the model is one of stumps, which knows all that columns say one by one, and the
residuals are out of fold; what a candidate explains beyond its two parents counts, it has to pass a
test that is corrected for the number of candidates, and after each choice the residuals are taken
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import TargetMatrix

_ROWS = 4_000
"""So many rows, drawn at random, are looked at."""
_FIRST = 1_000
"""So many of them at first."""
_COLUMNS = 10
"""The columns that the small model uses most are paired."""
_PASSED_ON = 24
"""Candidates that go on from the first look."""
_BINS = 16
_CHANCE = 0.01
"""The chance that a table of noise passes, over all candidates."""
_ROUNDS, _LEAVES, _RATE = 100, 2, 0.2
_LEAST_ROWS = 100

_OPS = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}


@dataclass(frozen=True)
class ArithmeticFeature:
    """`first` op `second`: places of columns."""

    op: str
    first: int
    second: int


def paired(raw: NDArray[np.float32], pairs: Sequence[ArithmeticFeature]) -> NDArray[np.float32]:
    """(rows, pairs) of a matrix (rows, columns); not finite where a part is, or by dividing by 0."""
    found = np.empty((len(raw), len(pairs)), np.float32)
    for i, one in enumerate(pairs):
        found[:, i] = _value(raw, one)
    return found


@np.errstate(all="ignore")
def _value(raw: NDArray[np.float32], pair: ArithmeticFeature) -> NDArray[np.float32]:
    a, b = raw[:, pair.first], raw[:, pair.second]
    match pair.op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case _:
            return a / b


def emit_pairs(nodes: OnnxGraphBuilder, raw: str, pairs: Sequence[ArithmeticFeature]) -> str:
    """`paired` as nodes."""
    columns = []
    for one in pairs:
        parts = [
            nodes.add("Gather", [raw, nodes.constant(np.array([place], np.int64))], axis=1)
            for place in (one.first, one.second)
        ]
        columns.append(nodes.add(_OPS[one.op], parts))
    return nodes.add("Concat", columns, axis=1) if len(columns) > 1 else columns[0]


def best_pairs(
    raw: NDArray[np.float32], aims: TargetMatrix, most: int
) -> tuple[ArithmeticFeature, ...]:
    """Up to `most` pairs, the most telling first; none where nothing tells more than chance would.

    `raw` (rows, columns), NaN where missing; `aims` (rows, k): the rows' targets.
    """
    if len(raw) < _LEAST_ROWS or raw.shape[1] < 2:
        return ()
    order = np.random.default_rng(0).permutation(len(raw))[:_ROWS]
    raw, aims = raw[order], aims[order]
    left, used = _residuals(raw, aims)
    columns = sorted(np.argsort(-used, kind="stable")[:_COLUMNS].tolist())
    candidates = [ArithmeticFeature(op, i, j) for i, j in combinations(columns, 2) for op in _OPS]
    candidates += [ArithmeticFeature("/", j, i) for i, j in combinations(columns, 2)]
    level = _CHANCE / len(candidates)
    few, some = raw[:_FIRST], left[:_FIRST]
    parents = {i: _explained(few[:, i], some) for i in columns}
    gains = [
        _explained(_value(few, one), some) - max(parents[one.first], parents[one.second])
        for one in candidates
    ]
    best = np.argsort(-np.array(gains), kind="stable")[:_PASSED_ON]
    return _chosen(raw, left, [candidates[i] for i in best], most, level)


def _chosen(
    raw: NDArray[np.float32],
    left: TargetMatrix,
    candidates: list[ArithmeticFeature],
    most: int,
    level: float,
) -> tuple[ArithmeticFeature, ...]:
    """One after the other, each by what those before have left."""
    values = {one: _value(raw, one) for one in candidates}
    parents = {place for one in candidates for place in (one.first, one.second)}
    found: list[ArithmeticFeature] = []
    while candidates and len(found) < most:
        alone = {i: _explained(raw[:, i], left) for i in parents}
        gains = [
            _explained(values[one], left) - max(alone[one.first], alone[one.second])
            for one in candidates
        ]
        place = int(np.argmax(gains))
        if not _beyond_chance(gains[place], left, level):
            break
        found.append(candidates.pop(place))
        left = left - _means(values[found[-1]], left)
    return tuple(found)


def _residuals(
    raw: NDArray[np.float32], aims: TargetMatrix
) -> tuple[TargetMatrix, NDArray[np.float64]]:
    """(rows, k) what a small boosted model leaves of each aim, out of two folds; (columns,) use."""
    import lightgbm

    settings: dict[str, Any] = {
        "objective": "regression", "learning_rate": _RATE, "num_leaves": _LEAVES,
        "min_data_in_leaf": 20, "num_threads": 1, "deterministic": True, "force_col_wise": True,
        "seed": 0, "verbosity": -1,
    }  # fmt: skip
    half = np.arange(len(raw)) % 2
    left, used = np.empty_like(aims), np.zeros(raw.shape[1])
    for k in range(aims.shape[1]):
        for side in (0, 1):
            here = half == side
            data = lightgbm.Dataset(raw[here], aims[here, k])
            model = lightgbm.train(settings, data, _ROUNDS)
            left[~here, k] = aims[~here, k] - model.predict(raw[~here])
            used += model.feature_importance("gain")
    return left, used


def _explained(values: NDArray[np.float32], left: TargetMatrix) -> float:
    """The sum of squares that the means of bins of equal rows take off the residuals."""
    return float((_means(values, left) ** 2).sum())


def _means(values: NDArray[np.float32], left: TargetMatrix) -> TargetMatrix:
    """(rows, k) the mean residual of the bin; rows without a finite value are a bin of their own."""
    known = np.isfinite(values)
    place = np.zeros(len(values), np.int64)
    if known.any():
        edges = np.quantile(values[known], np.linspace(0, 1, _BINS + 1)[1:-1])
        place[known] = 1 + np.searchsorted(edges, values[known], side="right")
    counts = np.bincount(place, minlength=_BINS + 1)
    sums = np.zeros((_BINS + 1, left.shape[1]))
    np.add.at(sums, place, left)
    means: TargetMatrix = (sums / np.maximum(counts, 1)[:, None])[place]
    return means


def _beyond_chance(gain: float, left: TargetMatrix, level: float) -> bool:
    """Whether noise explains so much with a chance below `level` (an F test of the bins' means)."""
    from scipy.stats import f

    n, k = left.shape
    free = k * _BINS, k * (n - _BINS - 1)
    rest = float((left**2).sum()) - gain
    if rest <= 0:
        return True
    return bool(f.sf(gain / free[0] / (rest / free[1]), *free) < level)
