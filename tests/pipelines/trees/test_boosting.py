"""Boosting by each library: early stopping, weights, deadlines, seeds and export."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_tools import (
    COLUMNS,
    by_onnx,
    edge_case_rows,
    example_rows,
    fit,
    fit_save_load_export,
    sklearn_task,
    validation_loss_of,
)

from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import InputSpec, Learner, PreparedRows
from netwright.pipelines.trees.boosting import (
    CatBoost,
    EarlyStopping,
    HistogramBoosting,
    LightGBM,
    XGBoost,
)

OPTIONAL: dict[type, str] = {XGBoost: "xgboost", CatBoost: "catboost"}
COLUMN_FRACTION: dict[type, str] = {
    LightGBM: "colsample_bytree", XGBoost: "colsample_bytree", CatBoost: "rsm",
    HistogramBoosting: "max_features",
}  # fmt: skip


@pytest.fixture(params=[LightGBM, XGBoost, CatBoost, HistogramBoosting])
def learner(request: pytest.FixtureRequest) -> Any:
    if request.param in OPTIONAL:
        pytest.importorskip(OPTIONAL[request.param], reason="needs netwright[boost]")
    return request.param(n_estimators=60, learning_rate=0.2)


@pytest.mark.parametrize("n_outputs", [1, 2, 4])
def test_boosting_learns_and_equals_its_onnx(learner: Any, n_outputs: int, tmp_path: Path) -> None:
    assert isinstance(learner, Learner)
    rows, validation_rows = example_rows(n_outputs), example_rows(n_outputs, 500, seed=1)
    model = fit(learner, rows, validation_rows, n_outputs)
    scores = model.outputs(validation_rows.inputs)
    assert scores.shape == (500, n_outputs)
    assert validation_loss_of(validation_rows)(scores) < {1: 0.35, 2: 0.35, 4: 0.75}[n_outputs]
    x = edge_case_rows(model)
    assert np.abs(model.outputs(x) - by_onnx(model, x)).max() < 1e-5
    model.save(tmp_path)
    input_spec = InputSpec((COLUMNS,), {"outputs": n_outputs})
    assert np.array_equal(learner.load(input_spec, tmp_path).outputs(x), model.outputs(x))


def test_same_seed_gives_the_same_model(learner: Any) -> None:
    sampled = replace(learner, **{COLUMN_FRACTION[type(learner)]: 0.6})
    rows, validation_rows = example_rows(4), example_rows(4, 200, seed=1)
    first, repeated, different = (
        fit(sampled, rows, validation_rows, 4, seed=seed) for seed in (3, 3, 4)
    )
    x = validation_rows.inputs
    assert np.array_equal(first.outputs(x), repeated.outputs(x))
    assert not np.array_equal(first.outputs(x), different.outputs(x))


def test_rows_of_zero_weight_have_no_effect(learner: Any) -> None:
    rows, flipped_rows = example_rows(2), example_rows(2, seed=9)
    x = np.concatenate([rows.inputs, flipped_rows.inputs])
    y = np.concatenate([rows.targets, 1 - flipped_rows.targets])
    validation_rows = example_rows(2, 500, seed=1)
    weights = np.repeat([1.0, 1e-6], len(rows))
    validation_loss = validation_loss_of(validation_rows)
    weighted = validation_loss(
        fit(learner, PreparedRows(x, y, weights), validation_rows, 2).outputs(
            validation_rows.inputs
        )
    )
    unweighted = validation_loss(
        fit(learner, PreparedRows(x, y), validation_rows, 2).outputs(validation_rows.inputs)
    )
    assert weighted < 0.35
    assert unweighted > 0.6


def test_early_stopping_on_noise(learner: Any) -> None:
    rng = np.random.default_rng(0)
    rows, validation_rows = (
        PreparedRows(rng.normal(size=(n, 3)).astype(np.float32), rng.integers(2, size=n))
        for n in (30_000, 300)
    )
    model = fit(replace(learner, n_estimators=400), rows, validation_rows, 2)
    assert model.n_trees < 150  # patience is 100 rounds; the best is one of the first


def test_fidelity_scales_the_number_of_rounds(learner: Any) -> None:
    rows, validation_rows = example_rows(1), example_rows(1, 300, seed=1)
    slow = replace(learner, learning_rate=0.01)  # improves in every round
    full, half = (fit(slow, rows, validation_rows, 1, fidelity=share) for share in (1, 0.5))
    assert (full.n_trees, half.n_trees) == (60, 30)


@pytest.mark.parametrize("seconds", [-1.0, 0.7])
def test_deadline_ends_boosting(learner: Any, seconds: float) -> None:
    fit(learner, example_rows(1, 50), example_rows(1, 20), 1)  # imports the library
    rows, validation_rows = example_rows(4, 4000), example_rows(4, 500, seed=1)
    long = replace(learner, n_estimators=100_000, learning_rate=1e-4)
    start = time.monotonic()
    model = fit(long, rows, validation_rows, 4, deadline=start + seconds)
    assert time.monotonic() - start < max(seconds, 0) + 2
    assert model.n_trees >= 1
    assert np.isfinite(model.outputs(validation_rows.inputs)).all()


def test_unseen_class_is_unlikely(learner: Any) -> None:
    all_rows, validation_rows = example_rows(4), example_rows(4, 300, seed=1)
    is_kept = all_rows.targets != 2
    rows = PreparedRows(all_rows.inputs[is_kept], all_rows.targets[is_kept])
    scores = fit(learner, rows, validation_rows, 4).outputs(validation_rows.inputs)
    assert scores.shape == (300, 4)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert probabilities[:, 2].max() < 0.05
    is_known = validation_rows.targets != 2
    assert (scores.argmax(1) == validation_rows.targets)[is_known].mean() > 0.75


def test_single_class_is_refused(learner: Any) -> None:
    rows = PreparedRows(example_rows(2).inputs, np.ones(800, np.int64))
    with pytest.raises(InfeasibleCandidate, match="must be of at least two classes"):
        fit(learner, rows, rows, 2)


def test_validation_loss_chooses_among_rounds_near_the_best(learner: Any) -> None:
    rows, validation_rows = example_rows(1), example_rows(1, 300, seed=1)
    slow = replace(learner, learning_rate=0.01)
    input_spec = InputSpec((COLUMNS,), {"outputs": 1})
    spreads: list[float] = []

    def spread(scores: np.ndarray) -> float:  # smaller after fewer rounds
        spreads.append(float(scores.std()))
        return spreads[-1]

    model = slow.fit(
        input_spec, rows, validation_rows, spread, seed=0, fidelity=1.0, deadline=math.inf
    )
    assert model.n_trees == 30  # half of the 60 that are best by the loss
    assert model.outputs(validation_rows.inputs).std() == pytest.approx(min(spreads), rel=1e-6)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "wine"])
def test_pipeline_is_fitted_saved_loaded_and_exported(
    learner: Any, name: str, tmp_path: Path
) -> None:
    task_ = sklearn_task(name)
    fitted = fit_save_load_export(learner, task_, tmp_path)
    rows, predictions = task_.validation, fitted.predict(task_.features)
    if name == "diabetes":
        unexplained = np.var(task_.target[rows] - predictions[rows]) / np.var(task_.target[rows])
        assert unexplained < 0.8
    else:
        assert (predictions[rows].argmax(1) == task_.target[rows]).mean() > 0.85


def test_patience_falls_with_rows_and_rises_with_rounds() -> None:
    def rounds(rows: int, n_improving: int) -> int:
        stopping = EarlyStopping(rows, math.inf)
        while not stopping.update(-min(stopping.n_rounds, n_improving - 1)):
            pass
        assert stopping.best_round == n_improving
        return stopping.n_rounds - n_improving

    assert rounds(500, 10) == 300
    assert rounds(30_000, 10) == 100
    assert rounds(10**6, 10) == 20
    assert rounds(10**6, 1000) == 200
