"""Every layer: costs match the built module, and the module runs as ONNX."""

from __future__ import annotations

import warnings
from io import BytesIO
from itertools import product
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import torch
from network_tools import batch, measured_costs
from torch import nn

from netwright.deploy.operators import OPERATORS
from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName
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
    ImageRows,
    MBConv,
    Recurrent,
    Residual,
    SelfAttention,
    SqueezeExcitation,
    StochasticDepth,
)
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import Downsample, PatchStem
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.image_heads import AttentionPool
from netwright.networks.layers.image_parts import LayerNorm2d, LayerScale, PositionEmbedding
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import (
    AxisAsChannels,
    Coordinates,
    OneHotPixels,
    RowAndColumnMeans,
)
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, ImageAttention, PreActivation
from netwright.networks.layers.whitening import Whitening
from netwright.networks.tabular.batch_ensemble import (
    LinearBatchEnsemble,
    LinearEnsemble,
    ScaleEnsemble,
)
from netwright.networks.tabular.columns import (
    Columns,
    Embedding,
    OneHot,
    OneHotOrEmbedding,
    Periodic,
)
from netwright.networks.tabular.numeric_embeddings import PeriodicLinear, PiecewiseLinear
from netwright.networks.tabular.realmlp_layers import (
    ClampToTargetRange,
    NTKLinear,
    ParametricActivation,
    Scaling,
)
from netwright.pipelines.onnx.torch_export import onnx_graph

IMAGE, SEQUENCE, ROW = (8, 9, 12), (7, 8), (6,)
CARDINALITIES = (4, 3)
GIVEN: dict[str, Any] = {"outputs": 3, "cardinalities": CARDINALITIES}
ACTIVATIONS = get_args(ActivationName)

CELL = Graph(
    {
        "a": Node({"in": Conv()}),
        "b": Node({"in": Skip(), "a": Conv(kernel=1)}, then=Activation("gelu")),
        "out": Node({"a": Pool("avg"), "b": Zero(), "in": Skip()}, combine="concat"),
    }
)

