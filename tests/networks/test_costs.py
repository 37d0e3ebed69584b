"""Memory against hand counts and lower bounds; light layers against PyTorch's counter."""

from __future__ import annotations

import subprocess
import sys
from math import prod
from pathlib import Path

import pytest
import torch
from network_tools import batch, measured_costs, memory

from netwright.networks.build import build, infer_output_shape
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.axial import AxialConv, AxialMixing
from netwright.networks.layers.basic import (
    Activation,
    Dropout,
    Flatten,
    GlobalPool,
    Multiply,
    Norm,
    Pool,
    Skip,
    Zero,
)
from netwright.networks.layers.blocks import (
    MBConv,
    Residual,
    SelfAttention,
    SqueezeExcitation,
    StochasticDepth,
)
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.image_parts import LayerNorm2d, LayerScale, PositionEmbedding
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import (
    AxisAsChannels,
    Coordinates,
    OneHotPixels,
    RowAndColumnMeans,
)
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, PreActivation
from netwright.networks.layers.whitening import Whitening
from netwright.networks.tabular.columns import Columns, OneHot, Periodic
from netwright.networks.tabular.realmlp_layers import (
    ClampToTargetRange,
    ParametricActivation,
    Scaling,
)

PIXELS = 8 * 8
IMAGE = (4, 8, 8)


def test_memory_of_a_sequence_holds_neighbours_alone() -> None:
    wide, narrow = Conv(16), Conv(2, kernel=1)
    # the widest moment: the convolution's 16 channels and their normalised copy
    assert memory(wide, IMAGE) == (16 + 16) * PIXELS
    assert memory((wide, narrow), IMAGE) == (16 + 16) * PIXELS
    # narrowing: the input's 4 channels and the output's 2
    assert memory(narrow, IMAGE) == (4 + 2) * PIXELS
    assert memory((narrow, narrow, narrow), IMAGE) == (4 + 2) * PIXELS
    assert memory((Conv(16, stride=2), narrow), IMAGE) == 16 * 4 * 4 + 16 * 4 * 4


def test_memory_of_separable_convolution_holds_the_depthwise_output() -> None:
    assert memory(Conv(2, separable=True), IMAGE) == (4 + 4) * PIXELS
    assert memory(Conv(6, separable=True), IMAGE) == (6 + 6) * PIXELS


def test_memory_of_pooled_convolution_holds_its_output_before_pooling() -> None:
    assert memory(Conv(16, pool=2), IMAGE) == (16 + 4) * PIXELS
    # narrow: the input and the output before pooling
    assert memory(Conv(2, kernel=1, pool=2), IMAGE) == (4 + 2) * PIXELS
    # beside a kept input: the output before and after pooling
    block = Residual((Conv(16, pool=2), Conv(4)))
    assert memory(block, IMAGE) >= (4 + 16 + 4) * PIXELS
    assert costs(Conv(16, pool=2), IMAGE).flops == costs(Conv(16), IMAGE).flops


def test_fixed_scale_is_no_trained_parameter() -> None:
    n_weights = 16 * 4 * 9
    assert costs(Conv(16), IMAGE).parameters == n_weights + 2 * 16
    assert costs(Conv(16, normalisation="batch_bias"), IMAGE).parameters == n_weights + 16
    n_channels = 2 * 4 * 2 * 2  # the components of 2 x 2 patches and their negatives
    assert costs(Whitening(), IMAGE).parameters == n_channels  # the bias


def test_memory_of_residual_holds_its_input() -> None:
    block = Residual((Conv(16), Conv(4)))
    assert memory(block, IMAGE) == (4 + 16 + 16) * PIXELS
    # narrow body: the input, its 2 channels, its 4 output channels
    assert memory(Residual((Conv(2), Conv(4))), IMAGE) == (4 + 4 + 4) * PIXELS


def test_memory_of_residual_holds_its_shortcut() -> None:
    halved = 4 * 4
    # the input, the body's output, the shortcut's output, their sum
    out = 32 * halved
    assert memory(Residual(Conv(32, stride=2)), IMAGE) == 4 * PIXELS + 3 * out


def test_memory_of_axial_layers_holds_what_is_added() -> None:
    one, both = (AxialConv(16, axis=axis) for axis in ("width", "both"))
    assert memory(one, IMAGE) == (16 + 16) * PIXELS
    assert memory(both, IMAGE) == (4 + 16 + 16) * PIXELS
    assert memory(AxialMixing(), IMAGE) == 3 * 4 * PIXELS
    assert memory(Residual(AxialMixing()), IMAGE) == 4 * 4 * PIXELS


def test_memory_of_graph_holds_all_nodes() -> None:
    chain = {str(i): Node({str(i - 1) if i else "in": Skip()}) for i in range(3)}
    # the input; edge and node outputs of each node; the graph's output once more
    assert memory(Graph(chain), (10,)) == 10 + 3 * (10 + 10) + 10


def test_memory_of_columns_holds_parts_and_concatenation() -> None:
    layer = Columns(categorical=OneHot((4,)), cardinalities=(4,))
    row, numbers, one_hot = 3, 2, 3
    assert memory(layer, (3,)) == row + numbers + one_hot + (numbers + one_hot)


