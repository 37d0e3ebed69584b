"""The constant baseline, in Python and as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.pipelines.constant_predictor import fit_constant_predictor
from netwright.trials.metrics import score


def test_classes_get_their_training_frequencies(tmp_path: Path) -> None:
    labels = np.array(["b", "a", "a", "a"] * 25)
    task_ = task(np.arange(200.0).reshape(100, 2), labels)
    constant = fit_constant_predictor(task_)
    frequencies = np.bincount(task_.target[task_.train]) / len(task_.train)
    assert constant.prediction.tolist() == pytest.approx(frequencies.tolist())
    model = export_onnx(constant, make_card(task_), tmp_path / "model.onnx")
    assert check_parity(model, constant, task_.features).difference == 0
    assert model.predict(np.zeros((3, 2))).tolist() == ["a", "a", "a"]
    assert model.predict_proba(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(("metric", "best_constant"), [("rmse", np.mean), ("mae", np.median)])
def test_regression_predicts_the_best_constant_of_the_metric(
    metric: str, best_constant: object, tmp_path: Path
) -> None:
    target = np.random.default_rng(0).exponential(size=200) * 1e6
    task_ = task(np.arange(200.0)[:, None], target, kind="regression")
    constant = fit_constant_predictor(task_, metric)
    assert constant.prediction == best_constant(task_.target[task_.train])  # type: ignore[operator]
    model = export_onnx(constant, make_card(task_), tmp_path / "model.onnx")
    assert check_parity(model, constant, task_.features).difference == 0

    def loss(prediction: float) -> float:
        truth = task_.target[task_.train]
        return score(task_.kind, truth, np.full(len(truth), prediction))[metric]

    fitted = float(constant.prediction)
    assert loss(fitted) <= min(loss(fitted * 0.9), loss(fitted * 1.1))


def test_images_are_counted_by_the_image_input(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    task_ = task(pixels, np.arange(60) % 3)
    constant = fit_constant_predictor(task_)
    model = export_onnx(constant, make_card(task_), tmp_path / "model.onnx")
    assert model.predict_proba(pixels[:5]).shape == (5, 3)


def test_frequencies_use_sample_weights() -> None:
    labels, weights = np.array([0, 1] * 50), np.array([3.0, 1.0] * 50)
    task_ = task(np.arange(100.0)[:, None], labels, weights=weights)
    assert fit_constant_predictor(task_).prediction[0] == pytest.approx(0.75, abs=0.02)
