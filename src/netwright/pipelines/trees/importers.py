"""The trees of each library in the neutral form of `tree_ensemble.py`.

`outputs`: scores a row. A library that has one score for two classes is read as scores (0, score).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netwright.pipelines.interfaces import Arrays
from netwright.pipelines.trees.tree_ensemble import (
    Floats32,
    Tree,
    TreeEnsemble,
    at_most,
    below,
    from_nodes,
)

_ZERO = np.float32(1e-35)
"""LightGBM's kZeroThreshold."""


def of_lightgbm(booster: Any, outputs: int) -> TreeEnsemble:
    """From the text of the model, whose numbers are written in full. No categorical splits."""
    blocks = (
        booster.model_to_string(num_iteration=-1).split("\nend of trees")[0].split("\nTree=")[1:]
    )
    trees = [
        _lightgbm_tree(dict(_pairs(block)), _output(i, outputs)) for i, block in enumerate(blocks)
    ]
    return TreeEnsemble.of(trees, np.zeros(outputs))


def _lightgbm_tree(text: Mapping[str, str], output: int) -> Tree:
    def numbers(name: str, dtype: type = np.int64) -> Arrays:
        return np.array(text.get(name, "").split(), dtype)

    values = numbers("leaf_value", np.float64)[:, None]
    if len(values) == 1:
        text = {}
    threshold, kind = at_most(numbers("threshold", np.float64)), numbers("decision_type")
    # bit 1: what is missing goes left. bits 2 and 3: 2 says that NaN is missing; 0, that nothing
    # was missing in training, and NaN is taken for 0
    missing_left = np.where((kind >> 2) & 3 == 2, kind & 2 != 0, threshold >= 0)
    return Tree(
        numbers("split_feature"), _around_zero(threshold), numbers("left_child"),
        numbers("right_child"), missing_left, values, output,
    )  # fmt: skip


def _around_zero(threshold: Floats32) -> Floats32:
    """LightGBM takes -1e-35 to 1e-35 for 0: a threshold among them moves to the end of these."""
    inside = np.abs(threshold) <= _ZERO
    end = np.where(threshold >= 0, _ZERO, np.nextafter(-_ZERO, np.float32(-1)))
    return np.where(inside, end, threshold)


def _pairs(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def of_xgboost(booster: Any, outputs: int) -> TreeEnsemble:
    """From the JSON of the model. XGBoost sends ``x < t`` left."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    model = learner["gradient_booster"]["model"]
    trees = []
    for i, tree in enumerate(model["trees"]):
        left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
        said = np.array(tree["split_conditions"], np.float32)  # of a leaf: its value
        missing_left = np.array(tree["default_left"])
        feature, output = np.array(tree["split_indices"]), _output(i, outputs)
        trees.append(
            from_nodes(
                left < 0, feature, below(said), left, right, missing_left, said[:, None], output
            )
        )
    start = np.array(json.loads(learner["learner_model_param"]["base_score"]), np.float64).ravel()
    if outputs == 2:  # of a binary model it is a probability
        start = np.append(0.0, np.log(start / (1 - start)))
    return TreeEnsemble.of(trees, np.broadcast_to(start, outputs))


def of_catboost(model: Any, base: Arrays, known: Arrays) -> TreeEnsemble:
    """From the JSON of the model: trees that ask the same question on the whole of a level.

    Whether the i-th question is answered ``x > border`` is bit i of the leaf's number. NaN is not
    above any border. `base` (outputs,) is added to; `known` are the outputs that it has scores for.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        state = json.loads(path.read_text())
    scale, start = state["scale_and_bias"]
    base = base.astype(np.float64)
    base[known[-len(start) :]] += start  # of two classes, there is one score
    trees = [_symmetric(tree, scale, len(base), known) for tree in state["oblivious_trees"]]
    return TreeEnsemble.of(trees, base)


def _symmetric(tree: Mapping[str, Any], scale: float, outputs: int, known: Arrays) -> Tree:
    """As a full binary tree that asks the last question first, so that leaves keep their order."""
    asked = (tree["splits"] or [])[::-1]
    depth = len(asked)
    level = np.repeat(np.arange(depth), 1 << np.arange(depth))  # (2^depth - 1,) of each branch
    branch = np.arange(len(level))
    left, right = 2 * branch + 1, 2 * branch + 2  # a heap; from 2^depth - 1 on they are leaves
    inner = level < depth - 1
    feature = np.array([split["float_feature_index"] for split in asked], np.int64)
    border = np.array([split["border"] for split in asked], np.float64)
    values = np.array(tree["leaf_values"], np.float64).reshape(1 << depth, -1) * scale
    if outputs > 2:
        wide = np.zeros((len(values), outputs))
        wide[:, known] = values
        values = wide
    return Tree(
        feature[level], at_most(border)[level],
        np.where(inner, left, ~(left - len(level))), np.where(inner, right, ~(right - len(level))),
        np.ones(len(level), np.bool_), values, outputs - 1 if outputs == 2 else 0,
    )  # fmt: skip


def of_histograms(
    rounds: Sequence[Sequence[Any]], base: Arrays, places: Sequence[int]
) -> TreeEnsemble:
    """From the predictors of scikit-learn's histogram boosting, a list of them a round.

    `base` (outputs,); `places`: the score that each predictor of a round is added to.
    """
    trees = []
    for predictors in rounds:
        for predictor, output in zip(predictors, places, strict=True):
            n = predictor.nodes
            trees.append(
                from_nodes(
                    n["is_leaf"].astype(np.bool_), n["feature_idx"], at_most(n["num_threshold"]),
                    n["left"].astype(np.int64), n["right"].astype(np.int64),
                    n["missing_go_to_left"], n["value"][:, None], output,
                )
            )  # fmt: skip
    return TreeEnsemble.of(trees, base)


def of_scikit(tree: Any, values: Arrays) -> Tree:
    """From the `tree_` of a decision tree; `values` (nodes, width) are what its nodes say."""
    state = tree.__getstate__()["nodes"]
    return from_nodes(
        state["left_child"] < 0, state["feature"], at_most(state["threshold"]),
        state["left_child"], state["right_child"], state["missing_go_to_left"], values,
    )  # fmt: skip


def _output(tree: int, outputs: int) -> int:
    """Which score the tree is added to: rounds have one tree a score, or one of two classes."""
    return 1 if outputs == 2 else tree % outputs