def leaves(network: Network, shape: Shape) -> list[tuple[Shape, Shape]]:
    """Input and output shapes of all leaves of a network."""
    if isinstance(network, tuple):
        shapes = []
        for layer in network:
            shapes += leaves(layer, shape)
            shape = costs(layer, shape).shape
        return shapes
    if isinstance(network, Leaf):
        return [(shape, costs(network, shape).shape)]
    shapes = []

    def add(name: str, part: Network, part_shape: Shape) -> Shape:
        shapes.extend(leaves(part, part_shape))
        return costs(part, part_shape).shape

    network.assemble(shape, add)
    return shapes


NETWORKS: tuple[tuple[Network, Shape], ...] = (
    ((Conv(16), Pool(stride=2), Conv(8), GlobalPool(), Linear(10)), IMAGE),
    ((Residual((Conv(16), Conv(4))), Flatten(), Linear(300), Linear(2)), IMAGE),
    ((MBConv(8, squeeze=0.5), MBConv(stride=2), SqueezeExcitation(), Norm()), IMAGE),
    (Residual((SelfAttention(), Activation("gelu"))), (50, 8)),
    (Residual(Residual((Pool(), MBConv(), Conv(64), Conv(4)))), IMAGE),
    ((PreActivation(16, stride=2), ConvNeXtBlock()), IMAGE),
    ((Whitening(), Conv(16, pool=2), Conv(8, pool=3, separable=True), Multiply(2.0)), IMAGE),
    ((Columns(Periodic(), OneHot((9, 9)), (9, 9)), Linear(4, "layer", "relu")), (7,)),
    (
        Graph(
            {
                "a": Node({"in": Conv(9)}),
                "b": Node({"a": Conv(3), "in": Conv(3)}, "concat", then=Pool(stride=2)),
            }
        ),
        IMAGE,
    ),
)


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_memory_holds_input_and_output_of_every_leaf(network: Network, shape: Shape) -> None:
    reads_and_writes = [
        prod(input_shape) + prod(output_shape)
        for input_shape, output_shape in leaves(network, shape)
    ]
    assert len(reads_and_writes) > 1
    assert memory(network, shape) >= max(reads_and_writes)


LIGHT: tuple[tuple[Leaf, Shape], ...] = (
    (SqueezeExcitation(), IMAGE), (SqueezeExcitation(2.0), (3, 5, 7)), (Pool(), IMAGE),
    (Pool("avg", 5, 2), IMAGE), (GlobalPool(), IMAGE), (GlobalPool("max"), (6, 5)),
    (Norm(), IMAGE), (Norm("layer"), (6, 5)), (Norm("group"), (16,)), (Norm("batch"), (6, 5)),
    (Norm("batch_bias"), IMAGE), (Norm("batch_bias"), (5,)), (Multiply(0.5), (6, 5)),
    (Activation("mish"), IMAGE), (Dropout(), (5,)), (Flatten(), IMAGE), (Skip(), (6, 5)),
    (Zero(), IMAGE), (StochasticDepth(), IMAGE), (Scaling(), (9,)), (LayerNorm2d(), IMAGE),
    (LayerScale(), IMAGE), (LayerScale(0.1), (6, 5)), (LayerScale(0.1), (5,)),
    (PositionEmbedding(), IMAGE), (PositionEmbedding(), (6, 5)),
    (ParametricActivation(), (6, 5)), (ClampToTargetRange(), (1,)),
    (AxisAsChannels("rows"), IMAGE), (AxisAsChannels("columns"), (3, 5, 7)),
    (OneHotPixels(5), (3, 5, 7)), (Coordinates(), IMAGE), (RowAndColumnMeans(), (3, 5, 7)),
)  # fmt: skip


def test_every_light_layer_is_tested() -> None:
    def subclasses(leaf: type[Leaf]) -> set[type[Leaf]]:
        return {leaf}.union(*map(subclasses, leaf.__subclasses__()))

    light = {
        leaf
        for leaf in subclasses(Leaf)
        if leaf.cheap_to_run and leaf.__module__.startswith("netwright.")
    }
    assert {type(leaf) for leaf, _ in LIGHT} == light


@pytest.mark.parametrize(("leaf", "shape"), LIGHT)
def test_costs_of_light_layers_match_pytorchs_counter(leaf: Leaf, shape: Shape) -> None:
    computed = costs(leaf, shape)
    measured = measured_costs(leaf.build(shape), batch(shape, 1))
    assert (computed.shape, computed.parameters, computed.flops) == measured


def test_light_layers_are_costed_without_slow_imports() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_costs import LIGHT, AxialConv, AxialMixing, Conv, Linear, costs
from netwright.networks.build import infer_output_shape
for leaf, shape in LIGHT:
    costs(leaf, shape)
    infer_output_shape(leaf, shape)
costs((Conv(8), Conv(4, separable=True)), (3, 8, 8)), costs(Linear(3), (5,))
costs((AxialConv(8), AxialConv(axis="both"), AxialMixing()), (3, 8, 8))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "torch._dynamo" not in process.stdout


def test_costs_and_shapes_leave_the_global_generator_alone() -> None:
    """Otherwise the first build of a network would have other weights than the second."""
    leaf = SqueezeExcitation(0.37)  # used in no other test, so not cached
    before = torch.random.get_rng_state()
    costs(leaf, (11, 6, 6))
    infer_output_shape(leaf, (11, 6, 6))
    assert torch.equal(torch.random.get_rng_state(), before)

    def weights() -> list[torch.Tensor]:
        torch.manual_seed(3)
        network = (Conv(13), SqueezeExcitation(0.41), GlobalPool(), Linear(2))
        return [p.detach() for p in build(network, (3, 6, 6)).parameters()]

    assert all(map(torch.equal, weights(), weights()))
