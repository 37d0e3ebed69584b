"""Networks of images as models of a pipeline: views at prediction, remembered outputs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from netwright.networks.layers.basic import Flatten, GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.whitening import Whitening
from netwright.networks.training.augmentation.geometry import Flip
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.models import network
from netwright.pipelines.models.network import FittedNetwork, MirrorAverage
from netwright.pipelines.onnx.torch_export import onnx_graph

SPEC = InputSpec((3, 6, 5), {"outputs": 2}, (120.0, 110.0, 100.0), (60.0, 50.0, 40.0))
PLAIN = Training((Conv(4), Flatten(), Linear()), epochs=3, batch_size=8)
MIRRORED = replace(PLAIN, test_views="mirror")
GENERATOR = torch.Generator().manual_seed(2)
PIXELS = torch.randint(256, (24, 3, 6, 5), dtype=torch.uint8, generator=GENERATOR)
ROWS = LabelledData(PIXELS, torch.arange(24) % 2)


def raw_scores(module: nn.Module, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        scores: Tensor = module(pixels)
    return scores


def built(recipe: Training) -> nn.Module:
    torch.manual_seed(3)
    module = network.build_module(recipe, SPEC)
    raw_scores(module, PIXELS)  # in training mode: sets the statistics
    return module


def test_mirrored_views_are_averaged_in_evaluation_alone() -> None:
    plain, mirrored = built(PLAIN), built(MIRRORED)
    assert torch.equal(raw_scores(plain, PIXELS), raw_scores(mirrored, PIXELS))
    plain.eval(), mirrored.eval()
    expected = (raw_scores(plain, PIXELS) + raw_scores(plain, PIXELS.flip(3))) / 2
    scores = raw_scores(mirrored, PIXELS)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(raw_scores(mirrored, PIXELS.flip(3)), scores)
    assert not torch.allclose(raw_scores(plain, PIXELS), scores, atol=1e-3)


def test_views_of_the_recipe_decide_whether_they_are_averaged() -> None:
    def averages(recipe: Training, spec: InputSpec = SPEC) -> bool:
        return any(
            isinstance(m, MirrorAverage) for m in network.build_module(recipe, spec).modules()
        )

    matching = replace(PLAIN, test_views="matching")
    assert averages(MIRRORED)
    assert averages(replace(matching, augment=(Flip(),)))
    assert not averages(matching)
    assert not averages(PLAIN)
    table = Training(Linear(), test_views="mirror")
    assert not averages(
        table, InputSpec((4,), {"outputs": 2})
    )  # rows of tables have no mirror image


def test_averaged_views_are_exported_to_onnx() -> None:
    module = built(MIRRORED).eval()
    graph = onnx_graph(module, SPEC.shape)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = {graph.input[0].name: PIXELS.float().numpy()}
    (scores,) = session.run(None, feeds)
    np.testing.assert_allclose(scores, raw_scores(module, PIXELS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new"), [(MIRRORED, PLAIN), (PLAIN, MIRRORED), (MIRRORED, MIRRORED)]
)
def test_weights_are_inherited_whatever_the_views(old: Training, new: Training) -> None:
    parent = FittedNetwork(built(old).eval(), SPEC)
    calibration_inputs = PIXELS[:8].numpy()
    child, inheritance = network.inherit(new, SPEC, old, parent, calibration_inputs, seed=0)
    assert inheritance.inherited_share == 1
    assert inheritance.preserves_function
    child.eval()
    assert any(isinstance(module, MirrorAverage) for module in child.modules()) == (new is MIRRORED)
    expected = built(new).eval()
    torch.testing.assert_close(raw_scores(child, PIXELS), raw_scores(expected, PIXELS))


def test_whitened_stem_is_inherited() -> None:
    old, new = (
        replace(MIRRORED, network=(Whitening(), Conv(n), GlobalPool(), Linear())) for n in (4, 6)
    )
    parent = fitted(old)
    calibration_inputs = PIXELS[:8].numpy()
    child, inheritance = network.inherit(new, SPEC, old, parent, calibration_inputs, seed=0)
    assert inheritance.preserves_function
    scores = raw_scores(child.eval(), PIXELS).numpy()
    # but for the noise that breaks the symmetry of replicas
    np.testing.assert_allclose(scores, parent.outputs(PIXELS.numpy()), rtol=0, atol=5e-3)


def fitted(recipe: Training, losses: tuple[float, ...] = (), **options: float) -> FittedNetwork:
    remaining = iter(losses)
    return network.fit(
        recipe, SPEC, ROWS, PIXELS[:20].numpy(), lambda out: next(remaining, 1.0), seed=0, **options
    )  # fmt: skip


@pytest.mark.parametrize("losses", [(3.0, 1.0, 2.0), (1.0, 1.0, 1.0), (math.nan, 1.0, 0.5)])
@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize("test_views", ["none", "mirror"])
def test_remembered_outputs_are_those_of_the_weights_that_are_kept(
    losses: tuple[float, ...],
    select: Literal["best", "last"],
    test_views: Literal["none", "mirror"],
) -> None:
    model = fitted(replace(PLAIN, select=select, test_views=test_views), losses)
    assert model.validation_outputs is not None
    expected = model.outputs(PIXELS[:20].numpy())
    np.testing.assert_allclose(model.validation_outputs, expected, rtol=1e-4, atol=1e-5)


def test_outputs_of_other_epochs_are_others() -> None:
    """Otherwise the test above would show nothing."""
    best = fitted(PLAIN, (1.0, 2.0, 3.0)).validation_outputs
    last = fitted(replace(PLAIN, select="last"), (1.0, 2.0, 3.0)).validation_outputs
    assert best is not None
    assert last is not None
    assert np.abs(best - last).max() > 1e-3


def test_loaded_network_remembers_no_outputs(tmp_path: Path) -> None:
    recipe = replace(MIRRORED, network=(Whitening(), Conv(4), GlobalPool(), Linear()))
    model = fitted(recipe)
    model.save(tmp_path)
    loaded = network.load(recipe, SPEC, tmp_path)
    assert loaded.validation_outputs is None
    inputs = PIXELS.numpy()
    np.testing.assert_allclose(loaded.outputs(inputs), model.outputs(inputs), rtol=1e-5, atol=1e-6)