IMAGES: tuple[Network, ...] = (
    Conv(),
    Conv(16, kernel=5),
    Conv(6, kernel=1, activation="none"),
    Conv(16, stride=2),
    Conv(16, kernel=2, stride=2, padding=0),
    Conv(16, kernel=4, padding=1),
    Conv(dilation=2),
    Conv(12, dilation=3, stride=2),
    Conv(16, groups=4),
    Conv(groups=8),
    Conv(16, separable=True),
    Conv(4, kernel=5, stride=2, separable=True, normalisation="none"),
    Conv(separable=True, dilation=2, normalisation="group"),
    Conv(16, groups=3, separable=True),
    Conv(16, pool=2),
    Conv(12, kernel=5, stride=2, pool=3, activation="gelu", normalisation="batch_bias"),
    Conv(4, separable=True, pool=2, normalisation="none"),
    Conv(16, init="identity"),
    *(Conv(6, normalisation=kind) for kind in ("none", "batch", "batch_bias", "layer", "group")),
    *(Conv(activation=kind) for kind in ACTIVATIONS),
    *(Norm(kind) for kind in ("none", "batch", "batch_bias", "layer", "group")),
    *(Pool(kind, 3, stride) for kind, stride in product(("max", "avg"), (1, 2))),
    Pool("max", kernel=2, stride=2, padding=0),
    Pool("avg", kernel=2, stride=2, padding=0),
    GlobalPool(),
    GlobalPool("max"),
    (Flatten(), Linear(5)),
    Dropout(0.5),
    Zero(),
    Skip(),
    Multiply(0.25),
    Whitening(),
    Whitening(3, stride=2, max_components=5),
    (Whitening(1), Activation("silu"), Conv(4)),
    ImageRows(),
    (ImageRows(), Recurrent(6)),
    SqueezeExcitation(),
    SqueezeExcitation(0.01),
    SqueezeExcitation(2.0),
    MBConv(),
    MBConv(16, stride=2),
    MBConv(expand=1, kernel=5),
    MBConv(12, expand=6, squeeze=0.25, activation="silu", drop=0.1),
    Residual((Conv(), Conv(activation="none"))),
    Residual((Conv(12), Conv(16, stride=2))),
    Residual((Norm("layer"), SelfAttention(2), StochasticDepth(0.2))),
    SelfAttention(1),
    SelfAttention(4),
    LayerNorm2d(),
    LayerScale(0.5),
    PositionEmbedding(),
    AttentionPool(),
    AttentionPool(4),
    PreActivation(),
    PreActivation(16, kernel=5, stride=2, groups=4, normalisation="group", activation="silu"),
    PreActivation(12, normalisation="none", drop=0.2),
    ConvNeXtBlock(layer_scale=0.5),
    ConvNeXtBlock(3, expand=2, layer_scale=0, activation="relu", drop=0.1),
    ImageAttention(2),
    ImageAttention(8, max_tokens=108, drop=0.1),
    PatchStem(16),
    PatchStem(6, patch=5),
    Downsample(),
    *(Downsample(12, kind) for kind in ("conv", "max", "avg", "blur")),
    Downsample(5, "avg", kernel=1, normalisation="none", activation="none"),
    CELL,
    AxisAsChannels("rows"),
    AxisAsChannels("columns"),
    OneHotPixels(5),
    Coordinates(),
    RowAndColumnMeans(),
    *(AxialConv(5, 5, axis) for axis in ("width", "height", "both")),
    *(AxialConv(kernel=1, axis=axis, stride=2) for axis in ("width", "height", "both")),
    AxialConv(6, axis="both", normalisation="none", activation="none"),
    *(AxialMixing(kind) for kind in ("none", "batch", "layer", "group")),
    *(
        ChannelTower((Conv(5, stride=2), GlobalPool()), combine, hidden)
        for combine, hidden in product(("sum", "product", "concat"), (0, 6))
    ),
    ChannelTower((OneHotPixels(3), Conv(4), Flatten(), Linear(5, "batch", "relu"))),
)
SEQUENCES: tuple[Network, ...] = (
    Linear(5),
    *(Linear(5, normalisation=kind) for kind in ("batch", "layer")),
    *(Norm(kind) for kind in ("none", "batch", "layer")),
    GlobalPool(),
    GlobalPool("max"),
    Flatten(),
    Multiply(3.0),
    *(
        Recurrent(6, kind, bidirectional)
        for kind, bidirectional in product(("gru", "lstm"), (False, True))
    ),
    SelfAttention(1),
    SelfAttention(8),
    LayerScale(0.5),
    PositionEmbedding(),
    AttentionPool(2),
    Residual((Norm("layer"), Linear(16, activation="gelu"), Linear(8))),
    Residual(Linear(5)),
    Scaling(),
    NTKLinear(5),
    ParametricActivation(),
    LinearBatchEnsemble(5),
    LinearBatchEnsemble(5, "none", scale_inputs=False),
    LinearEnsemble(),
    LinearEnsemble(1),
    Graph({"out": Node({"in": Linear(4)}, combine="concat", then=Recurrent(3))}),
)
ROWS: tuple[Network, ...] = (
    Linear(),
    *(Linear(12, normalisation=kind) for kind in ("none", "batch", "batch_bias", "layer", "group")),
    *(Linear(5, activation=kind) for kind in ACTIVATIONS),
    *(Norm(kind) for kind in ("none", "batch", "batch_bias", "layer", "group")),
    (Linear(3), Multiply(1 / 9)),
    *(Activation(kind) for kind in ACTIVATIONS),
    Periodic(),
    Periodic(3, frequencies=5, sigma=1.0),
    PeriodicLinear(),
    PeriodicLinear(2, frequencies=5, sigma=1.0),
    PiecewiseLinear(),
    PiecewiseLinear(5, 3),
    Scaling(),
    NTKLinear(),
    *(ParametricActivation(kind) for kind in ("selu", "mish", "none")),
    (NTKLinear(1), ClampToTargetRange()),
    (
        ScaleEnsemble(4),
        LinearBatchEnsemble(5),
        Dropout(0.1),
        LinearEnsemble(1),
        ClampToTargetRange(),
    ),
    (
        Columns(PiecewiseLinear(4, 3), OneHotOrEmbedding(2, 3)),
        ScaleEnsemble(3, "signs"),
        LinearEnsemble(),
    ),
    Columns(),
    Columns(categorical=OneHotOrEmbedding()),
    Columns(categorical=OneHotOrEmbedding(max_cat_to_onehot=0)),
    Columns(numeric=Periodic(4), categorical=Embedding(3)),
    Columns(cardinalities=()),
    Columns(categorical=OneHot((3, 3, 4, 4, 2, 3)), cardinalities=(3, 3, 4, 4, 2, 3)),
    (Columns(numeric=Norm("batch")), Residual((Linear(9), Linear(9))), Linear()),
    Graph({"a": Node({"in": Linear(3)}), "b": Node({"in": Skip(), "a": Skip()}, "concat")}),
)
CASES = (
    [(layer, IMAGE) for layer in IMAGES]
    + [(layer, SEQUENCE) for layer in SEQUENCES]
    + [(layer, ROW) for layer in ROWS]
    + [
        (OneHot(), (2,)),
        (OneHot((2, 1)), (2,)),
        (OneHotOrEmbedding(max_cat_to_onehot=2), (2,)),
        (Embedding(), (2,)),
        (Embedding(5, (4, 2)), (2,)),
    ]
)
NAMES = [f"{i}-{type(layer).__name__}" for i, (layer, _) in enumerate(CASES)]
every_layer = pytest.mark.parametrize(("layer", "shape"), CASES, ids=NAMES)


