"""Each library's predictions against those of the converted trees and their ONNX node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tree_tools import by_onnx, edge_case_rows, example_rows, leaf_indices

from netwright.pipelines.trees.importers import (
    from_catboost,
    from_histogram_boosting,
    from_lightgbm,
    from_sklearn,
    from_xgboost,
)
from netwright.pipelines.trees.tree_ensemble import TreeEnsemble

CASES = pytest.mark.parametrize("n_outputs", [1, 2, 4])
MISSING = pytest.mark.parametrize("missing", [True, False])


def assert_equal_scores(ensemble: TreeEnsemble, x: np.ndarray, library_scores: np.ndarray) -> None:
    """Compare with a library's raw scores (rows,) or (rows, outputs), to 1e-6 of the largest."""
    library_scores = library_scores.reshape(len(x), -1)
    if len(ensemble.base) == 2 and library_scores.shape[1] == 1:
        library_scores = np.concatenate([np.zeros_like(library_scores), library_scores], axis=1)
    scale = max(1.0, float(np.abs(library_scores).max()))
    for scores in (ensemble.outputs(x), by_onnx(ensemble, x)):
        assert scores.dtype == np.float32
        assert np.abs(scores - library_scores).max() < 1e-6 * scale


@CASES
@MISSING
def test_lightgbm_scores_and_leaves(n_outputs: int, missing: bool) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = example_rows(n_outputs, missing=missing)
    objective = {1: "regression", 2: "binary", 4: "multiclass"}[n_outputs]
    settings: dict[str, Any] = {"objective": objective, "num_threads": 1, "verbosity": -1}
    if n_outputs > 2:
        settings["num_class"] = n_outputs
    booster = lightgbm.train(settings, lightgbm.Dataset(rows.inputs, rows.targets), 40)
    ensemble = from_lightgbm(booster, n_outputs)
    x = edge_case_rows(ensemble)
    assert_equal_scores(ensemble, x, booster.predict(x, raw_score=True))
    assert np.array_equal(leaf_indices(ensemble, x), booster.predict(x, pred_leaf=True))


@CASES
@MISSING
def test_xgboost_scores_and_leaves(n_outputs: int, missing: bool) -> None:
    xgboost = pytest.importorskip("xgboost", reason="needs netwright[boost]")
    rows = example_rows(n_outputs, missing=missing)
    objective = {1: "reg:squarederror", 2: "binary:logistic", 4: "multi:softprob"}[n_outputs]
    settings: dict[str, Any] = {"objective": objective, "nthread": 1}
    if n_outputs > 2:
        settings["num_class"] = n_outputs
    booster = xgboost.train(settings, xgboost.DMatrix(rows.inputs, rows.targets), 40)
    ensemble = from_xgboost(booster, n_outputs)
    x = edge_case_rows(ensemble)
    assert_equal_scores(ensemble, x, booster.predict(xgboost.DMatrix(x), output_margin=True))
    library_nodes = booster.predict(xgboost.DMatrix(x), pred_leaf=True)  # (rows, trees) node ids
    for leaf, library_leaf in zip(leaf_indices(ensemble, x).T, library_nodes.T, strict=True):
        assert (
            len(set(zip(leaf, library_leaf, strict=True)))
            == len(set(leaf))
            == len(set(library_leaf))
        )


@CASES
@MISSING
def test_catboost_scores_and_leaves(n_outputs: int, missing: bool) -> None:
    catboost = pytest.importorskip("catboost", reason="needs netwright[boost]")
    rows = example_rows(n_outputs, missing=missing)
    objective = {1: "RMSE", 2: "Logloss", 4: "MultiClass"}[n_outputs]
    model = catboost.CatBoost(
        {"loss_function": objective, "iterations": 40, "thread_count": 1, "allow_writing_files": False,
         "logging_level": "Silent"}
    ).fit(rows.inputs, rows.targets)  # fmt: skip
    ensemble = from_catboost(model, np.zeros(n_outputs), np.arange(n_outputs))
    x = edge_case_rows(ensemble)
    assert_equal_scores(ensemble, x, model.predict(x, prediction_type="RawFormulaVal"))
    assert np.array_equal(leaf_indices(ensemble, x), model.calc_leaf_indexes(x))


@CASES
@MISSING
def test_histogram_boosting_scores(n_outputs: int, missing: bool) -> None:
    from sklearn import ensemble as sklearn_module

    rows = example_rows(n_outputs, missing=missing)
    estimator_type = sklearn_module.HistGradientBoostingRegressor
    if n_outputs > 1:
        estimator_type = sklearn_module.HistGradientBoostingClassifier
    model = estimator_type(max_iter=40, early_stopping=False).fit(rows.inputs, rows.targets)
    base = np.zeros(n_outputs)
    base[-model._baseline_prediction.size :] = model._baseline_prediction
    outputs_of_trees = [1] if n_outputs == 2 else list(range(n_outputs))
    ensemble = from_histogram_boosting(model._predictors, base, outputs_of_trees)
    x = edge_case_rows(ensemble)
    assert_equal_scores(ensemble, x, model._raw_predict(x))


@MISSING
@pytest.mark.parametrize("name", ["DecisionTreeRegressor", "ExtraTreeRegressor"])
def test_scikit_learn_tree_scores(name: str, missing: bool) -> None:
    from sklearn import tree as sklearn_module

    rows = example_rows(1, missing=missing)
    model = getattr(sklearn_module, name)(random_state=0).fit(rows.inputs, rows.targets)
    tree = from_sklearn(model.tree_, model.tree_.value[:, :, 0])
    ensemble = TreeEnsemble.from_trees([tree], np.zeros(1))
    x = edge_case_rows(ensemble)
    assert_equal_scores(ensemble, x, model.predict(x))


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_booster_without_splits_is_its_initial_score(n_outputs: int) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = example_rows(n_outputs, 30)
    objective = {1: "regression", 2: "binary"}[n_outputs]
    settings = {"objective": objective, "min_data_in_leaf": 25, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows.inputs, rows.targets), 3)
    ensemble = from_lightgbm(booster, n_outputs)
    assert len(ensemble.feature) == 0
    x = edge_case_rows(ensemble)[:9]
    assert_equal_scores(ensemble, x, booster.predict(x, raw_score=True))
