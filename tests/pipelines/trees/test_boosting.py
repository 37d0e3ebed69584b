"""Each library behind the one door: early stopping, weights, time, seeds, and the whole way."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_tools import COLUMNS, bundled, by_onnx, examples, fit, judge_of, nasty, whole_way

from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import InputSpec, Learner, PreparedRows
from netwright.pipelines.trees.boosting import (
    CatBoost,
    EarlyStopping,
    HistogramBoosting,
    LightGBM,
    XGBoost,
)

SOME: dict[type, str] = {XGBoost: "xgboost", CatBoost: "catboost"}


@pytest.fixture(params=[LightGBM, XGBoost, CatBoost, HistogramBoosting])
def learner(request: pytest.FixtureRequest) -> Any:
    if request.param in SOME:
        pytest.importorskip(SOME[request.param], reason="needs netwright[boost]")
    return request.param(trees=60, learning_rate=0.2)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_it_learns_and_its_node_says_the_same(learner: Any, outputs: int, tmp_path: Path) -> None:
    assert isinstance(learner, Learner)
    rows, held_out = examples(outputs), examples(outputs, 500, seed=1)
    model = fit(learner, rows, held_out, outputs)
    scores = model.outputs(held_out.inputs)
    assert scores.shape == (500, outputs)
    assert judge_of(held_out)(scores) < {1: 0.35, 2: 0.35, 4: 0.75}[outputs]
    x = nasty(model)
    assert np.abs(model.outputs(x) - by_onnx(model, x)).max() < 1e-5
    model.save(tmp_path)
    given = InputSpec((COLUMNS,), {"outputs": outputs})
    assert np.array_equal(learner.load(given, tmp_path).outputs(x), model.outputs(x))


def test_the_same_seed_gives_the_same_twice(learner: Any) -> None:
    sampled = replace(learner, feature_share=0.6)
    rows, held_out = examples(4), examples(4, 200, seed=1)
    one, same, other = (fit(sampled, rows, held_out, 4, seed=seed) for seed in (3, 3, 4))
    x = held_out.inputs
    assert np.array_equal(one.outputs(x), same.outputs(x))
    assert not np.array_equal(one.outputs(x), other.outputs(x))


def test_rows_of_no_weight_do_not_count(learner: Any) -> None:
    rows, wrong = examples(2), examples(2, seed=9)
    x = np.concatenate([rows.inputs, wrong.inputs])
    y = np.concatenate([rows.targets, 1 - wrong.targets])
    held_out = examples(2, 500, seed=1)
    weights = np.repeat([1.0, 1e-6], len(rows))
    judge = judge_of(held_out)
    weighted = judge(
        fit(learner, PreparedRows(x, y, weights), held_out, 2).outputs(held_out.inputs)
    )
    even = judge(fit(learner, PreparedRows(x, y), held_out, 2).outputs(held_out.inputs))
    assert weighted < 0.35
    assert even > 0.6


def test_it_ends_early_where_nothing_is_gained(learner: Any) -> None:
    rng = np.random.default_rng(0)
    rows, held_out = (
        PreparedRows(rng.normal(size=(n, 3)).astype(np.float32), rng.integers(2, size=n))
        for n in (30_000, 300)
    )
    model = fit(replace(learner, trees=400), rows, held_out, 2)
    assert model.trees < 150  # patience is 100 rounds; the best is one of the first


def test_fidelity_scales_the_rounds(learner: Any) -> None:
    rows, held_out = examples(1), examples(1, 300, seed=1)
    slow = replace(learner, learning_rate=0.01)  # gains in every round
    full, half = (fit(slow, rows, held_out, 1, fidelity=share) for share in (1, 0.5))
    assert (full.trees, half.trees) == (60, 30)


@pytest.mark.parametrize("seconds", [-1.0, 0.7])
def test_the_deadline_is_kept_with_what_there_is(learner: Any, seconds: float) -> None:
    fit(learner, examples(1, 50), examples(1, 20), 1)  # the library is loaded
    rows, held_out = examples(4, 4000), examples(4, 500, seed=1)
    long = replace(learner, trees=100_000, learning_rate=1e-4)
    began = time.monotonic()
    model = fit(long, rows, held_out, 4, deadline=began + seconds)
    assert time.monotonic() - began < max(seconds, 0) + 2
    assert model.trees >= 1
    assert np.isfinite(model.outputs(held_out.inputs)).all()


def test_a_class_without_training_rows_is_unlikely_not_an_error(learner: Any) -> None:
    all_rows, held_out = examples(4), examples(4, 300, seed=1)
    seen = all_rows.targets != 2
    rows = PreparedRows(all_rows.inputs[seen], all_rows.targets[seen])
    scores = fit(learner, rows, held_out, 4).outputs(held_out.inputs)
    assert scores.shape == (300, 4)
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert chances[:, 2].max() < 0.05
    others = held_out.targets != 2
    assert (scores.argmax(1) == held_out.targets)[others].mean() > 0.75


def test_one_class_alone_cannot_be_learnt(learner: Any) -> None:
    rows = PreparedRows(examples(2).inputs, np.ones(800, np.int64))
    with pytest.raises(InfeasibleCandidate, match="must be of at least two classes"):
        fit(learner, rows, rows, 2)


def test_the_judge_chooses_among_the_rounds_near_the_best(learner: Any) -> None:
    rows, held_out = examples(1), examples(1, 300, seed=1)
    slow = replace(learner, learning_rate=0.01)
    given = InputSpec((COLUMNS,), {"outputs": 1})
    seen: list[float] = []

    def spread(scores: np.ndarray) -> float:  # the fewer rounds, the less
        seen.append(float(scores.std()))
        return seen[-1]

    model = slow.fit(given, rows, held_out, spread, seed=0, fidelity=1.0, deadline=math.inf)
    assert model.trees == 30  # half of the 60 that are best by the loss
    assert model.outputs(held_out.inputs).std() == pytest.approx(min(seen), rel=1e-6)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "wine"])
def test_a_whole_pipeline_to_its_file_and_back(learner: Any, name: str, tmp_path: Path) -> None:
    found = bundled(name)
    fitted = whole_way(learner, found, tmp_path)
    rows, guess = found.validation, fitted.predict(found.features)
    if name == "diabetes":
        gone = np.var(found.target[rows] - guess[rows]) / np.var(found.target[rows])
        assert gone < 0.8
    else:
        assert (guess[rows].argmax(1) == found.target[rows]).mean() > 0.85


def test_patience_grows_shorter_with_the_rows_and_longer_with_the_rounds() -> None:
    def rounds(rows: int, gaining: int) -> int:
        watch = EarlyStopping(rows, math.inf)
        while not watch.over(-min(watch.rounds, gaining - 1)):
            pass
        assert watch.best_round == gaining
        return watch.rounds - gaining

    assert rounds(500, 10) == 300
    assert rounds(30_000, 10) == 100
    assert rounds(10**6, 10) == 20
    assert rounds(10**6, 1000) == 200
