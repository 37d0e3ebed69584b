"""Linear models against scikit-learn and against cases with a known answer."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tree_tools import (
    COLUMNS,
    by_onnx,
    example_rows,
    fit,
    fit_save_load_export,
    sklearn_task,
    validation_loss_of,
)

from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import InputSpec, Learner, PreparedRows
from netwright.pipelines.models.linear import LinearModel


def complete_rows(outputs: int, n: int = 800, seed: int = 0) -> PreparedRows:
    return example_rows(outputs, n, seed=seed, missing=False)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_linear_model_equals_scikit_learn_and_its_onnx(outputs: int, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression, Ridge

    learner, rows = LinearModel(l2=0.01), complete_rows(outputs)
    assert isinstance(learner, Learner)
    model, x = fit(learner, rows, rows, outputs), complete_rows(outputs, 300, seed=1).inputs
    scores = model.outputs(x)
    if outputs == 1:
        expected_model = Ridge(alpha=0.01 * len(rows)).fit(
            rows.inputs.astype(np.float64), rows.targets
        )
        assert np.abs(scores[:, 0] - expected_model.predict(x)).max() < 1e-5
    else:
        expected_model = LogisticRegression(C=1 / (0.01 * len(rows)), tol=1e-6, max_iter=500)
        expected = expected_model.fit(rows.inputs, rows.targets).predict_proba(x)
        probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        assert np.abs(probabilities - expected).max() < 1e-3
    assert np.abs(by_onnx(model, x) - scores).max() < 1e-5
    model.save(tmp_path)
    input_spec = InputSpec((COLUMNS,), {"outputs": outputs})
    assert np.array_equal(learner.load(input_spec, tmp_path).outputs(x), scores)


def test_each_known_category_has_a_weight() -> None:
    rng = np.random.default_rng(0)
    numbers, codes = rng.normal(size=(600, 1)), rng.integers(1, 4, (600, 2))
    effect = np.array([0, 2.0, -1.0, 0.5])  # not linear in the codes
    y = (numbers[:, 0] + effect[codes[:, 0]] - 2 * (codes[:, 1] == 2)).astype(np.float32)
    x = np.concatenate([numbers, codes], axis=1).astype(np.float32)
    for first in (0, 1):  # with a number before the codes, and without
        columns = x[:, first:]
        target = y - first * x[:, 0]
        input_spec = InputSpec((columns.shape[1],), {"outputs": 1, "cardinalities": (4, 4)})
        rows = PreparedRows(columns, target)
        model = LinearModel(l2=1e-6).fit(
            input_spec, rows, rows, validation_loss_of(rows), seed=0, fidelity=1.0, deadline=np.inf
        )
        assert np.abs(model.outputs(columns)[:, 0] - target).max() < 0.01
        unseen = columns.copy()
        unseen[:, -2:] = 0
        assert np.isfinite(model.outputs(unseen)).all()
        for inputs in (columns, unseen):
            assert np.abs(by_onnx(model, inputs) - model.outputs(inputs)).max() < 1e-5


def test_validation_rows_choose_the_regularization_strength() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 60)).astype(np.float32)
    noise = PreparedRows(x[:80], (x[:80, 0] + 3 * rng.normal(size=80)).astype(np.float32))
    signal = PreparedRows(x[:80], x[:80, 0])
    validation_rows = PreparedRows(x[100:], x[100:, 0])
    for rows, strongest in ((noise, True), (signal, False)):
        losses = {}
        for l2 in (1.0, 1e-5):
            model = fit(LinearModel(l2), rows, validation_rows, 1)
            losses[l2] = validation_loss_of(validation_rows)(model.outputs(validation_rows.inputs))
        assert (losses[1.0] < losses[1e-5]) == strongest
        chosen = validation_loss_of(validation_rows)(
            fit(LinearModel(), rows, validation_rows, 1).outputs(validation_rows.inputs)
        )
        assert chosen <= min(losses.values()) * 1.001


def test_rows_of_zero_weight_have_no_effect() -> None:
    for outputs in (1, 2):
        rows, flipped_rows, validation_rows = (
            complete_rows(outputs),
            complete_rows(outputs, seed=9),
            complete_rows(outputs, 500, seed=1),
        )
        x = np.concatenate([rows.inputs, flipped_rows.inputs])
        flipped = -flipped_rows.targets if outputs == 1 else 1 - flipped_rows.targets
        y = np.concatenate([rows.targets, flipped])
        weighted = PreparedRows(x, y, np.repeat([1.0, 1e-9], len(rows)))
        model, reference = (
            fit(LinearModel(0.01), r, validation_rows, outputs) for r in (weighted, rows)
        )
        difference = model.outputs(validation_rows.inputs) - reference.outputs(
            validation_rows.inputs
        )
        assert np.abs(difference).max() < 0.02
        unweighted = fit(LinearModel(0.01), PreparedRows(x, y), validation_rows, outputs)
        assert (
            np.abs(
                unweighted.outputs(validation_rows.inputs)
                - reference.outputs(validation_rows.inputs)
            ).max()
            > 0.5
        )


def test_missing_values_are_refused() -> None:
    rows = example_rows(2)
    with pytest.raises(InfeasibleCandidate, match="must be without missing values"):
        fit(LinearModel(), rows, complete_rows(2), 2)
    with pytest.raises(InfeasibleCandidate, match="must be without missing values"):
        fit(LinearModel(), complete_rows(2), rows, 2)


@pytest.mark.parametrize("seconds", [-1.0, 0.5])
def test_deadline_ends_the_fit(seconds: float) -> None:
    rng = np.random.default_rng(0)
    rows = PreparedRows(rng.normal(size=(4000, 50)).astype(np.float32), rng.integers(30, size=4000))
    start = time.monotonic()
    model = fit(LinearModel(), rows, rows, 30, deadline=start + seconds)
    assert time.monotonic() - start < max(seconds, 0) + 3
    assert np.isfinite(model.outputs(rows.inputs)).all()


def test_unseen_class_is_unlikely() -> None:
    all_rows = complete_rows(4)
    for classes in ([0, 1, 3], [1, 3]):
        has_class = np.isin(all_rows.targets, classes)
        rows = PreparedRows(all_rows.inputs[has_class], all_rows.targets[has_class])
        scores = fit(LinearModel(), rows, rows, 4).outputs(rows.inputs)
        assert (scores.argmax(1) == rows.targets).mean() > 0.6
        assert set(scores.argmax(1)) == set(classes)


def test_pipeline_is_fitted_saved_loaded_and_exported(binary_task: Task, tmp_path: Path) -> None:
    wine = sklearn_task("wine")
    for task_ in (binary_task, wine, sklearn_task("diabetes")):  # the first has categories
        fitted = fit_save_load_export(LinearModel(), task_, tmp_path)
        if task_ is wine:
            rows, probabilities = task_.validation, fitted.predict(task_.features)
            assert (probabilities[rows].argmax(1) == task_.target[rows]).mean() > 0.9
