"""`build` and `costs` refuse infeasible networks with the layer's position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from netwright.errors import InfeasibleCandidate, NetwrightError, SpaceError
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import (
    Activation,
    Dropout,
    Flatten,
    GlobalPool,
    Norm,
    Pool,
    Skip,
)
from netwright.networks.layers.blocks import (
    ImageRows,
    MBConv,
    Recurrent,
    Residual,
    SelfAttention,
    SqueezeExcitation,
    StochasticDepth,
)
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns, Embedding, OneHot, Periodic
from netwright.space.choices import Integer, OneOf

IMAGE, SEQUENCE, ROW = (4, 8, 8), (5, 4), (3,)


def refusal(run: Callable[..., Any], network: Any, shape: Shape, **given: Any) -> NetwrightError:
    with pytest.raises(NetwrightError) as refused:
        run(network, shape, **given)
    return refused.value


REFUSED: list[tuple[Network, Shape, str]] = [
    ((Conv(), Linear(3)), IMAGE, r"^1: Linear cannot take \(4, 8, 8\): .* GlobalPool\(\)"),
    (
        Conv(kernel=4),
        IMAGE,
        r"^Conv cannot take \(4, 8, 8\): kernel must be odd, got 4. Use 3 or 5",
    ),
    (Conv(kernel=-1), IMAGE, r"kernel must be at least 1, got -1"),
    (Conv(stride=0), IMAGE, r"stride must be at least 1, got 0"),
    (Conv(dilation=0), IMAGE, r"dilation must be at least 1, got 0"),
    (Conv(groups=-2), IMAGE, r"groups must be at least 1, got -2"),
    (Conv(channels=-3), IMAGE, r"negative"),
    (Conv(6, groups=4), IMAGE, r"groups must be a divisor of the channels 4 and 6, got 4"),
    (Conv(activation="rlu"), IMAGE, r"activation must be one of none, relu, .* got 'rlu'"),  # type: ignore[arg-type]
    (Conv(normalisation="btch"), IMAGE, r"normalisation must be batch, .* got 'btch'"),  # type: ignore[arg-type]
    (Conv(kernel=9, padding=0), IMAGE, r"^Conv cannot take"),
    (Conv(), SEQUENCE, r"input must be images \(c, h, w\), got \(5, 4\)"),
    (Linear(0), ROW, r"its output would be empty, \(0,\)"),
    (Linear(-1), ROW, r"negative"),
    (Linear(3, activation="x"), ROW, r"activation must be one of"),  # type: ignore[arg-type]
    (Linear(3, normalisation="x"), ROW, r"normalisation must be batch"),  # type: ignore[arg-type]
    (Linear(3, normalisation="group"), SEQUENCE, r"group normalisation takes images or columns"),
    (Norm("group"), SEQUENCE, r"group normalisation takes images or columns"),
    (Activation("x"), ROW, r"activation must be one of"),  # type: ignore[arg-type]
    ((Pool(stride=2), (Pool(kernel=5, padding=0),)), IMAGE, r"^1\.0: Pool cannot take \(4, 4, 4\)"),
    (Pool(stride=0), IMAGE, r"stride must be at least 1"),
    (Pool(kernel=2), IMAGE, r"kernel must be odd, got 2"),
    (Dropout(1.0), ROW, r"p must be in \[0, 1\), got 1.0"),
    (StochasticDepth(-0.1), ROW, r"p must be in \[0, 1\), got -0.1"),
    (SelfAttention(3), SEQUENCE, r"heads must be a divisor of the 4 channels, got 3"),
    (SelfAttention(0), SEQUENCE, r"heads must be at least 1"),
    (SelfAttention(1), ROW, r"a sequence \(t, c\) or images"),
    (Recurrent(), IMAGE, r"Put ImageRows\(\) before it"),
    (ImageRows(), ROW, r"input must be images"),
    (SqueezeExcitation(0), IMAGE, r"ratio must be above 0, got 0"),
    (MBConv(expand=0), IMAGE, r"^MBConv cannot take .* expand must be at least 1"),
    (MBConv(kernel=4), IMAGE, r"^body\.1: Conv cannot take \(16, 8, 8\)"),
    (Residual((Conv(), Conv(padding=0))), IMAGE, r"must keep the shape .* got \(4, 6, 6\)"),
    (Residual((GlobalPool(), Linear(4))), IMAGE, r"keep the number of axes"),
    (
        (Skip(), Residual((Conv(3), Conv(kernel=2)))),
        IMAGE,
        r"^1\.body\.1: Conv cannot take \(3, 8, 8\)",
    ),
    (Periodic(), SEQUENCE, r"input must be columns, got \(5, 4\)"),
    (Periodic(frequencies=0), ROW, r"frequencies must be at least 1"),
    (OneHot((2,)), ROW, r"input must be 1 column of codes, got \(3,\)"),
    (Embedding(4, (3, 4)), (1,), r"input must be 2 columns of codes, got \(1,\)"),
    (OneHot((1,)), (1,), r"its output would be empty"),
    (Columns(cardinalities=(2, 2, 2, 2)), ROW, r"at least 4 columns, got \(3,\)"),
    (Graph({"a": Node({"z": Skip()})}), ROW, r"a source of node a must be .*, got 'z'"),
    (Graph({"a": Node({"in": Conv(kernel=2)})}), IMAGE, r"^a<in: Conv cannot take"),
    (
        Graph({"a": Node({"in": Linear(4)}), "b": Node({"a": Skip(), "in": Skip()})}),
        ROW,
        r"the inputs of node b must be of one shape, got \[\(4,\), \(3,\)\]",
    ),
]


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("network", "shape", "sentence"), REFUSED)
def test_build_and_costs_refuse_with_the_same_sentence(
    network: Network, shape: Shape, sentence: str
) -> None:
    with pytest.raises(InfeasibleCandidate, match=sentence) as refused:
        build(network, shape)
    if sentence != "negative":  # PyTorch's own sentence, which the formula cannot repeat
        assert str(refusal(costs, network, shape)) == str(refused.value)


@pytest.mark.parametrize("run", [build, costs])
def test_open_choices_are_named_by_their_paths(run: Callable[..., Any]) -> None:
    network = (Conv(OneOf(8, 16)), Residual(Conv(kernel=OneOf(3, 5))), Linear(Integer(2, 5)))
    error = refusal(run, network, IMAGE)
    assert type(error) is SpaceError
    assert all(path in str(error) for path in ("0.channels", "1.body.kernel", "2.features"))


@pytest.mark.parametrize("run", [build, costs])
def test_missing_given_is_named(run: Callable[..., Any]) -> None:
    assert "outputs must be given" in str(refusal(run, (Linear(4), Linear()), ROW))
    assert "cardinalities must be given" in str(refusal(run, Columns(), ROW, outputs=3))
    assert run((Columns(), Linear()), ROW, outputs=3, cardinalities=())


@pytest.mark.parametrize("run", [build, costs])
def test_non_layer_is_refused_with_its_position(run: Callable[..., Any]) -> None:
    networks = {"top": [Conv()], "1": (Skip(), 3), "body.0": Residual((None,))}  # type: ignore[arg-type]
    for position, network in networks.items():
        error = refusal(run, network, IMAGE)
        assert type(error) is SpaceError
        assert str(error).endswith(f"at {position}.")


def test_given_values_reach_every_part() -> None:
    network = (Columns(categorical=Embedding(2)), Residual(Linear(activation="relu")), Linear())
    module = build(network, (4,), outputs=7, cardinalities=(3, 5))
    assert module(torch.zeros(2, 4)).shape == (2, 7)
    assert costs(network, (4,), outputs=7, cardinalities=(3, 5)).shape == (7,)
    assert costs(network, (4,), outputs=2, cardinalities=(3, 5)).shape == (2,)


def test_cache_tells_equal_numbers_of_other_types_apart() -> None:
    build((Periodic(sigma=1.0), Dropout(0.0)), (2,), cardinalities=(3,))
    module = build(Columns(categorical=Embedding(size=1)), (2,), cardinalities=(3,))  # 1 == 1.0
    assert module(torch.ones(4, 2)).shape == (4, 2)


def test_build_draws_weights_from_the_global_generator() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(
            build((Conv(8), Flatten(), Linear(3)), IMAGE).parameters()
        )

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_costs_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    costs((Conv(7), SelfAttention(7), GlobalPool(), Linear(3)), (3, 11, 13))
    assert torch.equal(torch.rand(3), expected)
