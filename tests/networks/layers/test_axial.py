"""Filters and mixing along one axis at a time."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.axial import AxialConv, AxialMixing
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import AxisAsChannels
from netwright.networks.morphism.morph import Inheritance, morph

BARE: dict[str, Any] = {"normalisation": "none", "activation": "none"}
SHAPES: tuple[Shape, ...] = ((1, 1, 1), (3, 1, 7), (2, 9, 1), (5, 7, 4), (64, 3, 5))
AXES = ("width", "height", "both")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_inferred_shape_is_that_of_the_output(axis: Any, shape: Shape, stride: int) -> None:
    layer = AxialConv(4, kernel=5, axis=axis, stride=stride)
    output = build(layer, shape)(torch.randn(2, *shape))
    assert layer.infer_shape(shape) == tuple(output.shape[1:]) == costs(layer, shape).shape


def test_stride_is_along_the_axis_alone() -> None:
    assert costs(AxialConv(4, stride=2), (3, 8, 8)).shape == (4, 8, 4)
    assert costs(AxialConv(4, axis="height", stride=2), (3, 8, 8)).shape == (4, 4, 8)
    assert costs(AxialConv(4, axis="both", stride=2), (3, 8, 8)).shape == (4, 4, 4)


def reach(layer: Network, pixel: tuple[int, int]) -> Tensor:
    """(h, w) which pixels of the output see this one, in a square of 7."""
    module, x = build(layer, (2, 7, 7)).eval(), torch.zeros(1, 2, 7, 7)
    changed = x.clone()
    changed[:, :, pixel[0], pixel[1]] = 1
    return (module(changed) - module(x))[0].abs().amax(0) > 0


def test_kernel_lies_along_its_axis() -> None:
    width, height = torch.zeros(2, 7, 7, dtype=torch.bool)
    width[3, 2:7], height[1:6, 4] = True, True
    assert torch.equal(reach(AxialConv(kernel=5, **BARE), (3, 4)), width)
    assert torch.equal(reach(AxialConv(kernel=5, axis="height", **BARE), (3, 4)), height)
    both = AxialConv(kernel=5, axis="both", **BARE)
    assert torch.equal(reach(both, (3, 4)), width | height)


def test_both_axes_are_summed_as_a_cross() -> None:
    module, x = build(AxialConv(4, axis="both", **BARE), (3, 6, 5)), torch.randn(2, 3, 6, 5)
    width, height = (module.get_submodule(axis) for axis in ("width", "height"))
    assert torch.allclose(module(x), width(x) + height(x), atol=1e-6)
    assert [bias is None for bias in (width.bias, height.bias)] == [False, True]


def test_images_of_one_row_need_a_third_of_the_weights() -> None:
    shape = costs(AxisAsChannels("rows"), (1, 8, 20)).shape
    axial, square = costs(AxialConv(16), shape), costs(Conv(16), shape)
    assert axial.flops * 3 == square.flops
    square_conv, axial_conv = build(Conv(16, **BARE), shape), build(AxialConv(16, **BARE), shape)
    state = square_conv.state_dict()
    axial_conv.load_state_dict(
        {"width.weight": state["conv.weight"][:, :, 1:2], "width.bias": state["conv.bias"]}
    )
    x = torch.randn(3, *shape)
    assert torch.allclose(axial_conv(x), square_conv(x), atol=1e-5)  # the others see padding


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (AxialConv(kernel=4), "kernel must be odd, got 4"),
        (AxialConv(stride=0), "stride must be at least 1, got 0"),
        (AxialConv(axis=cast("Any", "depth")), "axis must be width, height or both, got 'depth'"),
        (AxialConv(activation=cast("Any", "cosh")), "activation must be one of"),
        (
            AxialMixing(cast("Any", "batches")),
            "normalisation must be batch, batch_bias, layer, group or none",
        ),
    ],
)
def test_wrong_settings_are_refused(layer: Network, sentence: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=f"1: Axial.* cannot take .*{sentence}"):
        build((Conv(4), layer), (3, 5, 5))


# Axial mixing


@pytest.mark.parametrize("shape", SHAPES)
def test_axial_mixing_starts_as_the_identity_and_is_trained(shape: Shape) -> None:
    module, x = build(AxialMixing(), shape), torch.randn(4, *shape)
    assert torch.equal(module(x), x)
    (module(x) * torch.randn_like(x)).sum().backward()
    for axis in ("width", "height"):
        gradient = module.get_submodule(axis).weight.grad
        assert isinstance(gradient, Tensor)
        assert gradient.abs().sum() > 0


def test_axial_mixing_multiplies_rows_then_columns() -> None:
    module, x = build(AxialMixing("none"), (3, 4, 5)), torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    width, height = (module.get_submodule(axis) for axis in ("width", "height"))
    mixed = x + torch.einsum("vw,bchw->bchv", width.weight, x) + width.bias
    mixed = mixed + torch.einsum("gh,bchw->bcgw", height.weight, mixed) + height.bias[:, None]
    assert torch.allclose(module(x), mixed, atol=1e-4)


def test_axial_mixing_normalises_what_it_mixes_alone() -> None:
    module, x = build(AxialMixing("batch"), (3, 4, 5)), 10 * torch.randn(50, 3, 4, 5) + 7
    with torch.no_grad():
        module.get_submodule("width").weight.copy_(torch.eye(5))
    added = module(x) - x  # the normalised input
    assert torch.allclose(added.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(added.std((0, 2, 3)), torch.ones(3), atol=1e-2)


def test_axial_mixing_flops_are_two_matrices() -> None:
    c, h, w = 6, 4, 5
    assert costs(AxialMixing(), (c, h, w)).flops == 2 * c * h * w * (h + w)


# Weight inheritance

HEAD: tuple[Network, ...] = (Conv(7), GlobalPool(), Linear())
IMAGE = (3, 8, 9)


def inherited(old: Network, new: Network) -> tuple[Inheritance, float]:
    """The inheritance, and how far the child's outputs are from the parent's."""
    parent = build(old, IMAGE, outputs=5)
    with torch.no_grad():
        for module in parent.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, 0.3)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
    child, inheritance = morph(parent, old, new, IMAGE, seed=0, noise=0.0, outputs=5)
    x = torch.randn(6, *IMAGE)
    with torch.no_grad():
        difference = (parent.eval()(x) - child.eval()(x)).abs().max()
    return inheritance, float(difference)


@pytest.mark.parametrize("normalisation", ["batch", "none"])
@pytest.mark.parametrize("axis", AXES)
def test_wider_and_longer_kernels_preserve_the_function(axis: Any, normalisation: Any) -> None:
    def network(width: int, kernel: int) -> Network:
        layer = AxialConv(width, kernel, axis, stride=2, normalisation=normalisation)
        return (Conv(width), layer, *HEAD)

    inheritance, difference = inherited(network(6, 3), network(9, 7))
    assert inheritance.preserves_function, inheritance.changes
    assert difference < 1e-5
    inheritance, _ = inherited(network(6, 7), network(6, 3))
    assert inheritance.changes == ("1: kernel 3 instead of 7",)


@pytest.mark.parametrize("axis", AXES)
def test_axial_convolution_is_inserted_as_identity(axis: Any) -> None:
    inheritance, difference = inherited((Conv(6), *HEAD), (Conv(6), AxialConv(axis=axis), *HEAD))
    assert inheritance.preserves_function, inheritance.changes
    assert difference < 1e-5


@pytest.mark.parametrize("axis", AXES)
def test_residual_body_of_axial_convolutions_starts_at_zero(axis: Any) -> None:
    block = Residual(AxialConv(axis=axis))
    inheritance, difference = inherited((Conv(6), *HEAD), (Conv(6), block, *HEAD))
    assert inheritance.preserves_function, inheritance.changes
    assert difference < 1e-5
    bare = Residual(AxialConv(axis=axis, **BARE))
    inheritance, difference = inherited((Conv(6), *HEAD), (Conv(6), bare, *HEAD))
    assert inheritance.preserves_function == (axis != "both") == (difference < 1e-5)


def test_another_axis_or_stride_is_recorded_as_a_change() -> None:
    inheritance, _ = inherited((AxialConv(6), *HEAD), (AxialConv(6, axis="both"), *HEAD))
    assert "starts with new weights" in inheritance.changes[0]
    inheritance, _ = inherited((AxialConv(6), *HEAD), (AxialConv(6, stride=2), *HEAD))
    assert inheritance.changes == ("0: stride 2 instead of 1",)


def test_axial_mixing_is_inherited_and_inserted() -> None:
    inheritance, difference = inherited(
        (Conv(6), AxialMixing(), *HEAD), (Conv(9), AxialMixing(), AxialMixing(), *HEAD)
    )
    assert inheritance.preserves_function, inheritance.changes
    assert difference < 1e-5
    inheritance, _ = inherited(
        (Conv(6), AxialMixing(), *HEAD), (Conv(6, stride=2), AxialMixing(), *HEAD)
    )
    assert not inheritance.preserves_function
