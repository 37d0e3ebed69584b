"""Conversion of each library's trees to `tree_ensemble.TreeEnsemble`.

`n_outputs`: scores per row. A library with a single score for two classes becomes the scores
(0, score).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from netwright.pipelines.interfaces import Arrays
from netwright.pipelines.trees.tree_ensemble import (
    Floats32,
    Tree,
    TreeEnsemble,
    inclusive_threshold,
    round_threshold_down,
    tree_from_nodes,
)

_LIGHTGBM_ZERO = np.float32(1e-35)
"""LightGBM's kZeroThreshold."""


class LightGBMBooster(Protocol):
    """Used interface of `lightgbm.Booster`."""

    def model_to_string(self, num_iteration: int | None = None) -> str: ...


class XGBoostBooster(Protocol):
    """Used interface of `xgboost.Booster`."""

    def save_raw(self, raw_format: str = "ubj") -> bytearray: ...


class CatBoostModel(Protocol):
    """Used interface of `catboost.CatBoost`."""

    def save_model(self, fname: str, format: str = "cbm") -> None: ...  # noqa: A002  # its name


class HistogramTree(Protocol):
    """Used interface of the trees (`TreePredictor`) of scikit-learn's histogram boosting."""

    nodes: Arrays


class SklearnTree(Protocol):
    """Used interface of the `tree_` of scikit-learn's decision trees."""

    value: Arrays
    node_count: int

    def __getstate__(self) -> dict[str, Any]: ...


def from_lightgbm(booster: LightGBMBooster, n_outputs: int) -> TreeEnsemble:
    """Convert from the model's text, which has all digits. Categorical splits are not supported."""
    text = booster.model_to_string(num_iteration=-1)
    blocks = text.split("\nend of trees")[0].split("\nTree=")[1:]
    trees = [
        _lightgbm_tree(dict(_settings(block)), _output_of_tree(i, n_outputs))
        for i, block in enumerate(blocks)
    ]
    return TreeEnsemble.from_trees(trees, np.zeros(n_outputs))


def _lightgbm_tree(block: Mapping[str, str], output: int) -> Tree:
    def numbers(name: str, dtype: type = np.int64) -> Arrays:
        return np.array(block.get(name, "").split(), dtype)

    values = numbers("leaf_value", np.float64)[:, None]
    if len(values) == 1:
        block = {}
    threshold = round_threshold_down(numbers("threshold", np.float64))
    decision_type = numbers("decision_type")
    # bit 1: missing values go left. bits 2 and 3: 2 if NaN is missing; 0 if nothing was missing in
    # training and NaN is taken for 0
    is_nan_missing = (decision_type >> 2) & 3 == 2
    missing_left = np.where(is_nan_missing, decision_type & 2 != 0, threshold >= 0)
    return Tree(
        numbers("split_feature"),
        _outside_zero(threshold),
        numbers("left_child"),
        numbers("right_child"),
        missing_left,
        values,
        output,
    )


def _outside_zero(threshold: Floats32) -> Floats32:
    """Move thresholds within LightGBM's zero, -1e-35 to 1e-35, to its ends."""
    is_zero = np.abs(threshold) <= _LIGHTGBM_ZERO
    below_zero = np.nextafter(-_LIGHTGBM_ZERO, np.float32(-1))
    return np.where(is_zero, np.where(threshold >= 0, _LIGHTGBM_ZERO, below_zero), threshold)


