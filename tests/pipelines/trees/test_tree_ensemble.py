"""Tree ensembles: where rows go, save and load, and the ONNX node."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tree_tools import by_onnx

from netwright.pipelines.trees.tree_ensemble import (
    Tree,
    TreeEnsemble,
    inclusive_threshold,
    round_threshold_down,
)

INF = np.float32(np.inf)


def stump(threshold: float, values: object, *, output: int = 0, missing: bool = True) -> Tree:
    """Return a tree with one split of column 0."""
    return Tree(
        np.array([0]), np.float32([threshold]), np.array([-1]), np.array([-2]),
        np.array([missing]), np.asarray(values, np.float64).reshape(2, -1), output,
    )  # fmt: skip


def random_ensemble(trees: int, n_columns: int, depth: int = 6, outputs: int = 1) -> TreeEnsemble:
    """Return full trees of random splits."""
    rng, n = np.random.default_rng(0), (1 << depth) - 1
    left = 2 * np.arange(n) + 1
    children = [np.where(node < n, node, ~(node - n)) for node in (left, left + 1)]
    return TreeEnsemble.from_trees(
        [
            Tree(
                rng.integers(n_columns, size=n), rng.normal(size=n).astype(np.float32), *children,
                rng.random(n) < 0.5, rng.normal(size=(n + 1, 1)), i % outputs,
            )
            for i in range(trees)
        ],
        np.zeros(outputs),
    )  # fmt: skip


def test_threshold_goes_left_and_next_float_right() -> None:
    for missing, missing_value in ((True, 1.0), (False, 2.0)):
        ensemble = TreeEnsemble.from_trees([stump(0.1, [1, 2], missing=missing)], np.array([10]))
        t = np.float32(0.1)
        x = np.array([[t], [np.nextafter(t, INF)], [np.nextafter(t, -INF)], [np.nan]], np.float32)
        for scores in (ensemble.outputs(x), by_onnx(ensemble, x)):
            assert scores[:, 0].tolist() == [11, 12, 11, 10 + missing_value]


def test_rounded_thresholds_decide_every_float32_alike() -> None:
    rng = np.random.default_rng(0)
    exact = np.concatenate([rng.normal(size=500), [0.1, -0.1, 1e300, -1e300, 1e-50, -1e-50, 0.5]])
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    for x in (nearest, np.nextafter(nearest, INF), np.nextafter(nearest, -INF)):
        assert np.array_equal(x <= round_threshold_down(exact), x.astype(np.float64) <= exact)
    finite = nearest[np.isfinite(nearest)]
    for x in (finite, np.nextafter(finite, INF), np.nextafter(finite, -INF)):
        assert np.array_equal(x <= inclusive_threshold(finite), x < finite)


def test_trees_of_several_outputs_and_single_leaves_add_up() -> None:
    leaf = Tree(*[np.zeros(0, np.int64)] * 5, np.array([[5.0]]), 1)
    ensemble = TreeEnsemble.from_trees(
        [leaf, stump(0, [1, 2], output=2), leaf, stump(1, [0, 0.5], output=1)], np.array([0, 1, 2])
    )
    x = np.float32([[-1], [0.5], [2]])
    expected = [[0, 11, 3], [0, 11, 4], [0, 11.5, 4]]
    assert ensemble.outputs(x).tolist() == expected
    assert by_onnx(ensemble, x).tolist() == expected


def test_log_of_probabilities_is_finite() -> None:
    trees = [stump(0, [[0.5, 0], [0.25, 0.25]]), stump(1, [[0.5, 0], [0, 0.5]])]
    ensemble = TreeEnsemble.from_trees(trees, np.zeros(2), log=True)
    x = np.float32([[-1], [0.5], [2]])
    for scores in (ensemble.outputs(x), by_onnx(ensemble, x)):
        assert np.isfinite(scores).all()
        probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        assert probabilities == pytest.approx(
            np.array([[1, 0], [0.75, 0.25], [0.25, 0.75]]), abs=1e-7
        )


def test_blocks_of_rows_and_trees_equal_the_onnx_node() -> None:
    ensemble = random_ensemble(60, 9, outputs=3)
    x = np.random.default_rng(1).normal(size=(40_000, 9)).astype(np.float32)
    x[::7, 3] = np.nan
    scores = ensemble.outputs(x)
    assert np.abs(scores - by_onnx(ensemble, x)).max() < 1e-5
    assert np.array_equal(scores[33_000:33_010], ensemble.outputs(x[33_000:33_010]))
    assert ensemble.outputs(x[:0]).shape == (0, 3)


def test_first_trees_equal_the_staged_outputs(tmp_path: Path) -> None:
    ensemble = random_ensemble(30, 4, outputs=2)
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    counts = [1, 7, 30]
    for count, scores in zip(counts, ensemble.staged_outputs(x, counts), strict=True):
        first_trees = ensemble.first(count)
        assert np.allclose(first_trees.outputs(x), scores, atol=1e-6)
        assert np.allclose(by_onnx(first_trees, x), scores, atol=1e-5)


def test_saved_trees_are_loaded(tmp_path: Path) -> None:
    for log in (False, True):
        ensemble = TreeEnsemble.from_trees(
            [stump(0, [[0.5, 0.5], [0, 1]])], np.array([0, 0]), log=log
        )
        ensemble.save(tmp_path)
        x = np.float32([[0], [1]])
        assert np.array_equal(TreeEnsemble.load(tmp_path).outputs(x), ensemble.outputs(x))
    assert [path.name for path in tmp_path.iterdir()] == ["trees.safetensors"]


def test_ten_thousand_rows_in_a_hundred_trees_are_fast() -> None:
    ensemble = random_ensemble(100, 20, depth=8)
    x = np.random.default_rng(1).normal(size=(10_000, 20)).astype(np.float32)
    start = time.process_time()
    ensemble.outputs(x)
    assert time.process_time() - start < 3  # 0.3 s on an idle machine
