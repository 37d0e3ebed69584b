"""Each library's own predictions against the neutral form and its node, where it could go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tree_tools import by_onnx, examples, leaves, nasty

from netwright.pipelines.trees.importers import (
    of_catboost,
    of_histograms,
    of_lightgbm,
    of_scikit,
    of_xgboost,
)
from netwright.pipelines.trees.tree_ensemble import TreeEnsemble

CASES = pytest.mark.parametrize("outputs", [1, 2, 4])
HOLES = pytest.mark.parametrize("holes", [True, False])


def agree(ensemble: TreeEnsemble, x: np.ndarray, native: np.ndarray) -> None:
    """Native raw scores (rows,) or (rows, outputs), to a millionth of the largest."""
    native = native.reshape(len(x), -1)
    if len(ensemble.base) == 2 and native.shape[1] == 1:
        native = np.concatenate([np.zeros_like(native), native], axis=1)
    scale = max(1.0, float(np.abs(native).max()))
    for scores in (ensemble.outputs(x), by_onnx(ensemble, x)):
        assert scores.dtype == np.float32
        assert np.abs(scores - native).max() < 1e-6 * scale


@CASES
@HOLES
def test_lightgbm(outputs: int, holes: bool) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = examples(outputs, holes=holes)
    goal = {1: "regression", 2: "binary", 4: "multiclass"}[outputs]
    settings: dict[str, Any] = {"objective": goal, "num_threads": 1, "verbosity": -1}
    if outputs > 2:
        settings["num_class"] = outputs
    booster = lightgbm.train(settings, lightgbm.Dataset(rows.inputs, rows.targets), 40)
    ensemble = of_lightgbm(booster, outputs)
    x = nasty(ensemble)
    agree(ensemble, x, booster.predict(x, raw_score=True))
    assert np.array_equal(leaves(ensemble, x), booster.predict(x, pred_leaf=True))


@CASES
@HOLES
def test_xgboost(outputs: int, holes: bool) -> None:
    xgboost = pytest.importorskip("xgboost", reason="needs netwright[boost]")
    rows = examples(outputs, holes=holes)
    goal = {1: "reg:squarederror", 2: "binary:logistic", 4: "multi:softprob"}[outputs]
    settings: dict[str, Any] = {"objective": goal, "nthread": 1}
    if outputs > 2:
        settings["num_class"] = outputs
    booster = xgboost.train(settings, xgboost.DMatrix(rows.inputs, rows.targets), 40)
    ensemble = of_xgboost(booster, outputs)
    x = nasty(ensemble)
    agree(ensemble, x, booster.predict(xgboost.DMatrix(x), output_margin=True))
    leaf = booster.predict(xgboost.DMatrix(x), pred_leaf=True)  # (rows, trees) numbers of nodes
    for ours, theirs in zip(leaves(ensemble, x).T, leaf.T, strict=True):
        assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))


@CASES
@HOLES
def test_catboost(outputs: int, holes: bool) -> None:
    catboost = pytest.importorskip("catboost", reason="needs netwright[boost]")
    rows = examples(outputs, holes=holes)
    goal = {1: "RMSE", 2: "Logloss", 4: "MultiClass"}[outputs]
    model = catboost.CatBoost(
        {"loss_function": goal, "iterations": 40, "thread_count": 1, "allow_writing_files": False,
         "logging_level": "Silent"}
    ).fit(rows.inputs, rows.targets)  # fmt: skip
    ensemble = of_catboost(model, np.zeros(outputs), np.arange(outputs))
    x = nasty(ensemble)
    agree(ensemble, x, model.predict(x, prediction_type="RawFormulaVal"))
    assert np.array_equal(leaves(ensemble, x), model.calc_leaf_indexes(x))


@CASES
@HOLES
def test_histogram_boosting(outputs: int, holes: bool) -> None:
    from sklearn import ensemble as scikit

    rows = examples(outputs, holes=holes)
    kind = scikit.HistGradientBoostingRegressor
    if outputs > 1:
        kind = scikit.HistGradientBoostingClassifier
    model = kind(max_iter=40, early_stopping=False).fit(rows.inputs, rows.targets)
    base = np.zeros(outputs)
    base[-model._baseline_prediction.size :] = model._baseline_prediction
    places = [1] if outputs == 2 else list(range(outputs))
    ensemble = of_histograms(model._predictors, base, places)
    x = nasty(ensemble)
    agree(ensemble, x, model._raw_predict(x))


@HOLES
@pytest.mark.parametrize("name", ["DecisionTreeRegressor", "ExtraTreeRegressor"])
def test_trees_of_scikit_learn(name: str, holes: bool) -> None:
    from sklearn import tree as scikit

    rows = examples(1, holes=holes)
    model = getattr(scikit, name)(random_state=0).fit(rows.inputs, rows.targets)
    tree = of_scikit(model.tree_, model.tree_.value[:, :, 0])
    ensemble = TreeEnsemble.of([tree], np.zeros(1))
    x = nasty(ensemble)
    agree(ensemble, x, model.predict(x))


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_booster_that_found_no_split_is_its_first_score(outputs: int) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = examples(outputs, 30)
    goal = {1: "regression", 2: "binary"}[outputs]
    settings = {"objective": goal, "min_data_in_leaf": 25, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows.inputs, rows.targets), 3)
    ensemble = of_lightgbm(booster, outputs)
    assert len(ensemble.feature) == 0
    x = nasty(ensemble)[:9]
    agree(ensemble, x, booster.predict(x, raw_score=True))