def cardinalities_of(layer: Network) -> tuple[int, ...]:
    """Cardinalities of the categorical columns of a case."""
    first = layer[0] if isinstance(layer, tuple) else layer
    if not isinstance(first, Columns | OneHot | Embedding | OneHotOrEmbedding):
        return ()
    return first.cardinalities if isinstance(first.cardinalities, tuple) else CARDINALITIES


@every_layer
def test_costs_match_the_built_module(layer: Network, shape: Shape) -> None:
    module = build(layer, shape, **GIVEN)
    computed = costs(layer, shape, **GIVEN)
    x = batch(shape, 1, cardinalities_of(layer))
    assert (computed.shape, computed.parameters, computed.flops) == measured_costs(module, x)


def exported(module: nn.Module, x: torch.Tensor) -> onnxruntime.InferenceSession:
    file = BytesIO()
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates this exporter; traces warn
        torch.onnx.export(module.eval(), (x,), file, dynamo=False, opset_version=18, **names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options, ["CPUExecutionProvider"])


@every_layer
def test_module_runs_as_onnx_at_any_batch_size(layer: Network, shape: Shape) -> None:
    module = build(layer, shape, **GIVEN)
    module(
        batch(shape, 4, cardinalities_of(layer))
    )  # training mode: sets statistics of batch norms
    session = exported(module, batch(shape, 2, cardinalities_of(layer)))
    for rows in (1, 5):
        x = batch(shape, rows, cardinalities_of(layer))
        (output,) = session.run(["y"], {"x": x.numpy()})
        with torch.no_grad():
            expected = module(x).numpy()
        assert output.shape == expected.shape
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)


@every_layer
def test_onnx_operators_of_each_layer_are_supported(layer: Network, shape: Shape) -> None:
    graph = onnx_graph(build(layer, shape, **GIVEN), shape)
    assert {(node.domain, node.op_type) for node in graph.node} <= OPERATORS


def multiply_adds(layer: Network, shape: Shape) -> int:
    """Half the FLOPs."""
    return costs(layer, shape, **GIVEN).flops // 2


def test_flops_are_twice_the_multiply_adds() -> None:
    assert multiply_adds(Conv(16, kernel=5, stride=2), (8, 9, 12)) == (5 * 6) * 16 * 8 * 5 * 5
    assert multiply_adds(Conv(16, groups=4), (8, 9, 12)) == (9 * 12) * 16 * (8 // 4) * 3 * 3
    assert multiply_adds(Conv(16, separable=True), (8, 9, 12)) == (9 * 12) * (8 * 3 * 3 + 8 * 16)
    assert multiply_adds(Linear(5), (7, 8)) == 7 * 8 * 5
    queries_keys_values_out, scores_and_mixing = 7 * 8 * 8 * 4, 2 * 7 * 7 * 8
    assert multiply_adds(SelfAttention(2), (7, 8)) == queries_keys_values_out + scores_and_mixing
    directions, gates = 2, 4
    lstm = Recurrent(6, "lstm", bidirectional=True)
    assert multiply_adds(lstm, (7, 8)) == directions * 7 * gates * 6 * (8 + 6)
    assert multiply_adds((Norm(), Activation("gelu"), Pool()), (8, 9, 12)) == 0


def test_inferred_shape_of_convolution_matches_its_module() -> None:
    rng, n_feasible = np.random.default_rng(0), 0
    for _ in range(300):
        layer = Conv(
            int(rng.choice([0, 4, 6])), int(rng.integers(1, 6)), int(rng.integers(1, 4)),
            padding=int(rng.choice([-1, 0, 2])), dilation=int(rng.integers(1, 3)),
            groups=int(rng.choice([1, 2])), separable=bool(rng.integers(2)),
            pool=int(rng.choice([1, 1, 2, 3])),
            normalisation=str(rng.choice(["none", "batch", "batch_bias", "layer", "group"])),  # type: ignore[arg-type]
        )  # fmt: skip
        shape = (int(rng.integers(1, 5)), int(rng.integers(1, 9)), int(rng.integers(1, 9)))
        if (inferred := layer.infer_shape(shape)) is None:
            continue
        n_feasible += 1
        with torch.no_grad():
            assert inferred == tuple(layer.build(shape).eval()(torch.zeros(2, *shape)).shape[1:])
    assert n_feasible > 100


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_multiplication_by_no_positive_number_is_refused(factor: float) -> None:
    with pytest.raises(InfeasibleCandidate, match="factor must be above 0, got"):
        build(Multiply(factor), ROW)


def test_multiplication_scales_every_element() -> None:
    x = torch.randn(2, *IMAGE)
    assert torch.equal(build(Multiply(0.5), IMAGE)(x), x / 2)
