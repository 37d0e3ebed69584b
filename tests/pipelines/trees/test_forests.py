"""Forests against scikit-learn's own predictions, their bound, their time, the whole way."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_tools import COLUMNS, bundled, by_onnx, examples, fit, judge_of, nasty, whole_way

from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import InputSpec, Learner, PreparedRows
from netwright.pipelines.trees.forests import ExtraTrees, RandomForest


@pytest.fixture(params=[ExtraTrees, RandomForest])
def learner(request: pytest.FixtureRequest) -> Any:
    return request.param(trees=30)


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("holes", [True, False])
def test_it_says_what_scikit_learn_says_and_so_does_its_node(
    learner: Any, outputs: int, holes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(learner, Learner)
    native: list[Any] = []
    real = type(learner)._model
    monkeypatch.setattr(type(learner), "_model", lambda *a: native.append(real(*a)) or native[-1])
    rows = examples(outputs, holes=holes)
    model = fit(learner, rows, rows, outputs)
    x = nasty(model)
    scores = model.outputs(x)
    if outputs == 1:
        assert np.abs(scores[:, 0] - native[0].predict(x)).max() < 1e-6
    else:
        shares = (np.bincount(rows.targets) + 0.5) / (len(rows) + 0.5 * outputs)
        chances = (native[0].predict_proba(x) * 30 + shares) / 31
        assert np.abs(np.exp(scores) - chances).max() < 1e-6
    assert np.abs(scores - by_onnx(model, x)).max() < 1e-5
    model.save(tmp_path)
    given = InputSpec((COLUMNS,), {"outputs": outputs})
    assert np.array_equal(learner.load(given, tmp_path).outputs(x), scores)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_it_learns(learner: Any, outputs: int) -> None:
    held_out = examples(outputs, 500, seed=1)
    entropy = replace(learner, entropy=True, min_rows=2)
    scores = fit(entropy, examples(outputs), held_out, outputs).outputs(held_out.inputs)
    assert judge_of(held_out)(scores) < {1: 0.35, 2: 0.4, 4: 0.85}[outputs]


def test_a_wrong_guess_of_all_trees_can_be_borne(learner: Any) -> None:
    rows = examples(4, 300)
    scores = fit(learner, rows, rows, 4).outputs(examples(4, 300, seed=1).inputs)
    assert scores.min() > np.log(0.2 / 31)
    assert np.exp(scores).sum(1) == pytest.approx(1, abs=1e-5)


def test_the_same_seed_gives_the_same_whatever_the_time(learner: Any) -> None:
    rows, x = examples(2), examples(2, 200, seed=1).inputs
    one, other = (fit(learner, rows, rows, 2, seed=seed).outputs(x) for seed in (3, 4))
    timed = fit(learner, rows, rows, 2, seed=3, deadline=time.monotonic() + 1000)
    assert np.array_equal(one, timed.outputs(x))
    assert not np.array_equal(one, other)


def test_rows_of_no_weight_do_not_count(learner: Any) -> None:
    rows, wrong, held_out = examples(2), examples(2, seed=9), examples(2, 500, seed=1)
    x = np.concatenate([rows.inputs, wrong.inputs])
    y = np.concatenate([rows.targets, 1 - wrong.targets])
    weighted = PreparedRows(x, y, np.repeat([1.0, 1e-9], len(rows)))
    judge, leafy = judge_of(held_out), replace(learner, min_rows=10)
    assert judge(fit(leafy, weighted, held_out, 2).outputs(held_out.inputs)) < 0.45
    assert judge(fit(leafy, PreparedRows(x, y), held_out, 2).outputs(held_out.inputs)) > 0.6


@pytest.mark.parametrize("seconds", [-1.0, 0.7])
def test_the_deadline_is_kept_with_what_there_is(learner: Any, seconds: float) -> None:
    rows = examples(1, 3000)
    began = time.monotonic()
    model = fit(replace(learner, trees=2000), rows, rows, 1, deadline=began + seconds)
    assert time.monotonic() - began < max(seconds, 0) + 2
    assert 1 <= model.trees < 2000


def test_fidelity_scales_the_trees(learner: Any) -> None:
    rows = examples(1, 100)
    assert fit(learner, rows, rows, 1, fidelity=0.5).trees == 15


def test_a_forest_is_never_larger_than_its_bound(learner: Any) -> None:
    rows, held_out = examples(1, 2000), examples(1, 300, seed=1)
    model = fit(replace(learner, leaves=900), rows, held_out, 1)
    assert np.diff(model.starts).max() == 29  # 30 leaves in each of the 30 trees
    assert len(model.values) <= 900
    assert judge_of(held_out)(model.outputs(held_out.inputs)) < 0.5


def test_a_class_without_training_rows_is_unlikely(learner: Any) -> None:
    all_rows = examples(4)
    seen = all_rows.targets != 2
    rows = PreparedRows(all_rows.inputs[seen], all_rows.targets[seen])
    scores = fit(learner, rows, rows, 4).outputs(rows.inputs)
    assert np.exp(scores[:, 2]).max() < 1e-4
    assert (scores.argmax(1) == rows.targets).mean() > 0.9
    with pytest.raises(InfeasibleCandidate, match="must be of at least two classes"):
        fit(learner, PreparedRows(rows.inputs, np.zeros(len(rows), np.int64)), rows, 4)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "wine"])
def test_a_whole_pipeline_to_its_file_and_back(learner: Any, name: str, tmp_path: Path) -> None:
    whole_way(learner, bundled(name), tmp_path)
