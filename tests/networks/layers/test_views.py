"""Each view of the data against what it means, on images of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Flatten, GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import (
    AxisAsChannels,
    Coordinates,
    OneHotPixels,
    RowAndColumnMeans,
)
from netwright.networks.morphism.morph import morph
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.models import network as network_model
from netwright.pipelines.onnx.graph_builder import OPSET
from netwright.pipelines.onnx.torch_export import onnx_graph

SHAPES: tuple[Shape, ...] = ((1, 1, 1), (3, 1, 7), (2, 9, 1), (5, 7, 4), (64, 3, 5))
VIEWS = (
    AxisAsChannels("rows"), AxisAsChannels("columns"), OneHotPixels(3), Coordinates(),
    RowAndColumnMeans(),
)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", VIEWS, ids=repr)
def test_inferred_shape_is_that_of_the_output(layer: Leaf, shape: Shape) -> None:
    output = build(layer, shape)(torch.randn(2, *shape))
    assert layer.infer_shape(shape) == tuple(output.shape[1:]) == costs(layer, shape).shape


@pytest.mark.parametrize("layer", VIEWS, ids=repr)
def test_views_take_images_only(layer: Leaf) -> None:
    with pytest.raises(InfeasibleCandidate, match=r"input must be images \(c, h, w\), got \(5,\)"):
        build(layer, (5,))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="axis must be rows or columns, got 'depth'"):
        build(AxisAsChannels(cast("Any", "depth")), (3, 4, 5))
    with pytest.raises(InfeasibleCandidate, match="max_levels must be at least 2, got 1"):
        build(OneHotPixels(1), (3, 4, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_axis_becomes_channels_in_order(shape: Shape) -> None:
    c, h, w = shape
    x = torch.randn(2, *shape)
    rows = x.numpy().reshape(2, c * h, 1, w)
    columns = x.numpy().transpose(0, 1, 3, 2).reshape(2, c * w, 1, h)
    assert np.array_equal(build(AxisAsChannels("rows"), shape)(x), rows)
    assert np.array_equal(build(AxisAsChannels("columns"), shape)(x), columns)


def test_square_kernels_run_on_images_of_one_row() -> None:
    network = (AxisAsChannels("rows"), Conv(4, kernel=3), Conv(stride=2))
    assert costs(network, (2, 6, 9)).shape == (4, 1, 5)
    assert build(network, (2, 6, 9))(torch.randn(3, 2, 6, 9)).shape == (3, 4, 1, 5)


def test_coordinates_are_positions_from_minus_1_to_1() -> None:
    x = torch.randn(2, 3, 3, 5)
    output = build(Coordinates(), (3, 3, 5))(x)
    assert torch.equal(output[:, :3], x)
    rows, columns = output[:, 3], output[:, 4]
    assert torch.equal(rows, torch.tensor([-1.0, 0, 1])[:, None].expand(2, 3, 5))
    assert torch.equal(columns, torch.tensor([-1, -0.5, 0, 0.5, 1]).expand(2, 3, 5))
    single = build(Coordinates(), (1, 1, 1))(torch.ones(1, 1, 1, 1))
    assert single.flatten().tolist() == [1, 0, 0]


def test_coordinates_are_not_part_of_the_weights() -> None:
    assert not build(Coordinates(), (3, 4, 5)).state_dict()


def test_means_of_rows_and_columns_are_appended() -> None:
    x = torch.randn(2, 3, 4, 5)
    output = build(RowAndColumnMeans(), (3, 4, 5))(x)
    assert torch.equal(output[:, :3], x)
    for i, j in ((0, 0), (3, 2)):
        assert torch.allclose(output[:, 3:6, i, j], x[:, :, i].mean(2), atol=1e-6)
        assert torch.allclose(output[:, 6:, i, j], x[:, :, :, j].mean(2), atol=1e-6)


# One-hot pixels

CODES = torch.tensor([-1.5, -0.2, -0.1, 2.0])


def initialized(layer: OneHotPixels, x: Tensor) -> nn.Module:
    module = build(layer, tuple(x.shape[1:]))
    initialize_from_data(module, LabelledData(x, torch.zeros(len(x))), seed=0)
    return module


def random_codes(rows: int, shape: Shape, codes: Tensor = CODES) -> Tensor:
    return codes[torch.randint(len(codes), (rows, *shape))]


def test_levels_are_the_distinct_values_of_each_channel() -> None:
    x = random_codes(50, (2, 3, 4))
    x[:, 1] = x[:, 1].clamp(min=0)
    levels = initialized(OneHotPixels(5), x).get_buffer("levels")
    inf = torch.inf
    assert levels.tolist() == torch.tensor([[*CODES, inf], [0, 2, inf, inf, inf]]).tolist()


def test_each_level_has_its_channel() -> None:
    x = random_codes(50, (2, 3, 4))
    output = initialized(OneHotPixels(5), x)(x)
    assert output.dtype == torch.float32
    by_level = output.unflatten(1, (2, 5))
    for j, code in enumerate(CODES):
        assert torch.equal(by_level[:, :, j], (x == code).float())
    assert not by_level[:, :, 4:].any()  # there is no fifth level


@pytest.mark.parametrize("max_levels", [4, 5, 9])
def test_unseen_values_go_to_the_nearest_level(max_levels: int) -> None:
    module = initialized(OneHotPixels(max_levels), random_codes(50, (1, 3, 4)))
    x = torch.tensor([-1e5, -100, -0.86, -0.84, -0.16, -0.14, 0.94, 0.96, 100, 1e5])
    output = module(x[None, None, None])  # (1, max_levels, 1, 10)
    nearest = (x[:, None] - CODES).abs().argmin(1)
    assert torch.equal(output[0, :, 0].argmax(0), nearest)
    assert (output.sum(1) == 1).all()


def test_too_many_values_are_binned_whatever_their_frequency() -> None:
    x = torch.zeros(300, 1, 4, 4)  # a background, and 40 codes that are rare
    x[:, 0, 0, :2] = (1 + torch.arange(300) % 40)[:, None].float()
    levels = initialized(OneHotPixels(8), x).get_buffer("levels")[0]
    assert levels.isfinite().all()
    assert levels[0] == 0
    assert levels[-1] == 40
    assert levels.diff().min() >= 5


def test_untrained_levels_bin_standardised_pixels() -> None:
    module = build(OneHotPixels(4), (2, 1, 1))
    output = module(torch.tensor([-9.0, 0.9])[None, :, None, None]).flatten().tolist()
    assert output == [1, 0, 0, 0, 0, 0, 1, 0]  # levels -3, -1, 1, 3


def test_one_hot_pixels_make_a_lookup_of_codes_linear() -> None:
    """The target is any function of the code, which no linear layer can see in the pixel."""
    torch.manual_seed(1)
    codes = torch.linspace(-1.6, 1.6, 12)
    table = torch.tensor([0, 1] * 6)
    index = torch.randint(12, (400,))
    data = LabelledData(codes[index].view(-1, 1, 1, 1), table[index])

    def accuracy(network: Network) -> float:
        module = build(network, (1, 1, 1), outputs=2)
        initialize_from_data(module, data, seed=0)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(data.inputs), data.targets).backward()
            optimizer.step()
        return float((module(data.inputs).argmax(1) == data.targets).float().mean())

    assert accuracy((OneHotPixels(16), Flatten(), Linear())) == 1
    assert accuracy((Flatten(), Linear())) < 0.7


def test_fitted_levels_survive_saving_and_onnx(tmp_path: Path) -> None:
    """From uint8 pixels, behind the standardisation of an image model."""
    torch.manual_seed(0)
    pixels = torch.tensor([0, 7, 8, 255], dtype=torch.uint8)[torch.randint(4, (40, 2, 5, 6))]
    targets = (pixels[:, 0, 0, 0] == 7).long()
    spec = InputSpec((2, 5, 6), {"outputs": 2}, mean=(60.0, 70.0), std=(90.0, 110.0))
    recipe = Training((OneHotPixels(6), Conv(4), GlobalPool(), Linear()), epochs=1)
    fitted = network_model.fit(
        recipe, spec, LabelledData(pixels, targets), pixels.numpy(), lambda _: 0.0, seed=0
    )
    levels = fitted.module.get_submodule("network.0").get_buffer("levels")
    assert (levels.isfinite().sum(1) == 4).all()
    fitted.save(tmp_path)
    loaded = network_model.load(recipe, spec, tmp_path)
    assert np.array_equal(loaded.outputs(pixels.numpy()), fitted.outputs(pixels.numpy()))
    graph = onnx_graph(loaded.module, spec.shape)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    model.ir_version = 9
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (outputs,) = session.run(None, {"input": pixels.float().numpy()})
    np.testing.assert_allclose(outputs, fitted.outputs(pixels.numpy()), atol=1e-4)


# Weight inheritance


@pytest.mark.parametrize("layer", VIEWS, ids=repr)
def test_channels_are_followed_through_a_view(layer: Leaf) -> None:
    """A wider layer before it: the convolution after it reads each channel's replicas."""
    shape = (2, 4, 6)
    before, after = (
        (Conv(width, normalisation="none"), layer, Conv(5), GlobalPool(), Linear())
        for width in (4, 6)
    )
    parent = build(before, shape, outputs=3)
    rows = LabelledData(torch.randn(30, *shape), torch.zeros(30))
    initialize_from_data(parent, rows, seed=0)
    child, inheritance = morph(parent, before, after, shape, seed=0, noise=0.0, outputs=3)
    assert inheritance.preserves_function, inheritance.changes
    with torch.no_grad():
        x = torch.randn(7, *shape)
        assert torch.allclose(child.eval()(x), parent.eval()(x), atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    [(AxisAsChannels("rows"), AxisAsChannels("columns")), (OneHotPixels(3), OneHotPixels(4))],
)
def test_another_view_is_recorded_as_a_change(old: Network, new: Network) -> None:
    before, after = ((layer, Conv(5), GlobalPool(), Linear()) for layer in (old, new))
    parent = build(before, (2, 4, 4), outputs=3)
    _, inheritance = morph(parent, before, after, (2, 4, 4), seed=0, outputs=3)
    assert f"0: {new!r} instead of {old!r} starts with new weights" in inheritance.changes
