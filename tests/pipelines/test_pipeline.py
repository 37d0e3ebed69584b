"""Predictions for validation rows that the training has computed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from netwright.data.task import Task
from netwright.networks.layers.basic import Dropout, GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.muon import Muon
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.models.network import FittedNetwork
from netwright.pipelines.pipeline import (
    FittedPipeline,
    ImagePipeline,
    Pipeline,
    TablePipeline,
    fit,
    load,
)

TABLE = TablePipeline(
    Training((Columns(), Linear(8, activation="relu"), Dropout(0.1), Linear()), epochs=6)
)
IMAGE = ImagePipeline(
    Training(
        (Conv(4, normalisation="batch_bias"), GlobalPool("max"), Linear()), lr=0.1, epochs=6,
        batch_size=16, optimizer=Muon(), test_views="mirror",
    )
)  # fmt: skip


def with_select(pipeline: Pipeline, select: Literal["best", "last"]) -> Pipeline:
    assert isinstance(pipeline.model, Training)
    return replace(pipeline, model=replace(pipeline.model, select=select))


def check_remembered(fitted: FittedPipeline, task: Task) -> None:
    """They are as good as predictions."""
    assert isinstance(fitted.model, FittedNetwork)
    assert fitted.model.validation_outputs is not None
    predictions = fitted.validation_predictions(task)
    expected = fitted.predict(task.features.take(task.validation))
    assert (predictions.shape, predictions.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(predictions, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("select", ["best", "last"])
def test_validation_predictions_are_those_of_predict(
    binary_task: Task, number_task: Task, image_task: Task, select: Literal["best", "last"]
) -> None:
    log_target = replace(TABLE, target="log")
    cases = ((TABLE, binary_task), (log_target, number_task), (IMAGE, image_task))
    for pipeline, task in cases:
        check_remembered(fit(with_select(pipeline, select), task, seed=0), task)


def test_validation_predictions_under_a_deadline_are_those_of_predict(image_task: Task) -> None:
    """There precision and threads may be others."""
    pipeline = with_select(IMAGE, "last")
    check_remembered(fit(pipeline, image_task, seed=0, deadline=time.monotonic() + 60), image_task)


def test_validation_rows_are_not_predicted_again(
    binary_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(TABLE, binary_task, seed=0)
    monkeypatch.setattr(FittedNetwork, "outputs", None)
    assert len(fitted.validation_predictions(binary_task)) == len(binary_task.validation)


def test_models_that_remember_nothing_predict_validation_rows(
    binary_task: Task, tmp_path: Path
) -> None:
    linear = fit(TablePipeline(LinearModel()), binary_task, seed=0)
    expected = linear.predict(binary_task.features.take(binary_task.validation))
    np.testing.assert_array_equal(linear.validation_predictions(binary_task), expected)
    fitted = fit(TABLE, binary_task, seed=0)
    fitted.save(tmp_path)
    loaded = load(TABLE, tmp_path)
    np.testing.assert_allclose(
        loaded.validation_predictions(binary_task),
        fitted.validation_predictions(binary_task),
        rtol=1e-4,
        atol=1e-5,
    )
