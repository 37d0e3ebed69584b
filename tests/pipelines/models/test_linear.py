"""Linear models against scikit-learn and against what can be said of a line by hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tree_tools import COLUMNS, bundled, by_onnx, examples, fit, judge_of, whole_way

from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import InputSpec, Learner, PreparedRows
from netwright.pipelines.models.linear import LinearModel


def full(outputs: int, n: int = 800, seed: int = 0) -> PreparedRows:
    return examples(outputs, n, seed=seed, holes=False)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_it_says_what_scikit_learn_says_and_so_do_its_nodes(outputs: int, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression, Ridge

    learner, rows = LinearModel(l2=0.01), full(outputs)
    assert isinstance(learner, Learner)
    model, x = fit(learner, rows, rows, outputs), full(outputs, 300, seed=1).inputs
    scores = model.outputs(x)
    if outputs == 1:
        native = Ridge(alpha=0.01 * len(rows)).fit(rows.inputs.astype(np.float64), rows.targets)
        assert np.abs(scores[:, 0] - native.predict(x)).max() < 1e-5
    else:
        native = LogisticRegression(C=1 / (0.01 * len(rows)), tol=1e-6, max_iter=500)
        chances = native.fit(rows.inputs, rows.targets).predict_proba(x)
        ours = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        assert np.abs(ours - chances).max() < 1e-3
    assert np.abs(by_onnx(model, x) - scores).max() < 1e-5
    model.save(tmp_path)
    given = InputSpec((COLUMNS,), {"outputs": outputs})
    assert np.array_equal(learner.load(given, tmp_path).outputs(x), scores)


def test_each_known_value_of_a_category_has_a_weight() -> None:
    rng = np.random.default_rng(0)
    numbers, codes = rng.normal(size=(600, 1)), rng.integers(1, 4, (600, 2))
    effect = np.array([0, 2.0, -1.0, 0.5])  # no line through the codes says this
    y = (numbers[:, 0] + effect[codes[:, 0]] - 2 * (codes[:, 1] == 2)).astype(np.float32)
    x = np.concatenate([numbers, codes], axis=1).astype(np.float32)
    for first in (0, 1):  # with a number before the codes, and without
        columns = x[:, first:]
        target = y - first * x[:, 0]
        given = InputSpec((columns.shape[1],), {"outputs": 1, "cardinalities": (4, 4)})
        rows = PreparedRows(columns, target)
        model = LinearModel(l2=1e-6).fit(
            given, rows, rows, judge_of(rows), seed=0, fidelity=1.0, deadline=np.inf
        )
        assert np.abs(model.outputs(columns)[:, 0] - target).max() < 0.01
        unseen = columns.copy()
        unseen[:, -2:] = 0
        assert np.isfinite(model.outputs(unseen)).all()
        for rows_ in (columns, unseen):
            assert np.abs(by_onnx(model, rows_) - model.outputs(rows_)).max() < 1e-5


def test_the_held_out_rows_choose_the_strength() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 60)).astype(np.float32)
    noise = PreparedRows(x[:80], (x[:80, 0] + 3 * rng.normal(size=80)).astype(np.float32))
    clear = PreparedRows(x[:80], x[:80, 0])
    held_out = PreparedRows(x[100:], x[100:, 0])
    for rows, strongest in ((noise, True), (clear, False)):
        losses = {}
        for l2 in (1.0, 1e-5):
            model = fit(LinearModel(l2), rows, held_out, 1)
            losses[l2] = judge_of(held_out)(model.outputs(held_out.inputs))
        assert (losses[1.0] < losses[1e-5]) == strongest
        chosen = judge_of(held_out)(fit(LinearModel(), rows, held_out, 1).outputs(held_out.inputs))
        assert chosen <= min(losses.values()) * 1.001


def test_rows_of_no_weight_do_not_count() -> None:
    for outputs in (1, 2):
        rows, wrong, held_out = full(outputs), full(outputs, seed=9), full(outputs, 500, seed=1)
        x = np.concatenate([rows.inputs, wrong.inputs])
        flipped = -wrong.targets if outputs == 1 else 1 - wrong.targets
        y = np.concatenate([rows.targets, flipped])
        weighted = PreparedRows(x, y, np.repeat([1.0, 1e-9], len(rows)))
        model, alone = (fit(LinearModel(0.01), r, held_out, outputs) for r in (weighted, rows))
        difference = model.outputs(held_out.inputs) - alone.outputs(held_out.inputs)
        assert np.abs(difference).max() < 0.02
        even = fit(LinearModel(0.01), PreparedRows(x, y), held_out, outputs)
        assert np.abs(even.outputs(held_out.inputs) - alone.outputs(held_out.inputs)).max() > 0.5


def test_what_is_missing_is_refused() -> None:
    rows = examples(2)
    with pytest.raises(InfeasibleCandidate, match="must be without missing values"):
        fit(LinearModel(), rows, full(2), 2)
    with pytest.raises(InfeasibleCandidate, match="must be without missing values"):
        fit(LinearModel(), full(2), rows, 2)


@pytest.mark.parametrize("seconds", [-1.0, 0.5])
def test_the_deadline_is_kept_with_what_there_is(seconds: float) -> None:
    rng = np.random.default_rng(0)
    rows = PreparedRows(rng.normal(size=(4000, 50)).astype(np.float32), rng.integers(30, size=4000))
    began = time.monotonic()
    model = fit(LinearModel(), rows, rows, 30, deadline=began + seconds)
    assert time.monotonic() - began < max(seconds, 0) + 3
    assert np.isfinite(model.outputs(rows.inputs)).all()


def test_a_class_without_training_rows_is_unlikely() -> None:
    all_rows = full(4)
    for seen in ([0, 1, 3], [1, 3]):
        some = np.isin(all_rows.targets, seen)
        rows = PreparedRows(all_rows.inputs[some], all_rows.targets[some])
        scores = fit(LinearModel(), rows, rows, 4).outputs(rows.inputs)
        assert (scores.argmax(1) == rows.targets).mean() > 0.6
        assert set(scores.argmax(1)) == set(seen)


def test_a_whole_pipeline_to_its_file_and_back(binary_task: Task, tmp_path: Path) -> None:
    wine = bundled("wine")
    for found in (binary_task, wine, bundled("diabetes")):  # the first has categories
        fitted = whole_way(LinearModel(), found, tmp_path)
        if found is wine:
            rows, guess = found.validation, fitted.predict(found.features)
            assert (guess[rows].argmax(1) == found.target[rows]).mean() > 0.9
