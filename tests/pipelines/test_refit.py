"""Refit on all rows, for as many rounds as the fold models on average."""

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


def noisy_task(classes: int, n: int = 400, seed: int = 0) -> Task:
    """Return a regression task for 0 classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    score = x[:, 0] + np.sin(3 * x[:, 1]) + 0.5 * rng.normal(size=n)
    if not classes:
        return task(x, score, kind="regression", name="noisy")
    return task(x, [f"c{i}" for i in np.digitize(score, [0, 1][: classes - 1])], name="noisy")


def fit_two_folds(pipeline: TablePipeline, task_: Task) -> list[FittedPipeline]:
    rows = np.arange(len(task_.target))
    splits = [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])]
    fold_tasks = [replace(task_, train=a, validation=b) for a, b in splits]
    metric_name = "log_loss" if task_.classes else "rmse"
    return [fit(pipeline, part, seed=0, metric_name=metric_name) for part in fold_tasks]


def refit_task(task_: Task) -> Task:
    return with_all_rows(task_, np.arange(len(task_.target)))


@pytest.mark.parametrize("learner_type", [LightGBM, XGBoost, CatBoost, HistogramBoosting])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_boosting_refits_for_the_mean_rounds_of_the_folds(learner_type: Any, classes: int) -> None:
    if learner_type in (XGBoost, CatBoost):
        pytest.importorskip("xgboost", reason="needs the extra boost")
        pytest.importorskip("catboost", reason="needs the extra boost")
    task_, pipeline = noisy_task(classes), TablePipeline(learner_type(learning_rate=0.2))
    fold_pipelines = fit_two_folds(pipeline, task_)
    rounds = [
        fitted.model.n_trees / len(np.unique(fitted.model.output)) for fitted in fold_pipelines
    ]  # type: ignore[attr-defined]
    refitted = refit(pipeline, fold_pipelines, refit_task(task_), seed=0)
    n_rounds = refitted.model.n_trees / len(np.unique(refitted.model.output))  # type: ignore[attr-defined]
    assert 0.5 * np.mean(rounds) <= n_rounds <= round(float(np.mean(rounds)))
    repeated = refit(pipeline, fold_pipelines, refit_task(task_), seed=0).model
    assert np.array_equal(refitted.model.values, repeated.values)  # type: ignore[attr-defined]
    new_task = noisy_task(classes, 2_000, seed=1)
    losses = [_loss(fitted, new_task) for fitted in (*fold_pipelines, refitted)]
    assert losses[2] < np.mean(losses[:2])  # twice the rows


@pytest.mark.parametrize("learner_type", [ExtraTrees, RandomForest])
@pytest.mark.parametrize("classes", [0, 3])
def test_forests_refit_with_as_many_trees_on_all_rows(learner_type: Any, classes: int) -> None:
    task_, pipeline = noisy_task(classes), TablePipeline(learner_type(n_estimators=20))
    fold_pipelines = fit_two_folds(pipeline, task_)
    refitted = refit(pipeline, fold_pipelines, refit_task(task_), seed=0)
    assert refitted.model.n_trees == fold_pipelines[0].model.n_trees == 20  # type: ignore[attr-defined]
    assert _loss(refitted, task_) < 0.8 * min(_loss(fitted, task_) for fitted in fold_pipelines)


def test_linear_models_cannot_be_refitted() -> None:
    assert isinstance(LightGBM(), RefittableLearner)
    assert not isinstance(LinearModel(), RefittableLearner)  # l2 would be chosen on training rows


def _loss(fitted: FittedPipeline, task_: Task) -> float:
    predictions = fitted.predict(task_.features)
    if not task_.classes:
        return float(np.sqrt(((predictions - task_.target) ** 2).mean()))
    return float(-np.log(predictions[np.arange(len(predictions)), task_.target] + 1e-9).mean())
