"""The constant prediction, in Python and as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.pipelines.constant_predictor import fit_constant_predictor
from netwright.trials.metrics import score


def test_classes_get_their_shares_of_the_training_rows(tmp_path: Path) -> None:
    labels = np.array(["b", "a", "a", "a"] * 25)
    data = task(np.arange(200.0).reshape(100, 2), labels)
    constant = fit_constant_predictor(data)
    shares = np.bincount(data.target[data.train]) / len(data.train)
    assert constant.prediction.tolist() == pytest.approx(shares.tolist())
    model = export_onnx(constant, make_card(data), tmp_path / "model.onnx")
    assert check_parity(model, constant, data.features).difference == 0
    assert model.predict(np.zeros((3, 2))).tolist() == ["a", "a", "a"]
    assert model.predict_proba(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(("metric", "best"), [("rmse", np.mean), ("mae", np.median)])
def test_a_number_is_the_best_constant_of_its_metric(
    metric: str, best: object, tmp_path: Path
) -> None:
    target = np.random.default_rng(0).exponential(size=200) * 1e6
    data = task(np.arange(200.0)[:, None], target, kind="regression")
    constant = fit_constant_predictor(data, metric)
    assert constant.prediction == best(data.target[data.train])  # type: ignore[operator]
    model = export_onnx(constant, make_card(data), tmp_path / "model.onnx")
    assert check_parity(model, constant, data.features).difference == 0

    def loss(value: float) -> float:
        truth = data.target[data.train]
        return score(data.kind, truth, np.full(len(truth), value))[metric]

    value = float(constant.prediction)
    assert loss(value) <= min(loss(value * 0.9), loss(value * 1.1))


def test_images_are_counted_by_the_one_input(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    data = task(pixels, np.arange(60) % 3)
    constant = fit_constant_predictor(data)
    model = export_onnx(constant, make_card(data), tmp_path / "model.onnx")
    assert model.predict_proba(pixels[:5]).shape == (5, 3)


def test_rows_count_by_their_weights() -> None:
    labels, weights = np.array([0, 1] * 50), np.array([3.0, 1.0] * 50)
    data = task(np.arange(100.0)[:, None], labels, weights=weights)
    assert fit_constant_predictor(data).prediction[0] == pytest.approx(0.75, abs=0.02)
