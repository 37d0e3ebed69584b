"""Averages of fitted pipelines, in Python and as one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline, fit
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.trees.boosting import LightGBM
from netwright.pipelines.weighted_ensemble import (
    WeightedEnsemble,
    apply_temperature,
    flatten_ensembles,
    load_trial_model,
)
from task_tools import messy

NETWORK = TablePipeline(Training((Columns(), Linear(8), Linear()), epochs=2))
BOOSTING = TablePipeline(
    LightGBM(n_estimators=10), {"numeric": Numeric(scale="none", missing="keep")}
)
LINEAR = TablePipeline(LinearModel(l2=0.1))


@pytest.fixture(scope="module")
def data() -> Task:
    return task(messy(300), "y")


@pytest.fixture(scope="module")
def parts(data: Task) -> list[FittedPipeline]:
    return [fit(one, data, seed=0) for one in (NETWORK, BOOSTING, LINEAR)]


def test_it_is_the_weighted_mean_and_its_file_says_the_same(
    data: Task, parts: list[FittedPipeline], tmp_path: Path
) -> None:
    rows = data.features.take(data.validation)
    by_hand = sum(w * one.predict(rows) for w, one in zip((0.5, 0.3, 0.2), parts, strict=True))
    for temperature in (1.0, 1.7, 0.6):
        mixed = WeightedEnsemble(tuple(parts), (0.5, 0.3, 0.2), temperature)
        wanted = by_hand ** (1 / temperature)
        wanted /= wanted.sum(1, keepdims=True)
        assert mixed.predict(rows) == pytest.approx(wanted, abs=1e-6)
        file = export_onnx(mixed, make_card(data), tmp_path / "model.onnx")
        assert check_parity(file, mixed, rows).difference < 1e-6


def test_above_1_a_temperature_makes_less_sure() -> None:
    p = np.float32([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    warm = apply_temperature(p, 2.0)
    assert 0.5 < warm[0, 0] < 0.9
    assert warm[1].tolist() == [0.5, 0.5]
    assert np.isfinite(warm).all()
    assert warm.sum(1) == pytest.approx(1)


def test_numbers_on_different_scales_are_averaged_as_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = np.exp(x[:, 0]) * 1000 + 1e6
    data = task({"a": x[:, 0], "b": x[:, 1]}, y, kind="regression")
    logs = TablePipeline(LinearModel(), target="log")
    found = [fit(one, data, seed=0) for one in (LINEAR, logs)]
    rows = data.features.take(data.validation)
    mixed = WeightedEnsemble(tuple(found), (0.25, 0.75))
    by_hand = 0.25 * found[0].predict(rows) + 0.75 * found[1].predict(rows)
    assert mixed.predict(rows) == pytest.approx(by_hand)
    assert mixed.target.log_range is None
    file = export_onnx(mixed, make_card(data), tmp_path / "model.onnx")
    assert file.predict_scores(rows) == pytest.approx(by_hand, rel=1e-7)


def test_parts_that_prepare_alike_share_their_nodes(
    data: Task, parts: list[FittedPipeline]
) -> None:
    def count(*found: FittedPipeline) -> int:
        nodes = OnnxGraphBuilder()
        WeightedEnsemble(found, (1 / len(found),) * len(found)).to_onnx(nodes)
        return len(nodes.nodes)

    other = fit(TablePipeline(LinearModel(l2=1.0)), data, seed=0)
    assert other.preprocessor == parts[2].preprocessor
    alone = count(parts[2])
    assert count(parts[2], other) - alone < alone / 3  # the model's own nodes, and its share


def test_averages_of_averages_are_one(data: Task, parts: list[FittedPipeline]) -> None:
    pair = WeightedEnsemble(tuple(parts[:2]), (0.5, 0.5))
    flat = flatten_ensembles([(0.6, pair), (0.4, parts[2])])
    assert flat.members == tuple(parts)
    assert flat.weights == pytest.approx((0.3, 0.3, 0.4))


def test_folds_come_back_as_their_average(data: Task, tmp_path: Path) -> None:
    fitted = [fit(LINEAR, data, seed=0), fit(TablePipeline(LinearModel(l2=9.0)), data, seed=0)]
    for i, one in enumerate(fitted):
        (tmp_path / f"fold-{i}").mkdir()
        one.save(tmp_path / f"fold-{i}")
    rows = data.features.take(data.validation)
    mean = (fitted[0].predict(rows) + fitted[1].predict(rows)) / 2
    assert load_trial_model(LINEAR, tmp_path).predict(rows) == pytest.approx(mean)


def test_a_threshold_moves_labels_and_no_probabilities(
    data: Task, parts: list[FittedPipeline], tmp_path: Path
) -> None:
    rows = data.features.take(data.validation)
    plain, eager = (WeightedEnsemble(tuple(parts), (0.5, 0.3, 0.2), 1.0, t) for t in (0.5, 0.2))
    files = [
        export_onnx(one, make_card(data), tmp_path / f"{i}.onnx")
        for i, one in enumerate([plain, eager])
    ]
    first, second = (one.predict(rows) for one in files)
    chances = files[1].predict_proba(rows)
    assert (chances == files[0].predict_proba(rows)).all()
    assert (second == np.array(data.classes)[(chances[:, 1] >= 0.2).astype(int)]).all()
    assert (first != second).any()
    assert first.shape == second.shape == (len(rows),)
    assert files[1].card["threshold"] == 0.2
