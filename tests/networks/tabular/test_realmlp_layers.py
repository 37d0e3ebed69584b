"""The layers of RealMLP against their definitions in the paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.realmlp_layers import (
    ClampToTargetRange,
    NTKLinear,
    ParametricActivation,
    Scaling,
)
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.labelled_data import LabelledData

TARGETS = torch.zeros(500, dtype=torch.int64)


def test_ntk_linear_is_a_dense_layer_of_scaled_weights() -> None:
    layer, plain, x = build(NTKLinear(5), (9,)), build(Linear(5), (9,)), torch.randn(7, 9)
    with torch.no_grad():
        plain.linear.weight.copy_(layer.weight / 3)
        plain.linear.bias.copy_(layer.bias.normal_())
    torch.testing.assert_close(layer(x), plain(x))
    assert not torch.allclose(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("columns", [4, 400])
def test_outputs_have_unit_std_at_any_width(columns: int) -> None:
    out = build(NTKLinear(2000), (columns,))(torch.randn(50, columns))
    assert out.std().item() == pytest.approx(1, abs=0.15)


def test_data_init_gives_unit_std_and_zeros_among_rows() -> None:
    layer, x = build(NTKLinear(200), (3,)), torch.randn(500, 3) * 5 + 100
    initialize_from_data(layer, LabelledData(x, TARGETS), seed=0)
    with torch.no_grad():
        out = layer(x)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(200))
    assert (out.min(0).values < 0).all()  # its zero is in the convex hull of rows
    assert (out.max(0).values > 0).all()
    positive_share = (out > 0).float().mean(0)
    assert positive_share.std() > 0.1  # not the mean of all rows for each neuron


def test_other_inits_ignore_data() -> None:
    for kind in ("normal", "zeros"):
        layer = build(NTKLinear(20, init=kind), (3,))
        before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        initialize_from_data(layer, LabelledData(torch.randn(500, 3) * 9, TARGETS), seed=0)
        for name, tensor in layer.state_dict().items():
            assert torch.equal(tensor, before[name])
        assert (kind == "zeros") == (not any(tensor.any() for tensor in before.values()))


def test_equal_rows_leave_finite_weights() -> None:
    layer = build(NTKLinear(20), (3,))
    initialize_from_data(layer, LabelledData(torch.ones(500, 3), TARGETS), seed=0)
    assert all(torch.isfinite(tensor).all() for tensor in layer.state_dict().values())


def test_parametric_activation_interpolates_between_identity_and_activation() -> None:
    layer, x = build(ParametricActivation("mish"), (4,)), torch.randn(9, 4)
    torch.testing.assert_close(layer(x), nn.functional.mish(x))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.0, 0.5, 2.0]))
    f = nn.functional.mish(x)
    expected = torch.stack([f[:, 0], x[:, 1], (x + f)[:, 2] / 2, (2 * f - x)[:, 3]], 1)
    torch.testing.assert_close(layer(x), expected)


def test_scaling_starts_at_1_and_acts_on_columns() -> None:
    layer, x = build(Scaling(), (3,)), torch.randn(5, 3)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 0.0, -1.0]))
    torch.testing.assert_close(layer(x), x * torch.tensor([2.0, 0.0, -1.0]))


def test_predictions_are_clamped_to_the_target_range() -> None:
    layer, x = build(ClampToTargetRange(), (1,)), torch.tensor([[-9.0], [0.5], [9.0]])
    assert torch.equal(layer.eval()(x), x)  # not initialised yet
    initialize_from_data(
        layer, LabelledData(torch.zeros(3, 1), torch.tensor([-1.0, 2.0, 0.0])), seed=0
    )
    assert layer.eval()(x).tolist() == [[-1.0], [0.5], [2.0]]
    assert torch.equal(layer.train()(x), x)


def test_classes_are_not_clamped() -> None:
    layer, x = build((NTKLinear(1), ClampToTargetRange()), (2,)), torch.randn(500, 2)
    initialize_from_data(layer, LabelledData(x, TARGETS), seed=0)
    assert layer[1].high.item() == math.inf
    assert isinstance(build(ClampToTargetRange(), (3,)), nn.Identity)


IMAGE = (3, 8, 8)


@pytest.mark.parametrize(
    "layer", [Scaling(), NTKLinear(3), ParametricActivation(), ClampToTargetRange()]
)
def test_images_are_refused(layer: Network) -> None:
    with pytest.raises(InfeasibleCandidate, match=r"columns or a sequence.*GlobalPool"):
        build(layer, IMAGE)


def test_unknown_init_is_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="init must be data, normal or zeros, got 'he'"):
        build(NTKLinear(3, init="he"), (2,))  # type: ignore[arg-type]
