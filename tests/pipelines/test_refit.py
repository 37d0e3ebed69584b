"""One model of all rows: as many rounds as the folds' models have, and every row is learnt from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline, fit
from netwright.pipelines.refit import RefittableLearner, refit, with_all_rows
from netwright.pipelines.trees.boosting import CatBoost, HistogramBoosting, LightGBM, XGBoost
from netwright.pipelines.trees.forests import ExtraTrees, RandomForest


def noisy(classes: int, n: int = 400, seed: int = 0) -> Task:
    """`classes` 0: a number."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    score = x[:, 0] + np.sin(3 * x[:, 1]) + 0.5 * rng.normal(size=n)
    if not classes:
        return task(x, score, kind="regression", name="noisy")
    return task(x, [f"c{one}" for one in np.digitize(score, [0, 1][: classes - 1])], name="noisy")


def in_halves(pipeline: TablePipeline, found: Task) -> list[FittedPipeline]:
    rows = np.arange(len(found.target))
    halves = [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])]
    parts = [replace(found, train=a, validation=b) for a, b in halves]
    name = "log_loss" if found.classes else "rmse"
    return [fit(pipeline, one, seed=0, metric_name=name) for one in parts]


def whole(found: Task) -> Task:
    return with_all_rows(found, np.arange(len(found.target)))


@pytest.mark.parametrize("kind", [LightGBM, XGBoost, CatBoost, HistogramBoosting])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_boosting_stops_where_the_folds_have_stopped(kind: Any, classes: int) -> None:
    if kind in (XGBoost, CatBoost):
        pytest.importorskip("xgboost", reason="needs the extra boost")
        pytest.importorskip("catboost", reason="needs the extra boost")
    found, pipeline = noisy(classes), TablePipeline(kind(learning_rate=0.2))
    halves = in_halves(pipeline, found)
    rounds = [one.model.trees / len(np.unique(one.model.output)) for one in halves]  # type: ignore[attr-defined]
    again = refit(pipeline, halves, whole(found), seed=0)
    mine = again.model.trees / len(np.unique(again.model.output))  # type: ignore[attr-defined]
    assert 0.5 * np.mean(rounds) <= mine <= round(float(np.mean(rounds)))
    same = refit(pipeline, halves, whole(found), seed=0).model
    assert np.array_equal(again.model.values, same.values)  # type: ignore[attr-defined]
    other = noisy(classes, 2_000, seed=1)
    losses = [_loss(one, other) for one in (*halves, again)]
    assert losses[2] < np.mean(losses[:2])  # twice the rows


@pytest.mark.parametrize("kind", [ExtraTrees, RandomForest])
@pytest.mark.parametrize("classes", [0, 3])
def test_forests_keep_their_trees_and_know_all_rows(kind: Any, classes: int) -> None:
    found, pipeline = noisy(classes), TablePipeline(kind(trees=20))
    halves = in_halves(pipeline, found)
    again = refit(pipeline, halves, whole(found), seed=0)
    assert again.model.trees == halves[0].model.trees == 20  # type: ignore[attr-defined]
    assert _loss(again, found) < 0.8 * min(_loss(one, found) for one in halves)


def test_what_is_chosen_on_held_out_rows_is_not_fitted_without_them() -> None:
    assert isinstance(LightGBM(), RefittableLearner)
    assert not isinstance(
        LinearModel(), RefittableLearner
    )  # its strength would be chosen on what it knows


def _loss(fitted: FittedPipeline, found: Task) -> float:
    said = fitted.predict(found.features)
    if not found.classes:
        return float(np.sqrt(((said - found.target) ** 2).mean()))
    return float(-np.log(said[np.arange(len(said)), found.target] + 1e-9).mean())
