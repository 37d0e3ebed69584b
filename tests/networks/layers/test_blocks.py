"""Each layer against the definition in its paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from netwright.networks.build import build
from netwright.networks.layers.basic import Dropout, GlobalPool, Norm, Pool, Skip, Zero
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
from netwright.networks.tabular.columns import Columns, Embedding, OneHot, Periodic

IMAGE = (4, 6, 6)


def test_separable_convolution_is_depthwise_then_pointwise() -> None:
    bare = {"normalisation": "none", "activation": "none"}
    layer = build(Conv(3, separable=True, **bare), IMAGE)
    depthwise, pointwise = layer.depthwise, layer.pointwise
    x = torch.randn(2, *IMAGE)
    filtered = [
        nn.functional.conv2d(x[:, i : i + 1], depthwise.weight[i : i + 1], padding=1)
        for i in range(4)
    ]
    mixed = torch.einsum("oi,bihw->bohw", pointwise.weight[:, :, 0, 0], torch.cat(filtered, 1))
    assert torch.allclose(layer(x), mixed + pointwise.bias[:, None, None], atol=1e-5)


def test_convolution_has_a_bias_only_without_normalisation() -> None:
    assert build(Conv(5), IMAGE).conv.bias is None
    assert build(Conv(5, normalisation="none"), IMAGE).conv.bias.shape == (5,)


@pytest.mark.parametrize(
    ("layer", "has_skip"),
    [(MBConv(), True), (MBConv(4, expand=1), True), (MBConv(5), False), (MBConv(stride=2), False)],
)
def test_mbconv_has_a_skip_exactly_where_shapes_agree(layer: MBConv, *, has_skip: bool) -> None:
    module, x = build(layer, IMAGE).eval(), torch.randn(2, *IMAGE)
    body = module.parts["body"](x)
    assert torch.equal(module(x), body + x if has_skip else body)


def test_mbconv_expands_filters_and_projects() -> None:
    body = build(MBConv(5, expand=6, kernel=5, stride=2), IMAGE).parts["body"]
    expand, depthwise, project = (layer.conv for layer in body)
    assert expand.weight.shape == (24, 4, 1, 1)
    assert (depthwise.weight.shape, depthwise.groups, depthwise.stride) == (
        (24, 1, 5, 5),
        24,
        (2, 2),
    )
    assert project.weight.shape == (5, 24, 1, 1)
    assert isinstance(body[-1].act, nn.Identity)  # a linear bottleneck


def test_residual_adds_its_input_or_a_projection() -> None:
    x = torch.randn(3, *IMAGE)
    assert torch.equal(build(Residual(Zero()), IMAGE)(x), x)
    assert torch.equal(build(Residual(Skip()), IMAGE)(x), 2 * x)
    module = build(Residual(Conv(8, stride=2)), IMAGE).eval()
    projected = module.parts["shortcut"](x)
    assert module.parts["shortcut"].conv.kernel_size == (1, 1)
    assert torch.equal(module(x), module.parts["body"](x) + projected)


def test_stochastic_depth_drops_rows_and_preserves_the_mean() -> None:
    layer, x = build(StochasticDepth(0.3), IMAGE).train(), torch.ones(4000, *IMAGE)
    out = layer(x)
    rows = out.flatten(1)
    assert torch.equal(rows.amin(1), rows.amax(1))  # rows are dropped as a whole
    assert rows[:, 0].unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    spread = math.sqrt(0.3 * 0.7 / 4000) / 0.7
    assert out.mean().item() == pytest.approx(1, abs=5 * spread)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("layer", [StochasticDepth(0.0), Dropout(0.0)])
def test_probability_0_drops_nothing(layer: StochasticDepth | Dropout) -> None:
    x = torch.randn(50, 3)
    assert torch.equal(build(layer, (3,)).train()(x), x)


def test_squeeze_excitation_scales_channels_by_image_means() -> None:
    layer, x = build(SqueezeExcitation(0.5), IMAGE), torch.randn(5, *IMAGE).abs() + 0.1
    scale = layer(x) / x  # (batch, c, h, w)
    assert torch.allclose(scale, scale[:, :, :1, :1].expand_as(scale), atol=1e-6)
    assert 0 < scale.min() < scale.max() < 1
    assert scale[:, :, 0, 0].std(0).min() > 0  # each image has its own scales
    shuffled = x.flatten(2)[:, :, torch.randperm(36)].view_as(x)  # the same means
    assert torch.allclose(layer(shuffled) / shuffled, scale, atol=1e-5)


def attention(heads: int, x: Tensor) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(7)
    layer = build(SelfAttention(heads), tuple(x.shape[1:]))
    return layer, layer(x)


def test_attention_is_equivariant_to_order() -> None:
    x, order = 3 * torch.randn(2, 7, 8), torch.randperm(7)
    layer, out = attention(2, x)
    assert torch.allclose(layer(x[:, order]), out[:, order], atol=1e-5)
    changed = x.clone()
    changed[:, 0] += 1
    assert ((layer(changed) - out).abs().amax((0, 2)) > 1e-4).all()  # every position sees it


def test_attention_matches_the_papers_formula() -> None:
    x = 3 * torch.randn(2, 7, 8)
    layer, out = attention(2, x)
    q, k, v = layer.qkv(x).split(8, -1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[..., head] @ k[..., head].transpose(1, 2) / math.sqrt(4)
        heads.append(scores.softmax(-1) @ v[..., head])
    assert torch.allclose(layer.out(torch.cat(heads, -1)), out, atol=1e-5)
    assert not torch.allclose(attention(1, x)[1], out, atol=1e-3)  # same weights, one head


def test_attention_on_images_treats_pixels_as_tokens() -> None:
    x = torch.randn(2, 8, 3, 5)
    layer, out = attention(4, x)
    tokens = x.flatten(2).transpose(1, 2)
    assert torch.allclose(layer(tokens).transpose(1, 2).reshape(x.shape), out, atol=1e-6)


def test_recurrent_layer_reads_forwards_or_both_ways() -> None:
    x = torch.randn(2, 6, 3)
    changed = x.clone()
    changed[:, 3] += 1

    def affected_steps(*, bidirectional: bool) -> list[bool]:
        layer = build(Recurrent(4, bidirectional=bidirectional), (6, 3))
        return ((layer(changed) - layer(x)).abs().amax((0, 2)) > 0).tolist()

    assert affected_steps(bidirectional=False) == [False] * 3 + [True] * 3
    assert affected_steps(bidirectional=True) == [True] * 6


def test_rows_of_pixels_are_steps() -> None:
    x = torch.randn(2, 3, 4, 5)
    steps = build(ImageRows(), (3, 4, 5))(x)
    assert torch.equal(steps[1, 2], x[1, :, 2, :].flatten())


def test_pools_compute_max_or_mean() -> None:
    x = torch.randn(2, *IMAGE)
    assert torch.equal(build(GlobalPool(), IMAGE)(x), x.mean((2, 3)))
    assert torch.equal(build(GlobalPool("max"), (6, 4))(x[:, 0]), x[:, 0].amax(1))
    corner = x[:, :, :2, :2]
    assert torch.allclose(build(Pool("avg"), IMAGE)(x)[:, :, 0, 0], corner.mean((2, 3)))
    assert torch.equal(build(Pool("max"), IMAGE)(x)[:, :, 0, 0], corner.amax((2, 3)))


@pytest.mark.parametrize(
    ("kind", "shape", "axes"),
    [
        ("batch", (4, 6, 6), (0, 2, 3)),
        ("batch", (6, 4), (0, 1)),
        ("batch", (4,), (0,)),
        ("layer", (4, 6, 6), (1, 2, 3)),
        ("layer", (6, 4), (2,)),
        ("layer", (4,), (1,)),
        ("group", (4, 6, 6), (2, 3)),  # 4 channels in 4 groups
    ],
)
def test_normalisation_is_over_its_axes(
    kind: str, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    x = 5 + 3 * torch.randn(9, *shape)
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt()
    assert torch.allclose(build(Norm(kind), shape).train()(x), expected, atol=1e-4)


def test_one_hot_encodes_unseen_codes_as_zeros() -> None:
    codes = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    expected = [[1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert build(OneHot((4, 3)), (2,))(codes).tolist() == expected


def test_each_code_of_each_column_has_an_embedding() -> None:
    layer = build(Embedding(5, (4, 3)), (2,))
    codes = torch.tensor([[a, b] for a in range(4) for b in range(3)]).float()
    out = layer(codes).view(4, 3, 2, 5)
    assert (out[0, :, 0] == 0).all()
    assert (out[:, 0, 1] == 0).all()
    assert torch.equal(out[2, 0, 0], out[2, 1, 0])  # columns do not mix
    vectors = torch.cat([out[1:, 0, 0], out[0, 1:, 1]])
    assert len(vectors.unique(dim=0)) == 3 + 2


def test_periodic_matches_the_papers_formula() -> None:
    layer, x = build(Periodic(3, frequencies=4), (2,)), torch.randn(6, 2)
    out = layer(x).view(6, 2, 3)
    for column in range(2):
        waves = []
        for wave in (torch.sin, torch.cos):
            waves += [wave(2 * torch.pi * f * x[:, column]) for f in layer.frequency[column]]
        dense = torch.stack(waves, 1) @ layer.weight[column] + layer.bias[column]
        assert torch.allclose(out[:, column], dense.relu(), atol=1e-5)


def test_sigma_is_the_std_of_initial_frequencies() -> None:
    frequency = build(Periodic(1, frequencies=4000, sigma=0.3), (2,)).frequency
    assert frequency.std().item() == pytest.approx(0.3, rel=0.1)


def test_columns_split_numbers_from_codes_at_the_end() -> None:
    x = torch.tensor([[0.5, -1.5, 2.0, 1.0]])
    layer = build(Columns(categorical=OneHot((3, 2)), cardinalities=(3, 2)), (4,))
    assert layer(x).tolist() == [[0.5, -1.5, 0.0, 1.0, 1.0]]
    assert build(Columns(cardinalities=()), (4,))(x).tolist() == x.tolist()
    only_codes = build(Columns(categorical=OneHot((3, 2)), cardinalities=(3, 2)), (2,))
    assert only_codes(x[:, 2:]).tolist() == [[0.0, 1.0, 1.0]]


def test_block_without_a_skip_drops_no_rows() -> None:
    for block in (MBConv(drop=0.9, stride=2), MBConv(8, drop=0.9)):
        module = build(block, (4, 8, 8)).train()
        out = module(torch.randn(64, 4, 8, 8))
        assert (out.flatten(1).abs().sum(1) > 0).all()