def _settings(block: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each line ``name=text``."""
    for line in block.splitlines():
        name, equals, text = line.partition("=")
        if equals:
            yield name, text


def from_xgboost(booster: XGBoostBooster, n_outputs: int) -> TreeEnsemble:
    """Convert from the model's JSON. XGBoost sends ``x < t`` left."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    trees = []
    for i, tree in enumerate(learner["gradient_booster"]["model"]["trees"]):
        left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
        threshold_or_value = np.array(tree["split_conditions"], np.float32)  # value for leaves
        trees.append(
            tree_from_nodes(
                left < 0,
                np.array(tree["split_indices"]),
                inclusive_threshold(threshold_or_value),
                left,
                right,
                np.array(tree["default_left"]),
                threshold_or_value[:, None],
                _output_of_tree(i, n_outputs),
            )
        )
    base_score = learner["learner_model_param"]["base_score"]
    base = np.array(json.loads(base_score), np.float64).ravel()
    if n_outputs == 2:  # a binary model's base score is a probability
        base = np.append(0.0, np.log(base / (1 - base)))
    return TreeEnsemble.from_trees(trees, np.broadcast_to(base, n_outputs))


def from_catboost(model: CatBoostModel, base: Arrays, classes: Arrays) -> TreeEnsemble:
    """Convert from the model's JSON: symmetric trees, which have one split per level.

    The answer ``x > border`` to the i-th split is bit i of the leaf's index. NaN is not above any
    border.

    Args:
        model: the model.
        base: (outputs,) initial scores, to which the model's bias is added.
        classes: indices of the outputs for which the model has scores.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        state = json.loads(path.read_text())
    scale, bias = state["scale_and_bias"]
    base = base.astype(np.float64)
    base[classes[-len(bias) :]] += bias  # two classes have a single score
    trees = [_symmetric_tree(tree, scale, len(base), classes) for tree in state["oblivious_trees"]]
    return TreeEnsemble.from_trees(trees, base)


def _symmetric_tree(tree: Mapping[str, Any], scale: float, n_outputs: int, classes: Arrays) -> Tree:
    """Make a full binary tree with the last split at the root, so that leaves keep their order."""
    splits = (tree["splits"] or [])[::-1]
    depth = len(splits)
    level = np.repeat(np.arange(depth), 1 << np.arange(depth))  # (2^depth - 1,) of each branch
    branch = np.arange(len(level))
    left, right = 2 * branch + 1, 2 * branch + 2  # a heap; leaves from 2^depth - 1 on
    has_branches_below = level < depth - 1
    feature = np.array([split["float_feature_index"] for split in splits], np.int64)
    border = np.array([split["border"] for split in splits], np.float64)
    values = np.array(tree["leaf_values"], np.float64).reshape(1 << depth, -1) * scale
    if n_outputs > 2:
        all_values = np.zeros((len(values), n_outputs))
        all_values[:, classes] = values
        values = all_values
    return Tree(
        feature[level],
        round_threshold_down(border)[level],
        np.where(has_branches_below, left, ~(left - len(level))),
        np.where(has_branches_below, right, ~(right - len(level))),
        np.ones(len(level), np.bool_),
        values,
        n_outputs - 1 if n_outputs == 2 else 0,
    )


def from_histogram_boosting(
    rounds: Sequence[Sequence[HistogramTree]], base: Arrays, outputs: Sequence[int]
) -> TreeEnsemble:
    """Convert the predictors of scikit-learn's histogram boosting.

    Args:
        rounds: the predictors of each round.
        base: (outputs,) initial scores.
        outputs: index of the score that each predictor of a round is added to.
    """
    trees = []
    for predictors in rounds:
        for predictor, output in zip(predictors, outputs, strict=True):
            nodes = predictor.nodes
            trees.append(
                tree_from_nodes(
                    nodes["is_leaf"].astype(np.bool_),
                    nodes["feature_idx"],
                    round_threshold_down(nodes["num_threshold"]),
                    nodes["left"].astype(np.int64),
                    nodes["right"].astype(np.int64),
                    nodes["missing_go_to_left"],
                    nodes["value"][:, None],
                    output,
                )
            )
    return TreeEnsemble.from_trees(trees, base)


def from_sklearn(tree: SklearnTree, values: Arrays) -> Tree:
    """Convert the `tree_` of a decision tree with given node values (nodes, width)."""
    nodes = tree.__getstate__()["nodes"]
    return tree_from_nodes(
        nodes["left_child"] < 0,
        nodes["feature"],
        round_threshold_down(nodes["threshold"]),
        nodes["left_child"],
        nodes["right_child"],
        nodes["missing_go_to_left"],
        values,
    )


def _output_of_tree(tree: int, n_outputs: int) -> int:
    """Return the score that a tree is added to: a round has a tree per score, or one for two."""
    return 1 if n_outputs == 2 else tree % n_outputs
