"""A child computes its parent's function, or records why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from network_tools import batch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, SpaceError
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Leaf, Network
from netwright.networks.interfaces.morphism_rules import inherit_channels
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName
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
)
from netwright.networks.layers.cells import darts_cell, nas_bench_101_cell, nas_bench_201_cell
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import Downsample, PatchStem
from netwright.networks.layers.graph import Chain, Graph, Node
from netwright.networks.layers.image_heads import AttentionPool
from netwright.networks.layers.image_parts import LayerNorm2d, LayerScale, PositionEmbedding
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, ImageAttention, PreActivation
from netwright.networks.layers.whitening import Whitening
from netwright.networks.morphism.morph import Inheritance, morph
from netwright.networks.tabular.columns import Columns, Embedding, OneHot, Periodic
from netwright.space.choices import Integer, OneOf, Repeat, Shared
from netwright.space.space import Space

IMAGES = (3, 8, 8)
HEAD: tuple[Network, ...] = (GlobalPool(), Linear())
EXACT = 1e-5
WITHOUT_RULE = "has no inheritance rule, new weights from here on"


def trained(network: Network, shape: Shape, **given: Any) -> nn.Module:
    """Build a network with normalisations, and weights that start equal, as after training."""
    module = build(network, shape, **given)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.min() == parameter.max():
                parameter.uniform_(0.5, 1.5)
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 2)
            if isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.3)
    return module.eval()


@dataclass
class Pair:
    parent: nn.Module
    child: nn.Module
    inheritance: Inheritance
    difference: float
    """The largest of any output; outputs are about 1."""


def inherited(
    old: Network, new: Network, shape: Shape = IMAGES, seed: int = 3, noise: float = 0.0,
    rows: Tensor | None = None, **given: Any,
) -> Pair:  # fmt: skip
    given = {"outputs": 5} | given
    parent = trained(old, shape, **given)
    child, inheritance = morph(
        parent, old, new, shape, seed=seed, noise=noise, calibration_rows=rows, **given
    )
    x = batch(shape, 6, given.get("cardinalities", ()))
    with torch.no_grad():
        difference = float((parent(x) - child.eval()(x)).abs().max())
    assert np.isfinite(difference)
    return Pair(parent, child, inheritance, difference)


def cell(*, a: Network = Conv(), b: Network = Conv(kernel=1), combine: Any = "add") -> Graph:  # noqa: B008  # frozen
    """Two nodes that are combined with the input."""
    return Graph(
        {
            "a": Node({"in": a}),
            "b": Node({"in": Skip(), "a": b}),
            "out": Node({"in": Skip(), "a": Skip(), "b": Skip()}, combine, Conv(8, kernel=1)),
        }
    )


def chain(width: int) -> Chain:
    space = Space(
        Chain(
            (
                darts_cell(width, reduction=False, nodes=2),
                darts_cell(width, reduction=True, nodes=2),
            )
        )
    )
    return space.fill(space.sample(np.random.default_rng(4)))


def widened(width: int) -> list[tuple[str, Network, Shape]]:
    """Networks with one layer of this width, followed by every kind of layer that reads it."""

    def stem(**options: Any) -> Conv:
        return Conv(width, **options)

    attention = Residual((Norm("layer"), SelfAttention(2)))
    two_inputs = Columns(Periodic(width, width // 2), Embedding(width))
    return [
        ("conv", (stem(), Conv(6), *HEAD), IMAGES),
        ("no normalisation", (stem(normalisation="none"), Conv(6), *HEAD), IMAGES),
        ("silu", (stem(activation="silu"), Conv(6), *HEAD), IMAGES),
        ("stride", (stem(stride=2), Conv(6, 5, stride=2), *HEAD), IMAGES),
        ("depthwise", (stem(), Conv(groups=width), *HEAD), IMAGES),
        ("pooled", (stem(pool=2), Conv(6, 5, pool=2), *HEAD), IMAGES),
        (
            "fixed scale",
            (stem(normalisation="batch_bias"), Norm("batch_bias"), Conv(6), *HEAD),
            IMAGES,
        ),
        ("identity init", (stem(init="identity"), Conv(6, init="identity"), *HEAD), IMAGES),
        ("multiply", (stem(), Multiply(0.5), Conv(6), *HEAD), IMAGES),
        ("after whitening", (Whitening(), Activation("silu"), stem(), *HEAD), IMAGES),
        ("separable", (stem(separable=True), Conv(6, separable=True), *HEAD), IMAGES),
        ("norm", (stem(), Norm(), Activation("gelu"), Conv(6), *HEAD), IMAGES),
        ("pools", (stem(), Pool("max"), Pool("avg", 2, 2, 0), Dropout(), *HEAD), IMAGES),
        ("residual", (stem(), Residual((Conv(10), Conv())), Residual(Conv()), *HEAD), IMAGES),
        ("shortcut", (stem(), Residual((Conv(6, stride=2), Conv())), *HEAD), IMAGES),
        ("inner", (Conv(6), Residual((stem(), Conv(6))), *HEAD), IMAGES),
        ("squeeze", (stem(), SqueezeExcitation(0.5), Conv(6), *HEAD), IMAGES),
        ("mbconv", (stem(), MBConv(expand=2, squeeze=0.25), *HEAD), IMAGES),
        ("mbconv between", (Conv(6), MBConv(width, squeeze=0.5), Conv(6), *HEAD), IMAGES),
        ("flat", (stem(), Flatten(), Linear()), IMAGES),
        ("rows", (stem(), ImageRows(), Recurrent(6), GlobalPool(), Linear()), IMAGES),
        ("add", (stem(), cell(), Residual(Conv()), *HEAD), IMAGES),
        ("concat", (stem(), cell(combine="concat"), *HEAD), IMAGES),
        ("after a concat", (cell(a=stem(), b=Conv(3, 1), combine="concat"), *HEAD), IMAGES),
        ("chain", (stem(), chain(6), *HEAD), IMAGES),
        ("in a chain", (Conv(6), chain(width), *HEAD), IMAGES),
        ("attention", (stem(), attention, *HEAD), IMAGES),
        ("pre-activation", (stem(), PreActivation(), PreActivation(6, stride=2), *HEAD), IMAGES),
        ("wider pre-activation", (Conv(6), PreActivation(width), Conv(6), *HEAD), IMAGES),
        ("downsample", (stem(), Downsample(width), Downsample(6, "blur"), *HEAD), IMAGES),
        ("attention pool", (stem(), AttentionPool(), Linear()), IMAGES),
        ("layer scale", (stem(), LayerScale(0.5), PositionEmbedding(), Conv(6), *HEAD), IMAGES),
        ("linear", (Linear(width, "batch", "relu"), Linear(6), Linear()), (7,)),
        ("sequence", (Linear(width, "batch", "silu"), GlobalPool(), Linear()), (5, 7)),
        ("flat sequence", (Linear(width), Flatten(), Linear()), (5, 7)),
        ("gru", (Recurrent(width), Recurrent(4), GlobalPool(), Linear()), (5, 7)),
        ("lstm", (Recurrent(width, "lstm", bidirectional=True), GlobalPool(), Linear()), (5, 7)),
        ("columns", (two_inputs, Linear()), (6,)),
    ]


WIDER = [(name, old, new, shape) for (name, old, shape), (_, new, _)
         in zip(widened(8), widened(12), strict=True) if name != "attention"]  # fmt: skip
TWICE = [(name, old, new, shape) for (name, old, shape), (_, new, _)
         in zip(widened(8), widened(16), strict=True)]  # fmt: skip
TWICE += [
    ("channel-wise layer norm", (PatchStem(8, 2), LayerNorm2d(), *HEAD),
     (PatchStem(16, 2), LayerNorm2d(), *HEAD), IMAGES),
    ("convnext", (Conv(8), ConvNeXtBlock(layer_scale=0.5), *HEAD),
     (Conv(16), ConvNeXtBlock(layer_scale=0.5), *HEAD), IMAGES),
    ("image attention", (Conv(8), ImageAttention(2), *HEAD),
     (Conv(16), ImageAttention(2), *HEAD), IMAGES),
    ("heads of a pool", (Conv(8), AttentionPool(2), Linear()),
     (Conv(16), AttentionPool(4), Linear()), IMAGES),
    ("layer norm", (Conv(8, normalisation="layer"), Norm("layer"), *HEAD),
     (Conv(16, normalisation="layer"), Norm("layer"), *HEAD), IMAGES),
    ("group norm", (Conv(16, normalisation="group"), *HEAD),
     (Conv(32, normalisation="group"), *HEAD), IMAGES),
    ("layer norm of columns", (Linear(8, "layer", "gelu"), Linear()),
     (Linear(16, "layer", "gelu"), Linear()), (7,)),
    ("groups", (Conv(8), Conv(8, groups=2), *HEAD), (Conv(16), Conv(16, groups=2), *HEAD), IMAGES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "shape"),
    [pytest.param(*case, id=f"{name} {times}") for times, cases in (("wider", WIDER), ("twice", TWICE))
     for name, *case in cases],
)  # fmt: skip
def test_wider_child_computes_the_parents_function(
    old: Network, new: Network, shape: Shape
) -> None:
    pair = inherited(old, new, shape, cardinalities=(4, 3) if shape == (6,) else ())
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT
    assert pair.inheritance.inherited_share == 1
    counts = [sum(p.numel() for p in module.parameters()) for module in (pair.parent, pair.child)]
    assert counts[0] < counts[1]


@pytest.mark.parametrize("seed", range(5))
def test_replicas_depend_on_the_seed(seed: int) -> None:
    old, new = (Conv(6), Residual(Conv()), *HEAD), (Conv(10), Residual(Conv()), *HEAD)
    pair, again, other = (inherited(old, new, seed=s) for s in (seed, seed, seed + 1))
    assert pair.difference < EXACT
    origins = []
    for run in (pair, again, other):
        parent_mean, child_mean = (
            dict(module.named_buffers())["0.norm.running_mean"].tolist()
            for module in (run.parent, run.child)
        )
        origins.append([parent_mean.index(mean) for mean in child_mean])
    assert origins[0] == origins[1] != origins[2]


def test_function_is_preserved_in_training_mode() -> None:
    """Batches have the same statistics as in the parent."""
    pair = inherited((Conv(6), Conv(6), *HEAD), (Conv(10), Conv(9), *HEAD))
    x = torch.randn(16, *IMAGES)
    with torch.no_grad():
        difference = (pair.parent.train()(x) - pair.child.train()(x)).abs().max()
    assert difference < EXACT


STEM: tuple[Network, ...] = (Conv(8),)
DEEPER = {
    "residual": Residual((Conv(), Conv(activation="none"))),
    "residual with relu last": Residual(Conv()),
    "residual with relu apart": Residual((Conv(activation="none"), Activation("relu"))),
    "residual without normalisation": Residual(Conv(normalisation="none", activation="silu")),
    "residual separable": Residual(Conv(separable=True, normalisation="none")),
    "residual of layer norm": Residual(Conv(normalisation="layer", activation="gelu")),
    "residual with squeeze": Residual((Conv(), SqueezeExcitation(), Dropout())),
    "residual of a shortcut": Residual((Conv(16), Residual(Conv(8)))),
    "residual that ends in a norm": Residual((Pool("avg"), Norm())),
    "residual that ends in a cell": Residual(
        Graph({"a": Node({"in": Conv()}), "b": Node({"in": Conv(), "a": Conv(kernel=1)})})
    ),
    "residual with a shortcut": Residual((Conv(16), Conv(12, activation="none"))),
    "attention": Residual((Norm("layer"), SelfAttention(2))),
    "pre-activation": PreActivation(normalisation="layer", activation="silu", drop=0.1),
    "pre-activation with a fixed scale": PreActivation(normalisation="batch_bias"),
    "convnext": ConvNeXtBlock(layer_scale=0.5, drop=0.1),
    "convnext without layer scale": ConvNeXtBlock(layer_scale=0),
    "image attention": ImageAttention(2, drop=0.1),
    "layer scale": LayerScale(0.5),
    "position embedding": PositionEmbedding(),
    "residual that ends in a channel-wise norm": Residual(LayerNorm2d()),
    "mbconv": MBConv(squeeze=0.25, drop=0.1),
    "conv": Conv(),
    "conv wider": Conv(12, kernel=5),
    "conv without activation": Conv(kernel=1, activation="none"),
    "conv without normalisation": Conv(normalisation="none"),
    "leaky conv": Conv(activation="leaky_relu"),
    "separable": Conv(separable=True),
    "grouped": Conv(groups=4),
    "depthwise": Conv(groups=8, dilation=2),
    "relu, conv": (Activation(), Conv(activation="none"), Dropout()),
    "two": (Conv(), Residual(Conv())),
    "identity init": Conv(init="identity"),
    "nothing": (Skip(), Dropout(), Multiply(1.0)),
}  # fmt: skip


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in DEEPER.items()])
def test_deeper_child_computes_the_parents_function(block: Network) -> None:
    pair = inherited((*STEM, Conv(8), *HEAD), (*STEM, block, Conv(8), *HEAD))
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT
    n_child = sum(p.numel() for p in pair.child.parameters())
    n_parent = sum(p.numel() for p in pair.parent.parameters())
    assert (
        n_parent <= pair.inheritance.inherited_share * n_child * (1 + 1e-9) + 1e-6
    )  # replicas count, inserted layers do not


def test_errors_of_30_inserted_identities_do_not_add_up() -> None:
    pair = inherited((*STEM, *HEAD), (*STEM, *[Conv()] * 30, *HEAD))
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT


@pytest.mark.parametrize(
    "layer",
    [
        Linear(8), Linear(12, "batch", "relu"), Linear(8, activation="leaky_relu"),
        Residual((Linear(16, activation="gelu"), Linear(8))),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(7,), (5, 7)], ids=["columns", "sequences"])
def test_dense_layer_is_inserted_as_identity(layer: Network, shape: Shape) -> None:
    first = Linear(8, "batch", "relu")
    pair = inherited((first, *HEAD), (first, layer, *HEAD), shape)
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT


def test_longer_repeat_inserts_identities() -> None:
    space = Space((Conv(8), Repeat(Residual(Conv()), Integer(0, 3)), *HEAD))
    empty, full = (space.fill(space.fix({"1.times": n}).default()) for n in (0, 3))
    pair = inherited(empty, full)
    assert pair.inheritance.preserves_function
    assert pair.difference < EXACT
    back = inherited(full, empty)
    assert back.inheritance.changes == tuple(f"1.{i}: Residual is removed" for i in range(3))


@pytest.mark.parametrize(
    "block", [DEEPER[name] for name in ("residual with relu last", "residual with relu apart")]
)
def test_zero_initialised_block_can_be_trained(block: Network) -> None:
    """At exactly 0 ReLU passes no gradient, and the block would stay dead."""
    pair = inherited((*STEM, *HEAD), (*STEM, block, *HEAD))
    pair.child.train()(torch.randn(8, *IMAGES)).square().sum().backward()
    norms = [
        module
        for name, module in pair.child.named_modules()
        if name.endswith(("0.norm", "body.norm"))
    ]
    scale = norms[-1].weight
    assert isinstance(scale, Tensor)
    assert not scale.detach().any()  # it is zero-initialised
    assert scale.grad is not None
    assert scale.grad.abs().min() > 0


def test_block_with_a_fixed_scale_is_never_zeroed() -> None:
    """A scale of 0 that is not trained would leave the block dead."""
    block = Residual((Conv(), Conv(normalisation="batch_bias", activation="none")))
    pair = inherited((*STEM, *HEAD), (*STEM, block, *HEAD))
    assert not pair.inheritance.preserves_function
    norm = pair.child.get_submodule("1.parts.body.1.norm")
    assert torch.equal(norm.get_parameter("weight"), torch.ones(8))
    assert not norm.get_parameter("weight").requires_grad


def test_learned_and_fixed_scale_replace_each_other() -> None:
    learned, fixed = ((Conv(8, normalisation=n), *HEAD) for n in ("batch", "batch_bias"))
    for old, new in ((learned, fixed), (fixed, learned)):
        pair = inherited(old, new)
        assert pair.inheritance.preserves_function
        assert pair.difference < EXACT


def test_initialisation_does_not_matter_to_a_child() -> None:
    pair = inherited((Conv(8), Conv(8), *HEAD), (Conv(8), Conv(8, init="identity"), *HEAD))
    assert pair.inheritance.preserves_function
    assert pair.inheritance.inherited_share == 1
    assert pair.difference < EXACT


def test_larger_kernels_are_padded_with_zeros() -> None:
    old = (Conv(8, 1), Conv(8, separable=True), Residual(Conv()), *HEAD)
    new = (Conv(8, 3), Conv(8, 5, separable=True), Residual(Conv(kernel=7)), *HEAD)
    pair = inherited(old, new)
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT


def test_separable_convolution_becomes_a_plain_one() -> None:
    pair = inherited((Conv(8, separable=True), *HEAD), (Conv(12, 5), *HEAD))
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT


def test_fewer_groups_preserve_the_function() -> None:
    pair = inherited((Conv(8), Conv(8, groups=8), *HEAD), (Conv(8), Conv(8, groups=2), *HEAD))
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT


def test_inserted_edge_starts_at_zero() -> None:
    pair = inherited((*STEM, cell(b=Zero()), *HEAD), (*STEM, cell(), *HEAD))
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT
    skip = inherited((*STEM, cell(b=Zero()), *HEAD), (*STEM, cell(b=Skip()), *HEAD))
    assert skip.inheritance.changes == ("1.b<a: an inserted edge cannot start at 0",)


def test_inserted_concat_edge_is_not_read_at_first() -> None:
    def graph(*sources: str) -> Graph:
        nodes = {"a": Node({"in": Conv()}), "b": Node({"in": Conv(4)})}
        return Graph({**nodes, "out": Node(dict.fromkeys(sources, Skip()), "concat", Conv(8))})

    pair = inherited((graph("a"), *HEAD), (graph("b", "a", "in"), *HEAD))
    assert pair.inheritance.changes == ()
    assert pair.difference < EXACT
    back = inherited((graph("a", "b"), *HEAD), (graph("a"), *HEAD))
    assert back.inheritance.changes == ("0.out: only 3 of the parent's 7 channels remain",)


def conv(**options: Any) -> tuple[Network, ...]:
    return (Conv(8), Conv(8, **options), *HEAD)


CHANGES: list[tuple[Network, Network, str]] = [
    (conv(), (Conv(6), Conv(8), *HEAD), "0: only 6 of the parent's 8 channels remain"),
    (conv(kernel=5), conv(kernel=3), "1: kernel 3 instead of 5"),
    (conv(), conv(stride=2), "1: stride 2 instead of 1"),
    (conv(), conv(dilation=2), "1: dilation 2 instead of 1"),
    (conv(), conv(padding=0), "1: another padding"),
    (conv(), conv(activation="silu"), "1: activation silu instead of relu"),
    (conv(), conv(normalisation="none"), "1: no normalisation instead of BatchNorm2d"),
    (conv(), conv(separable=True), "1: Conv(channels=8, kernel=3, stride=1, padding=-1, dilation=1"),
    (conv(), conv(pool=2), "1: pooling of 2 instead of 1"),
    (conv(pool=2), conv(pool=3), "1: pooling of 3 instead of 2"),
    (conv(), (Conv(8), Conv(8, padding=5, pool=2), Conv(8), *HEAD),
     "1: an inserted Conv cannot start as the identity"),
    (conv(), (Conv(8), Conv(8, normalisation="batch_bias"), Conv(8), *HEAD),
     "1: an inserted Conv cannot start as the identity"),
    (conv(), (Conv(8), Residual(Conv(normalisation="batch_bias")), Conv(8), *HEAD),
     "1: an inserted Residual cannot start as the identity"),
    (conv(), (Conv(8), Residual((Pool("avg"), Norm("batch_bias"))), Conv(8), *HEAD),
     "1: an inserted Residual cannot start as the identity"),
    (conv(), (Conv(8), Multiply(0.5), Conv(8), *HEAD),
     "1: an inserted Multiply cannot start as the identity"),
    ((Whitening(2), Conv(8), *HEAD), (Whitening(3), Conv(8), *HEAD),
     "0: Whitening(kernel=3, stride=1, max_components=32) instead of Whitening(kernel=2"),
    ((Whitening(2), Conv(8), *HEAD), (Whitening(2, stride=2), Conv(8), *HEAD),
     "0: stride 2 instead of 1"),
    ((Whitening(max_components=6), Conv(8), *HEAD), (Whitening(max_components=4), Conv(8), *HEAD),
     "0: only 8 of the parent's 12 channels remain"),
    (conv(), conv(groups=2), "1: a group reads only some of the channels it read before"),
    (conv(), (Conv(8), Conv(8, activation="silu"), Conv(8), *HEAD),
     "1: an inserted Conv cannot start as the identity"),
    (conv(activation="silu"), (Conv(8), Conv(8, activation="silu"), Conv(8), *HEAD),
     "2: an inserted Conv cannot start as the identity"),
    (conv(), (Conv(8), Conv(8, normalisation="layer"), Conv(8), *HEAD),
     "1: an inserted Conv cannot start as the identity"),
    (conv(), (Conv(8), Conv(8), Conv(8, stride=2), *HEAD),
     "2: an inserted Conv cannot start as the identity"),
    (conv(activation="none"), (*conv(activation="none")[:2], Activation(), *HEAD),
     "2: an inserted Activation cannot start as the identity"),
    (conv(), (Conv(8), Residual(Conv(stride=2)), Conv(8), *HEAD),
     "1: an inserted Residual cannot start as the identity"),
    (conv(), (Conv(8), Residual(Pool()), Conv(8), *HEAD),
     "1: an inserted Residual cannot start as the identity"),
    (conv(), (Conv(8), MBConv(12), Conv(8), *HEAD),
     "1: an inserted MBConv cannot start as the identity"),
    (conv(), (Conv(8), MBConv(), *HEAD), "1: MBConv instead of Conv starts with new weights"),
    ((Conv(8), Pool("avg"), *HEAD), (Conv(8), Pool("max"), *HEAD), "1: Pool(kind='max'"),
    ((Conv(8), Pool("avg"), *HEAD), (Conv(8), *HEAD), "1: Pool is removed"),
    ((Conv(8, normalisation="layer"), *HEAD), (Conv(12, normalisation="layer"), *HEAD),
     "0: it normalises over other groups of channels"),
    ((Conv(8), MBConv(), *HEAD), (Conv(8), MBConv(squeeze=0.5), *HEAD),
     "1.body.2: an inserted SqueezeExcitation cannot start as the identity"),
    ((Conv(8), MBConv(), *HEAD), (Conv(8), MBConv(16), *HEAD), "1: it has no skip any more"),
    ((Conv(8), MBConv(expand=4), *HEAD), (Conv(8), MBConv(expand=2), *HEAD),
     "1.body.0: only 16 of the parent's 32 channels remain"),
    ((Conv(8), Residual(SelfAttention(4)), *HEAD), (Conv(8), Residual(SelfAttention(2)), *HEAD),
     "1.body: SelfAttention(heads=2) instead of SelfAttention(heads=4) starts with new weights"),
    ((Conv(8), cell(), *HEAD), (Conv(8), cell(b=Zero()), *HEAD), "1.b: the edge from a is removed"),
    ((Conv(8), PreActivation(), *HEAD), (Conv(8), PreActivation(16), *HEAD),
     "1: its shortcut reads the activated input now"),
    ((Conv(8), PreActivation(16), *HEAD), (Conv(16), PreActivation(16), *HEAD),
     "1: its shortcut reads the input itself now"),
    (conv(), (Conv(8), PreActivation(16), Conv(8), *HEAD),
     "1: an inserted PreActivation cannot start as the identity"),
    (conv(), (Conv(8), Residual((Conv(), LayerScale(0.5), Activation())), Conv(8), *HEAD),
     "1: an inserted Residual cannot start as the identity"),
    ((Conv(8), Downsample(kind="max"), *HEAD), (Conv(8), Downsample(kind="avg"), *HEAD),
     "1.body.0: Pool(kind='avg'"),
    ((Conv(8), ConvNeXtBlock(layer_scale=0.5), *HEAD),
     (Conv(8), ConvNeXtBlock(layer_scale=0.5, expand=2), *HEAD),
     "1.body.2: only 16 of the parent's 32 channels remain"),
    ((Conv(8), AttentionPool(2), Linear()), (Conv(8), AttentionPool(1), Linear()),
     "1: head 0 has channels of several heads of the parent"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "reason"), CHANGES, ids=[reason for *_, reason in CHANGES])
def test_change_of_the_function_is_recorded(old: Network, new: Network, reason: str) -> None:
    pair = inherited(old, new)
    assert pair.inheritance.changes[0].startswith(reason)
    assert len(pair.inheritance.changes) == 1
    assert pair.difference > EXACT
    assert not pair.inheritance.preserves_function


def test_convolution_after_another_kind_of_downsampling_is_inherited() -> None:
    old, new = ((Conv(8), Downsample(kind=kind), *HEAD) for kind in ("conv", "blur"))
    pair = inherited(old, new)
    assert pair.inheritance.changes == (
        "1.body.0: an inserted Pool cannot start as the identity",
        "1.body.1: an inserted Pool cannot start as the identity",
        "1.body.2: stride 1 instead of 2",
    )
    assert pair.inheritance.inherited_share == 1
    back = inherited(new, old)
    assert back.inheritance.changes[-1] == "1.body.0: stride 2 instead of 1"
    assert back.inheritance.inherited_share == 1


def test_narrower_layer_keeps_channels_of_largest_norm() -> None:
    old, new = ((Conv(n, normalisation=kind), *HEAD) for n, kind in ((4, "none"), (2, "none")))
    parent = trained(old, IMAGES, outputs=5)
    weights = parent.get_parameter("0.conv.weight")
    with torch.no_grad():
        weights[[0, 2]] *= 0.01
    child, inheritance = morph(parent, old, new, IMAGES, seed=0, outputs=5)
    assert torch.equal(child.get_parameter("0.conv.weight"), weights[[1, 3]])
    head = parent.get_parameter("2.linear.weight")
    assert torch.equal(child.get_parameter("2.linear.weight"), head[:, [1, 3]])
    assert inheritance.inherited_share == 1


def test_normalisation_scales_the_importance_of_channels() -> None:
    old, new = (Conv(4), *HEAD), (Conv(2), *HEAD)
    parent = trained(old, IMAGES, outputs=5)
    with torch.no_grad():
        parent.get_parameter("0.norm.weight")[[1, 3]] *= 0.01
    child, _ = morph(parent, old, new, IMAGES, seed=0, outputs=5)
    weights = parent.get_parameter("0.conv.weight")
    assert torch.equal(child.get_parameter("0.conv.weight"), weights[[0, 2]])


def test_branches_of_a_sum_keep_the_same_channels() -> None:
    old = (Conv(8), Residual((Conv(12), Conv(8))), *HEAD)
    new = (Conv(5), Residual((Conv(12), Conv(5))), *HEAD)
    pair = inherited(old, new)
    reason = "only 5 of the parent's 8 channels remain"
    assert pair.inheritance.changes == (f"0: {reason}", f"1.body.1: {reason}")
    is_kept = [
        torch.isin(pair.parent.get_parameter(scale), pair.child.get_parameter(scale)).tolist()
        for scale in ("0.norm.weight", "1.parts.body.1.norm.weight")
    ]
    assert is_kept[0] == is_kept[1]


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_noise_breaks_the_symmetry_of_replicas(noise: float) -> None:
    pair = inherited((Conv(4), Conv(6), *HEAD), (Conv(8), Conv(6), *HEAD), noise=noise)
    weight = pair.child.get_parameter("0.conv.weight")
    assert len(weight.flatten(1).unique(dim=0)) == (8 if noise else 4)
    assert (pair.difference < EXACT) == (not noise)
    assert pair.difference < 0.05
    assert pair.inheritance.preserves_function


def test_calibration_rows_set_statistics_of_inserted_norms() -> None:
    """They are then nearly the identity in training mode too."""
    old, new = (Conv(8), Conv(8), *HEAD), (Conv(8), Conv(8), Conv(8), *HEAD)
    rows = torch.randn(64, *IMAGES)
    differences = []
    for calibration_rows in (None, rows):
        torch.manual_seed(0)
        pair = inherited(old, new, rows=calibration_rows)
        assert pair.difference < EXACT
        norms = [module for module in pair.child.modules() if isinstance(module, nn.BatchNorm2d)]
        pair.child.eval()
        norms[2].train()
        with torch.no_grad():
            differences.append(float((pair.parent(rows) - pair.child(rows)).abs().max()))
    assert differences[1] < 1e-3 < 0.05 < differences[0]


class _FlippedChannels(nn.Module):
    """Scales channels and reverses their order."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.scale * x).flip(1)


