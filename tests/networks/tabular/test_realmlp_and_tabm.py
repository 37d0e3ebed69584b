"""RealMLP and TabM: open recipes with good defaults, from rows to an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.data.task import Task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.networks.costs import costs
from netwright.networks.tabular.realmlp_and_tabm import epochs_for, realmlp, tabm
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.network import FittedNetwork
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline, fit, load
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.space.space import Space

Recipe = Callable[..., Training]
both_recipes = pytest.mark.parametrize("recipe", [realmlp, tabm])


def default(recipe: Recipe, *, n_rows: int = 1000, regression: bool = False) -> Training:
    space = Space(recipe(n_rows, regression=regression))
    return space.fill(space.default())


def pipeline(recipe: Recipe, *, regression: bool = False) -> TablePipeline:
    short = replace(default(recipe, regression=regression), epochs=6)
    return TablePipeline(short, {"numeric": Numeric(scale="robust")})


@both_recipes
@pytest.mark.parametrize("regression", [False, True])
def test_every_candidate_can_be_built(recipe: Recipe, *, regression: bool) -> None:
    space = Space(recipe(1000, regression=regression))
    rng = np.random.default_rng(0)
    outputs, flops = 1 if regression else 3, set()
    for _ in range(25):
        filled = space.fill(space.sample(rng))
        network_costs = costs(filled.network, (7,), outputs=outputs, cardinalities=(4, 30))
        assert network_costs.shape == (outputs,)
        flops.add(network_costs.flops)
    assert len(flops) > 10  # they differ in size


def test_defaults_are_those_of_the_papers() -> None:
    regressor, classifier = default(realmlp, regression=True), default(realmlp)
    assert (regressor.lr, classifier.lr) == (0.2, 0.04)
    assert (classifier.optimizer.weight_decay, classifier.optimizer.beta2) == (2e-2, 0.95)  # type: ignore[attr-defined]
    assert default(realmlp).label_smoothing == default(tabm).label_smoothing == 0.0


def test_more_rows_get_fewer_epochs() -> None:
    assert epochs_for(500, n_steps=2000, max_epochs=100) == 100
    assert epochs_for(10_000, n_steps=2000, max_epochs=100) == 51
    assert epochs_for(10**6, n_steps=2000, max_epochs=100) == 16
    assert epochs_for(0, n_steps=2000, max_epochs=100) == 100


@both_recipes
def test_default_learns_and_exports_exactly(
    recipe: Recipe, binary_task: Task, tmp_path: Path
) -> None:
    fitted = fit(pipeline(recipe), binary_task, seed=0)
    curve = network_of(fitted).curve
    assert curve is not None
    assert curve.points[curve.best_index].validation_loss < curve.points[0].validation_loss
    rows = binary_task.features
    model = export_onnx(fitted, make_card(binary_task), tmp_path / "model.onnx")
    assert check_parity(model, fitted, rows).difference < 1e-5


@both_recipes
def test_regressor_predicts_within_the_training_targets(
    recipe: Recipe, number_task: Task, tmp_path: Path
) -> None:
    fitted = fit(pipeline(recipe, regression=True), number_task, seed=0)
    targets = number_task.target[number_task.train]
    far = network_of(fitted).outputs(
        np.full((1, network_of(fitted).input_spec.shape[0]), 1e3, np.float32)
    )
    prediction = fitted.target.predictions(far)
    slack = 1e-5 * np.ptp(targets)
    assert targets.min() - slack <= prediction <= targets.max() + slack
    model = export_onnx(fitted, make_card(number_task), tmp_path / "model.onnx")
    assert check_parity(model, fitted, number_task.features).difference < 1e-5


@both_recipes
def test_fit_is_reproducible_and_survives_saving(
    recipe: Recipe, binary_task: Task, tmp_path: Path
) -> None:
    unfitted = pipeline(recipe)
    fitted, again = fit(unfitted, binary_task, seed=3), fit(unfitted, binary_task, seed=3)
    fitted.save(tmp_path)
    predictions = fitted.predict(binary_task.features)
    np.testing.assert_array_equal(again.predict(binary_task.features), predictions)
    np.testing.assert_array_equal(
        load(unfitted, tmp_path).predict(binary_task.features), predictions
    )
    other = fit(unfitted, binary_task, seed=4)
    assert not np.array_equal(other.predict(binary_task.features), predictions)


def test_bins_start_at_the_smallest_training_rows(binary_task: Task) -> None:
    fitted = fit(pipeline(tabm), binary_task, seed=0)
    module = network_of(fitted).module
    low = next(buffer for name, buffer in module.named_buffers() if name.endswith("low"))
    inputs = torch.from_numpy(
        fitted.preprocessor.transform(binary_task.features.take(binary_task.train))
    )
    numbers = inputs[:, : len(low)]
    torch.testing.assert_close(low[:, 0], numbers.min(0).values)


def network_of(fitted: FittedPipeline) -> FittedNetwork:
    assert isinstance(fitted.model, FittedNetwork)
    return fitted.model
