"""A tower shares its body between channels, and combines what they say."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from network_tools import measured_costs, memory
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.drawing.outline import outline
from netwright.networks.drawing.svg import svg
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Flatten, GlobalPool
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import OneHotPixels
from netwright.networks.morphism.morph import Inheritance, morph
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.labelled_data import LabelledData

BODY: Network = (Conv(6), GlobalPool(), Linear(5))
COMBINATIONS = ("sum", "product", "sum_product", "concat")


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 7), (2, 9, 5), (64, 3, 4)])
@pytest.mark.parametrize("combine", COMBINATIONS)
@pytest.mark.parametrize("hidden", [0, 7])
def test_output_is_a_vector(combine: Any, shape: tuple[int, ...], hidden: int) -> None:
    layer = ChannelTower(BODY, combine, hidden)
    width = hidden or 5 * {"sum": 1, "product": 2, "sum_product": 3, "concat": shape[0]}[combine]
    assert costs(layer, shape).shape == (width,)
    assert build(layer, shape)(torch.randn(4, *shape)).shape == (4, width)


def features_of(module: nn.Module, x: Tensor) -> list[Tensor]:
    """What the body says of each channel by itself."""
    body = module.get_submodule("parts.body")
    return [body(x[:, i : i + 1]) for i in range(x.shape[1])]


def test_channels_are_summed_multiplied_or_concatenated() -> None:
    x = torch.randn(4, 3, 6, 5)
    towers = {
        combine: build(ChannelTower(BODY, cast("Any", combine), 0), (3, 6, 5)).eval()
        for combine in COMBINATIONS
    }
    outputs = {combine: module(x) for combine, module in towers.items()}
    features = {combine: features_of(module, x) for combine, module in towers.items()}
    assert torch.allclose(outputs["sum"], sum(features["sum"], torch.zeros(())), atol=1e-5)
    assert torch.allclose(outputs["concat"], torch.cat(features["concat"], 1), atol=1e-5)
    product = torch.exp(1j * torch.stack(features["product"])).prod(0)  # of complex numbers
    assert torch.allclose(outputs["product"], torch.cat([product.real, product.imag], 1), atol=1e-5)
    total, phases = (
        sum(features["sum_product"], torch.zeros(())),
        torch.exp(1j * torch.stack(features["sum_product"])).prod(0),
    )
    both = torch.cat([total, phases.real, phases.imag], 1)
    assert torch.allclose(outputs["sum_product"], both, atol=1e-5)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_only_concatenation_depends_on_the_order_of_channels(combine: Any) -> None:
    module = build(ChannelTower(BODY, combine), (5, 6, 4)).eval()
    x, order = torch.randn(4, 5, 6, 4), torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(module(x), module(x[:, order]), atol=1e-5) == (combine != "concat")


def test_number_of_weights_does_not_depend_on_the_channels() -> None:
    layer = ChannelTower(BODY)
    assert costs(layer, (1, 8, 8)).parameters == costs(layer, (64, 8, 8)).parameters


def test_rows_do_not_mix() -> None:
    module, x = build(ChannelTower(BODY), (3, 6, 4)).eval(), torch.randn(4, 3, 6, 4)
    assert torch.allclose(module(x)[2:3], module(x[2:3]), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_product_neither_vanishes_nor_explodes(channels: int, scale: float) -> None:
    module = build(ChannelTower((Flatten(), Linear(8)), "product", 0), (channels, 4, 4))
    output = module(scale * torch.randn(16, channels, 4, 4))
    real, imaginary = output.unflatten(1, (2, 8)).unbind(1)
    assert torch.allclose(real**2 + imaginary**2, torch.ones(16, 8), atol=1e-4)
    (output * torch.randn_like(output)).mean().backward()
    gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    assert gradients.isfinite().all()
    assert 1e-3 < gradients.abs().max() < 10 * max(1, scale) * channels


def test_channel_of_phase_0_leaves_a_product_unchanged() -> None:
    module = build(ChannelTower(Flatten(), "product", 0), (3, 1, 1))
    x = torch.tensor([[0.3, 0, 0.4], [0.7, 0, 0]])[:, :, None, None]
    assert torch.allclose(module(x)[0], module(x)[1], atol=1e-6)


@pytest.mark.parametrize("hidden", [0, 7])
@pytest.mark.parametrize("channels", [1, 4])
def test_body_is_counted_once_for_each_channel(channels: int, hidden: int) -> None:
    layer, shape = ChannelTower(BODY, "sum", hidden), (channels, 8, 8)
    computed = costs(layer, shape)
    measured = measured_costs(build(layer, shape), torch.randn(1, *shape))
    assert (computed.shape, computed.parameters, computed.flops) == measured
    once = costs(BODY, (1, 8, 8)).flops
    assert computed.flops == channels * once + 2 * 5 * hidden


def test_memory_holds_all_channels_of_the_body() -> None:
    body, pixels = (Conv(6, normalisation="none"), GlobalPool()), 64
    assert memory(body, (1, 8, 8)) == (6 + 6) * pixels  # before and after its activation
    assert memory(ChannelTower(body, hidden=0), (4, 8, 8)) == 4 * (6 + 6 + 1) * pixels


def test_drawings_say_how_often_the_body_runs() -> None:
    network = (ChannelTower(BODY), Linear())
    texts = [row.text for row in outline(network, (4, 8, 8), outputs=2)]
    assert texts[:3] == ["ChannelTower", "4 × body", "Conv 6"]
    assert "hidden" in texts
    alone = [row.text for row in outline(ChannelTower(BODY, hidden=0), (4, 8, 8))]
    assert alone[:2] == ["ChannelTower", "4 × body"]
    drawing = svg(network, (4, 8, 8), outputs=2)
    for text in ("each channel", "sum over 4 channels", "GlobalPool", "Linear"):
        assert f">{text}<" in drawing


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (
            ChannelTower(Conv(4)),
            r"output of the body must be a vector \(features,\), got \(4, 5, 5\)\. Put GlobalPool",
        ),
        (
            ChannelTower(BODY, cast("Any", "mean")),
            "combine must be sum, product, sum_product or concat",
        ),
        (ChannelTower(BODY, hidden=-1), "hidden must be at least 0, got -1"),
        (ChannelTower(BODY, activation=cast("Any", "cosh")), "activation must be one of"),
    ],
)
def test_wrong_settings_are_refused(layer: Network, sentence: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=sentence):
        build(layer, (3, 5, 5))


def held_out_accuracy(layer: Network, x: Tensor, targets: Tensor, steps: int) -> float:
    """Train on the first two thirds of the rows."""
    torch.manual_seed(0)
    n = len(x) * 2 // 3
    module = build((layer, Linear()), tuple(x.shape[1:]), outputs=int(targets.max()) + 1)
    initialize_from_data(module, LabelledData(x[:n], targets[:n]), seed=0)
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(steps):
        rows = torch.randint(n, (256,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[rows]), targets[rows]).backward()
        optimizer.step()
    return float((module.eval()(x[n:]).argmax(1) == targets[n:]).float().mean())


def test_sum_of_codes_needs_a_hidden_layer() -> None:
    """The parity of two bits: additive features cannot tell it, a hidden layer after them can."""
    bits = torch.randint(2, (600, 2))
    x, parity = bits[:, :, None, None].float() - 0.5, bits.sum(1) % 2
    body = (OneHotPixels(2), Flatten(), Linear(8, "batch", "relu"))
    assert held_out_accuracy(ChannelTower(body, hidden=16), x, parity, 60) == 1
    assert held_out_accuracy(ChannelTower(body, hidden=0), x, parity, 60) < 0.85


def test_product_learns_sums_modulo_n_that_a_sum_does_not() -> None:
    digits = torch.randint(5, (3000, 6))
    x, remainder = digits[:, :, None, None].float() - 2, digits.sum(1) % 5
    codes = (OneHotPixels(5), Flatten(), Linear(32, "batch", "relu"))

    def accuracy(combine: Any) -> float:
        layer = ChannelTower((*codes, Linear(32, "batch")), combine, 32)
        return held_out_accuracy(layer, x, remainder, 160)

    assert accuracy("product") > 0.9
    assert accuracy("sum_product") > 0.9
    assert accuracy("sum") < 0.8


def test_body_is_initialised_from_all_channels() -> None:
    x = torch.tensor([[-1.0, 2], [3, -1]])[:, :, None, None]
    module = build(ChannelTower((OneHotPixels(4), GlobalPool())), (2, 1, 1))
    initialize_from_data(module, LabelledData(x, torch.zeros(2)), seed=0)
    levels = module.get_submodule("parts.body.0").get_buffer("levels")
    assert levels.tolist() == [[-1, 2, 3, math.inf]]


# Weight inheritance


def tower(width: int, features: int, combine: Any, hidden: int) -> Network:
    body = (Conv(width), GlobalPool(), Linear(features))
    return (ChannelTower(body, combine, hidden), Linear())


def inherited(old: Network, new: Network) -> tuple[Inheritance, float]:
    """The inheritance, and how far the child's outputs are from the parent's."""
    shape = (3, 6, 5)
    parent = build(old, shape, outputs=4)
    parent(torch.randn(20, *shape))  # statistics of the normalisations
    child, inheritance = morph(parent, old, new, shape, seed=0, noise=0.0, outputs=4)
    x = torch.randn(6, *shape)
    with torch.no_grad():
        return inheritance, float((parent.eval()(x) - child.eval()(x)).abs().max())


@pytest.mark.parametrize("hidden", [0, 8])
@pytest.mark.parametrize("combine", COMBINATIONS)
def test_wider_tower_computes_the_parents_function(combine: Any, hidden: int) -> None:
    old, new = tower(6, 4, combine, hidden), tower(9, 7, combine, hidden * 2)
    inheritance, difference = inherited(old, new)
    assert inheritance.preserves_function, inheritance.changes
    assert difference < 1e-5


def test_another_combination_keeps_the_body_and_is_recorded() -> None:
    inheritance, _ = inherited(tower(40, 9, "sum", 4), tower(40, 9, "concat", 4))
    assert inheritance.changes == ("0: combine concat instead of sum",)
    assert inheritance.inherited_share > 0.5


@pytest.mark.parametrize(("old_hidden", "hidden"), [(0, 8), (8, 0)])
def test_hidden_layer_that_comes_or_goes_is_recorded(old_hidden: int, hidden: int) -> None:
    inheritance, _ = inherited(tower(6, 8, "sum", old_hidden), tower(6, 8, "sum", hidden))
    assert not inheritance.preserves_function


def test_other_channels_start_afresh() -> None:
    old, new = (
        (Conv(width), *cast("tuple[Network, ...]", tower(6, 4, "sum", 8))) for width in (4, 6)
    )
    inheritance, _ = inherited(old, new)
    assert any("starts with new weights" in change for change in inheritance.changes)