@dataclass(frozen=True)
class FlippedChannels(Leaf):
    factor: int = 1

    def build(self, shape: Shape) -> nn.Module:
        return _FlippedChannels(shape[0])


def test_custom_layer_is_copied_if_its_input_is_unchanged() -> None:
    old = (Conv(8), FlippedChannels(), Conv(8), *HEAD)
    pair = inherited(old, (Conv(8), FlippedChannels(), Conv(12), *HEAD))
    assert pair.inheritance.preserves_function
    assert pair.difference < EXACT
    assert pair.inheritance.inherited_share == 1


def test_weights_after_a_layer_without_rule_are_new() -> None:
    old, new = ((Conv(n), FlippedChannels(), Conv(8), *HEAD) for n in (8, 12))
    pair = inherited(old, new)
    assert pair.inheritance.changes == (f"1: FlippedChannels {WITHOUT_RULE}",)
    first = sum(p.numel() for p in pair.child[0].parameters())  # type: ignore[index]  # a Sequential
    assert pair.inheritance.inherited_share == first / sum(
        p.numel() for p in pair.child.parameters()
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        initial = build(new, IMAGES, outputs=5)
    for name in ("1.scale", "2.conv.weight", "4.linear.weight"):
        assert torch.equal(pair.child.get_parameter(name), initial.get_parameter(name))


def test_every_public_leaf_except_one_hot_has_a_rule() -> None:
    import netwright as nw

    public = [getattr(nw, name) for name in nw.__all__]
    leaves = {cls for cls in public if isinstance(cls, type) and issubclass(cls, Leaf)} - {Leaf}
    assert {leaf for leaf in leaves if "inherit" not in vars(leaf)} == {OneHot}


@dataclass(frozen=True)
class Doubled(Leaf):
    """Twice the input, channel by channel, with the rule for it."""

    inherit = inherit_channels

    def build(self, shape: Shape) -> nn.Module:
        return _Doubled()


class _Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Tripled(Doubled):
    """A subclass may compute something else: it has no rule until it defines one."""


def test_custom_layer_may_define_its_rule() -> None:
    pair = inherited((Conv(4), Doubled(), Conv(8), *HEAD), (Conv(8), Doubled(), Conv(8), *HEAD))
    assert pair.inheritance.preserves_function
    pair = inherited((Conv(4), Tripled(), Conv(8), *HEAD), (Conv(8), Tripled(), Conv(8), *HEAD))
    assert pair.inheritance.changes == (f"1: Tripled {WITHOUT_RULE}",)


def test_other_settings_of_a_custom_layer_start_with_new_weights() -> None:
    pair = inherited(
        (Conv(8), FlippedChannels(), Conv(8), *HEAD), (Conv(8), FlippedChannels(2), Conv(8), *HEAD)
    )
    assert pair.inheritance.changes == (
        "1: FlippedChannels(factor=2) instead of FlippedChannels(factor=1) starts with new weights",
    )
    assert pair.inheritance.inherited_share > 0.9  # the layers after it are inherited


def test_morph_leaves_parent_and_global_generator_alone() -> None:
    old, new = (Conv(4), Residual(Conv()), *HEAD), (Conv(8), Residual(Conv()), Conv(8), *HEAD)
    parent = trained(old, IMAGES, outputs=5)
    before = {name: tensor.clone() for name, tensor in parent.state_dict().items()}
    rows, state = torch.randn(4, *IMAGES), torch.get_rng_state()
    morph(parent, old, new, IMAGES, seed=0, calibration_rows=rows, outputs=5)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in parent.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_infeasible_child_is_refused() -> None:
    old: Network = (Conv(4), *HEAD)
    parent = trained(old, IMAGES, outputs=5)
    with pytest.raises(InfeasibleCandidate, match="kernel must be odd, got 4"):
        morph(parent, old, (Conv(4, 4), *HEAD), IMAGES, seed=0, outputs=5)
    with pytest.raises(SpaceError, match="must be filled before it is built"):
        morph(parent, old, (Conv(OneOf(4, 8)), *HEAD), IMAGES, seed=0, outputs=5)


def rich() -> Network:
    """Many kinds of layers with open choices, in sequences, blocks and cells."""
    activation: ActivationName = OneOf("relu", "silu")
    block: Network = OneOf(
        {
            "residual": Residual(
                (
                    Conv(OneOf(0, 8), OneOf(1, 3), normalisation=OneOf("batch", "layer")),
                    Conv(activation=OneOf("none", "relu")),
                )
            ),
            "mbconv": MBConv(
                OneOf(0, 16), OneOf(1, 2, 4), OneOf(3, 5), squeeze=OneOf(0.0, 0.25, 0.5),
                activation=activation, drop=OneOf(0.0, 0.2),
            ),
            "separable": Residual(Conv(kernel=OneOf(3, 5), separable=OneOf(True, False))),
            "conv": Conv(
                OneOf(0, 12), OneOf(1, 3), groups=OneOf(1, 2),
                normalisation=OneOf("batch", "none", "layer", "group"),
            ),
            "attention": Residual((Norm(OneOf("layer", "batch")), SelfAttention(OneOf(2, 4)))),
            "nas_bench_201": Shared(nas_bench_201_cell(), "b201"),
            "nas_bench_101": Shared(nas_bench_101_cell(3), "b101"),
            "skip": Skip(),
            "pool": Pool(OneOf("max", "avg")),
        }
    )  # fmt: skip
    head = OneOf(
        {
            "pooled": GlobalPool(),
            "flat": Flatten(),
            "read": (ImageRows(), Recurrent(OneOf(8, 12), OneOf("gru", "lstm")), GlobalPool()),
        }
    )
    dense = (
        Linear(OneOf(8, 16, 24), OneOf("none", "batch", "layer"), "relu"),
        Dropout(OneOf(0, 0.1)),
    )
    return (
        Conv(OneOf(4, 6, 8, 12), OneOf(3, 5), activation=activation), Repeat(block, Integer(0, 3)),
        Conv(OneOf(8, 16), stride=2), Repeat(block, Integer(0, 2)), head,
        Repeat(dense, Integer(0, 2)), Linear(),
    )  # fmt: skip


def rich_in_image_blocks() -> Network:
    """The residual blocks, stems and heads of images with open choices."""
    block: Network = OneOf(
        {
            "pre": PreActivation(
                OneOf(0, 8), OneOf(1, 3), groups=OneOf(1, 2),
                normalisation=OneOf("batch", "none", "layer"), activation=OneOf("relu", "silu"),
            ),
            "next": ConvNeXtBlock(OneOf(3, 5), OneOf(1, 2), OneOf(0, 0.5), drop=OneOf(0.0, 0.1)),
            "pixels": ImageAttention(OneOf(2, 4)),
            "conv": Conv(OneOf(0, 8)),
        }
    )  # fmt: skip
    stem: Network = OneOf(
        {"patches": PatchStem(OneOf(4, 8), OneOf(1, 2)), "conv": Conv(OneOf(4, 8))}
    )
    down = Downsample(OneOf(8, 16), OneOf("conv", "max", "blur"), OneOf(1, 3))
    head = OneOf({"mean": GlobalPool(), "attention": AttentionPool(OneOf(1, 2, 4))})
    blocks = (Repeat(block, Integer(0, 3)) for _ in range(2))
    return (stem, next(blocks), down, next(blocks), head, Linear())


def rich_in_fast_layers() -> Network:
    """The layers of short trainings with open choices."""
    stem: Network = OneOf(
        {
            "whitened": (
                Whitening(OneOf(2, 3), OneOf(1, 2), max_components=OneOf(3, 5, 32)),
                Activation(OneOf("silu", "relu")),
            ),
            "conv": Conv(OneOf(4, 8)),
        }
    )
    norm = OneOf("batch", "batch_bias", "none")
    block: Network = OneOf(
        {
            "conv": Conv(
                OneOf(0, 8), OneOf(1, 3), normalisation=norm, pool=OneOf(1, 2),
                init=OneOf("random", "identity"),
            ),
            "residual": Residual(
                Conv(OneOf(0, 8), normalisation=norm, init=OneOf("random", "identity"))
            ),
            "norm": Norm(norm),
            "skip": Skip(),
        }
    )  # fmt: skip
    return (
        stem,
        Repeat(block, Integer(0, 3)),
        GlobalPool("max"),
        Linear(),
        Multiply(OneOf(1.0, 0.5)),
    )


def buildable(space: Space[Any], rng: np.random.Generator, edits: int) -> tuple[Network, Network]:
    """A random candidate and an edit of it, both feasible."""
    while True:
        candidate = space.sample(rng)
        old = space.fill(candidate)
        for _ in range(edits):
            candidate = space.mutate(candidate, rng)
        new = space.fill(candidate)
        try:
            for network in (old, new):
                build(network, IMAGES, outputs=5)
        except InfeasibleCandidate:
            continue
        return old, new


@pytest.mark.parametrize(
    ("network", "edits", "draws", "min_preserved"),
    [
        (rich(), 1, 100, 26),
        (rich(), 3, 30, 1),
        (rich_in_image_blocks(), 1, 100, 15),
        (rich_in_fast_layers(), 1, 100, 15),
        (rich_in_fast_layers(), 2, 50, 1),
    ],
    ids=[
        "one edit",
        "three edits",
        "one edit of image blocks",
        "one edit of fast layers",
        "two edits of fast layers",
    ],
)
def test_morphs_without_recorded_changes_preserve_the_function(
    network: Network, edits: int, draws: int, min_preserved: int
) -> None:
    """Over random edits, of which many preserve the function and many do not."""
    space, rng = Space(network), np.random.default_rng(edits)
    preserved = []
    for _ in range(draws):
        old, new = buildable(space, rng, edits)
        pair = inherited(old, new)
        assert 0 <= pair.inheritance.inherited_share <= 1
        assert pair.difference < EXACT or pair.inheritance.changes, (old, new)
        preserved.append(pair.inheritance.preserves_function)
    assert sum(preserved) >= min_preserved
    assert sum(preserved) < len(preserved)


def test_one_hot_replaced_by_embeddings_gets_new_weights() -> None:
    old, new = (
        (Columns(Periodic(8), categorical), Linear()) for categorical in (OneHot(), Embedding(4))
    )
    pair = inherited(old, new, (6,), cardinalities=(4, 3))
    assert pair.inheritance.changes == (f"0.categorical: OneHot {WITHOUT_RULE}",)
    assert 0.5 < pair.inheritance.inherited_share < 1
