"""Forests: predictions as by scikit-learn, limit of leaves, deadlines and export."""

from __future__ import annotations

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
from netwright.pipelines.trees.forests import ExtraTrees, RandomForest


@pytest.fixture(params=[ExtraTrees, RandomForest])
def learner(request: pytest.FixtureRequest) -> Any:
    return request.param(n_estimators=30)


@pytest.mark.parametrize("n_outputs", [1, 2, 4])
@pytest.mark.parametrize("missing", [True, False])
def test_forest_equals_scikit_learn_and_its_onnx(
    learner: Any, n_outputs: int, missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(learner, Learner)
    sklearn_models: list[Any] = []
    original = type(learner)._sklearn_forest
    monkeypatch.setattr(
        type(learner),
        "_sklearn_forest",
        lambda *a: sklearn_models.append(original(*a)) or sklearn_models[-1],
    )
    rows = example_rows(n_outputs, missing=missing)
    model = fit(learner, rows, rows, n_outputs)
    x = edge_case_rows(model)
    scores = model.outputs(x)
    if n_outputs == 1:
        assert np.abs(scores[:, 0] - sklearn_models[0].predict(x)).max() < 1e-6
    else:
        frequencies = (np.bincount(rows.targets) + 0.5) / (len(rows) + 0.5 * n_outputs)
        expected = (sklearn_models[0].predict_proba(x) * 30 + frequencies) / 31
        assert np.abs(np.exp(scores) - expected).max() < 1e-6
    assert np.abs(scores - by_onnx(model, x)).max() < 1e-5
    model.save(tmp_path)
    input_spec = InputSpec((COLUMNS,), {"outputs": n_outputs})
    assert np.array_equal(learner.load(input_spec, tmp_path).outputs(x), scores)


@pytest.mark.parametrize("n_outputs", [1, 2, 4])
def test_forest_learns(learner: Any, n_outputs: int) -> None:
    validation_rows = example_rows(n_outputs, 500, seed=1)
    entropy = replace(learner, entropy=True, min_samples_leaf=2)
    scores = fit(entropy, example_rows(n_outputs), validation_rows, n_outputs).outputs(
        validation_rows.inputs
    )
    assert validation_loss_of(validation_rows)(scores) < {1: 0.35, 2: 0.4, 4: 0.85}[n_outputs]


def test_no_class_has_probability_zero(learner: Any) -> None:
    rows = example_rows(4, 300)
    scores = fit(learner, rows, rows, 4).outputs(example_rows(4, 300, seed=1).inputs)
    assert scores.min() > np.log(0.2 / 31)
    assert np.exp(scores).sum(1) == pytest.approx(1, abs=1e-5)


def test_same_seed_gives_the_same_forest_with_a_deadline(learner: Any) -> None:
    rows, x = example_rows(2), example_rows(2, 200, seed=1).inputs
    first, different = (fit(learner, rows, rows, 2, seed=seed).outputs(x) for seed in (3, 4))
    timed = fit(learner, rows, rows, 2, seed=3, deadline=time.monotonic() + 1000)
    assert np.array_equal(first, timed.outputs(x))
    assert not np.array_equal(first, different)


def test_rows_of_zero_weight_have_no_effect(learner: Any) -> None:
    rows, flipped_rows, validation_rows = (
        example_rows(2),
        example_rows(2, seed=9),
        example_rows(2, 500, seed=1),
    )
    x = np.concatenate([rows.inputs, flipped_rows.inputs])
    y = np.concatenate([rows.targets, 1 - flipped_rows.targets])
    weighted = PreparedRows(x, y, np.repeat([1.0, 1e-9], len(rows)))
    validation_loss, learner_ = (
        validation_loss_of(validation_rows),
        replace(learner, min_samples_leaf=10),
    )
    assert (
        validation_loss(fit(learner_, weighted, validation_rows, 2).outputs(validation_rows.inputs))
        < 0.45
    )
    assert (
        validation_loss(
            fit(learner_, PreparedRows(x, y), validation_rows, 2).outputs(validation_rows.inputs)
        )
        > 0.6
    )


@pytest.mark.parametrize("seconds", [-1.0, 0.7])
def test_deadline_ends_the_forest(learner: Any, seconds: float) -> None:
    rows = example_rows(1, 3000)
    start = time.monotonic()
    model = fit(replace(learner, n_estimators=2000), rows, rows, 1, deadline=start + seconds)
    assert time.monotonic() - start < max(seconds, 0) + 2
    assert 1 <= model.n_trees < 2000


def test_fidelity_scales_the_number_of_trees(learner: Any) -> None:
    rows = example_rows(1, 100)
    assert fit(learner, rows, rows, 1, fidelity=0.5).n_trees == 15


def test_max_total_leaves_limits_all_trees_together(learner: Any) -> None:
    rows, validation_rows = example_rows(1, 2000), example_rows(1, 300, seed=1)
    model = fit(replace(learner, max_total_leaves=900), rows, validation_rows, 1)
    assert np.diff(model.starts).max() == 29  # 30 leaves in each of the 30 trees
    assert len(model.values) <= 900
    assert validation_loss_of(validation_rows)(model.outputs(validation_rows.inputs)) < 0.5


def test_unseen_class_is_unlikely(learner: Any) -> None:
    all_rows = example_rows(4)
    is_kept = all_rows.targets != 2
    rows = PreparedRows(all_rows.inputs[is_kept], all_rows.targets[is_kept])
    scores = fit(learner, rows, rows, 4).outputs(rows.inputs)
    assert np.exp(scores[:, 2]).max() < 1e-4
    assert (scores.argmax(1) == rows.targets).mean() > 0.9
    with pytest.raises(InfeasibleCandidate, match="must be of at least two classes"):
        fit(learner, PreparedRows(rows.inputs, np.zeros(len(rows), np.int64)), rows, 4)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "wine"])
def test_pipeline_is_fitted_saved_loaded_and_exported(
    learner: Any, name: str, tmp_path: Path
) -> None:
    fit_save_load_export(learner, sklearn_task(name), tmp_path)
