"""Weighted ensembles of fitted pipelines, in Python and as one ONNX file."""

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
def members(data: Task) -> list[FittedPipeline]:
    return [fit(pipeline, data, seed=0) for pipeline in (NETWORK, BOOSTING, LINEAR)]


def test_ensemble_is_the_weighted_mean_and_equals_its_onnx(
    data: Task, members: list[FittedPipeline], tmp_path: Path
) -> None:
    rows = data.features.take(data.validation)
    by_hand = sum(
        w * member.predict(rows) for w, member in zip((0.5, 0.3, 0.2), members, strict=True)
    )
    for temperature in (1.0, 1.7, 0.6):
        ensemble = WeightedEnsemble(tuple(members), (0.5, 0.3, 0.2), temperature)
        expected = by_hand ** (1 / temperature)
        expected /= expected.sum(1, keepdims=True)
        assert ensemble.predict(rows) == pytest.approx(expected, abs=1e-6)
        file = export_onnx(ensemble, make_card(data), tmp_path / "model.onnx")
        assert check_parity(file, ensemble, rows).difference < 1e-6


def test_temperature_above_one_makes_less_confident() -> None:
    p = np.float32([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    warm = apply_temperature(p, 2.0)
    assert 0.5 < warm[0, 0] < 0.9
    assert warm[1].tolist() == [0.5, 0.5]
    assert np.isfinite(warm).all()
    assert warm.sum(1) == pytest.approx(1)


def test_plain_and_log_targets_are_averaged_as_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = np.exp(x[:, 0]) * 1000 + 1e6
    data = task({"a": x[:, 0], "b": x[:, 1]}, y, kind="regression")
    logs = TablePipeline(LinearModel(), target="log")
    fitted = [fit(pipeline, data, seed=0) for pipeline in (LINEAR, logs)]
    rows = data.features.take(data.validation)
    ensemble = WeightedEnsemble(tuple(fitted), (0.25, 0.75))
    by_hand = 0.25 * fitted[0].predict(rows) + 0.75 * fitted[1].predict(rows)
    assert ensemble.predict(rows) == pytest.approx(by_hand)
    assert ensemble.target.log_range is None
    file = export_onnx(ensemble, make_card(data), tmp_path / "model.onnx")
    assert file.predict_scores(rows) == pytest.approx(by_hand, rel=1e-7)


def test_members_with_equal_preprocessing_share_nodes(
    data: Task, members: list[FittedPipeline]
) -> None:
    def count(*fitted: FittedPipeline) -> int:
        builder = OnnxGraphBuilder()
        WeightedEnsemble(fitted, (1 / len(fitted),) * len(fitted)).to_onnx(builder)
        return len(builder.nodes)

    second_linear = fit(TablePipeline(LinearModel(l2=1.0)), data, seed=0)
    assert second_linear.preprocessor == members[2].preprocessor
    alone = count(members[2])
    assert (
        count(members[2], second_linear) - alone < alone / 3
    )  # only the model's nodes and its weight are added


def test_ensembles_of_ensembles_are_flattened(data: Task, members: list[FittedPipeline]) -> None:
    pair = WeightedEnsemble(tuple(members[:2]), (0.5, 0.5))
    flat = flatten_ensembles([(0.6, pair), (0.4, members[2])])
    assert flat.members == tuple(members)
    assert flat.weights == pytest.approx((0.3, 0.3, 0.4))


def test_fold_models_are_loaded_as_their_mean(data: Task, tmp_path: Path) -> None:
    fitted = [fit(LINEAR, data, seed=0), fit(TablePipeline(LinearModel(l2=9.0)), data, seed=0)]
    for i, member in enumerate(fitted):
        (tmp_path / f"fold-{i}").mkdir()
        member.save(tmp_path / f"fold-{i}")
    rows = data.features.take(data.validation)
    mean = (fitted[0].predict(rows) + fitted[1].predict(rows)) / 2
    assert load_trial_model(LINEAR, tmp_path).predict(rows) == pytest.approx(mean)


def test_threshold_changes_labels_but_not_probabilities(
    data: Task, members: list[FittedPipeline], tmp_path: Path
) -> None:
    rows = data.features.take(data.validation)
    plain, eager = (WeightedEnsemble(tuple(members), (0.5, 0.3, 0.2), 1.0, t) for t in (0.5, 0.2))
    files = [
        export_onnx(member, make_card(data), tmp_path / f"{i}.onnx")
        for i, member in enumerate([plain, eager])
    ]
    first, second = (file.predict(rows) for file in files)
    probabilities = files[1].predict_proba(rows)
    assert (probabilities == files[0].predict_proba(rows)).all()
    assert (second == np.array(data.classes)[(probabilities[:, 1] >= 0.2).astype(int)]).all()
    assert (first != second).any()
    assert first.shape == second.shape == (len(rows),)
    assert files[1].card["threshold"] == 0.2
