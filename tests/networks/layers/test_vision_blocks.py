"""Residual blocks of image networks against their papers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.drawing.svg import svg
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.blocks import Residual, StochasticDepth
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import Downsample, PatchStem
from netwright.networks.layers.image_heads import AttentionPool
from netwright.networks.layers.image_parts import LayerNorm2d, LayerScale, PositionEmbedding
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, ImageAttention, PreActivation

IMAGE = (4, 5, 7)
BLOCKS: tuple[Network, ...] = (PreActivation(), ConvNeXtBlock(layer_scale=0.5), ImageAttention(2))


def images(shape: Shape = IMAGE, rows: int = 6) -> Tensor:
    return 1 + 2 * torch.randn(rows, *shape)


@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 1, 9), (4, 1, 1), (4, 8, 8)])
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_blocks_preserve_odd_and_non_square_shapes(block: Network, shape: Shape) -> None:
    assert costs(block, shape).shape == shape
    assert build(block, shape)(images(shape)).shape == (6, *shape)


@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 1, 9), (4, 8, 8)])
def test_pre_activation_changes_channels_and_resolution(shape: Shape) -> None:
    expected = (6, -(-shape[1] // 2), -(-shape[2] // 2))
    assert costs(PreActivation(6, stride=2), shape).shape == expected
    assert build(PreActivation(6, stride=2), shape)(images(shape)).shape[1:] == expected


def test_pre_activation_matches_the_papers_formula() -> None:
    module, x = build(PreActivation(), IMAGE).train(), images()
    first, second = module.parts["body"]
    activated = nn.functional.batch_norm(x, None, None, training=True).relu()
    hidden = nn.functional.conv2d(activated, first.conv.weight, padding=1)
    hidden = nn.functional.batch_norm(hidden, None, None, training=True).relu()
    expected = x + nn.functional.conv2d(hidden, second.conv.weight, second.conv.bias, padding=1)
    assert torch.allclose(module(x), expected, atol=1e-5)
    assert (module(-10 * x.abs() - 1) < 0).any()  # nothing is activated after the sum


@pytest.mark.parametrize("options", [{"channels": 6}, {"stride": 2}])
def test_shortcut_of_pre_activation_reads_the_activated_input(options: dict[str, int]) -> None:
    module, x = build(PreActivation(**options), IMAGE).eval(), images()
    activated = module.parts["preactivation"](x)
    assert activated.min() == 0
    shortcut = module.parts["shortcut"]
    assert shortcut.conv.kernel_size == (1, 1)
    assert isinstance(shortcut.norm, nn.Identity)
    expected = module.parts["body"](activated) + shortcut(activated)
    assert torch.equal(module(x), expected)
    assert not torch.allclose(module.parts["body"](activated) + shortcut(x), expected)


def test_convnext_matches_the_papers_formula() -> None:
    module, x = build(ConvNeXtBlock(5, expand=3, layer_scale=0.3), IMAGE), images()
    depthwise, norm, expand, project, scale = module.parts["body"]
    assert (depthwise.conv.groups, depthwise.conv.kernel_size) == (4, (5, 5))
    assert expand.conv.weight.shape == (12, 4, 1, 1)
    h = depthwise.conv(x)
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
    h = torch.einsum("oi,bihw->bohw", expand.conv.weight[:, :, 0, 0], h)
    h = nn.functional.gelu(h + expand.conv.bias[:, None, None])
    h = torch.einsum("oi,bihw->bohw", project.conv.weight[:, :, 0, 0], h)
    h = h + project.conv.bias[:, None, None]
    assert torch.allclose(module(x), x + 0.3 * h, atol=1e-5)
    assert isinstance(norm, nn.LayerNorm)
    assert scale.weight.requires_grad


def test_convnext_starts_near_the_identity_by_layer_scale_alone() -> None:
    x = images()
    assert torch.allclose(build(ConvNeXtBlock(), IMAGE)(x), x, atol=1e-4)
    without = build(ConvNeXtBlock(layer_scale=0), IMAGE)
    assert len(without.parts["body"]) == 4
    assert not torch.allclose(without(x), x, atol=1e-2)


def test_convnext_has_the_parameters_of_the_paper() -> None:
    c = 96  # of ConvNeXt-T, stage 1
    expected = c * 7 * 7 + c + 2 * c + (c + 1) * 4 * c + (4 * c + 1) * c + c
    assert costs(ConvNeXtBlock(), (c, 8, 8)).parameters == expected


def test_layer_norm_is_over_the_channels_of_each_pixel() -> None:
    x = images()
    layer = build(LayerNorm2d(), IMAGE)
    out = layer(x)
    assert torch.allclose(out.mean(1), torch.zeros(6, 5, 7), atol=1e-5)
    assert torch.allclose(out.var(1, correction=0), torch.ones(6, 5, 7), atol=1e-3)
    changed = x.clone()
    changed[:, :, 0, 0] += torch.randn(4)
    pixels = ((layer(changed) - out).abs().amax((0, 1)) > 0).nonzero().tolist()
    assert pixels == [[0, 0]]  # other pixels do not see it


@pytest.mark.parametrize("shape", [(4, 5, 7), (5, 4), (4,)])
def test_layer_scale_scales_channels(shape: Shape) -> None:
    layer, x = build(LayerScale(0.25), shape), images(shape)
    assert torch.equal(layer(x), 0.25 * x)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(4.0))
    axis = 1 if len(shape) == 3 else -1
    for channel in range(4):
        assert torch.equal(layer(x).select(axis, channel), channel * x.select(axis, channel))


def test_attention_reaches_every_pixel_and_keeps_its_input() -> None:
    module, x = build(ImageAttention(2), IMAGE).eval(), images()
    body = module.parts["body"]
    assert torch.equal(module(x), x + body(x))
    changed = x.clone()
    changed[:, :, 0, 0] += torch.randn(4)
    assert ((body(changed) - body(x)).abs().amax((0, 1)) > 1e-6).all()


def test_attention_knows_positions_by_its_embedding() -> None:
    module, x = build(ImageAttention(2), IMAGE).eval(), images()
    order = torch.randperm(35)

    def shuffled(batch: Tensor) -> Tensor:
        return batch.flatten(2)[:, :, order].view_as(batch)

    with torch.no_grad():
        module.parts["body"][1].weight.mul_(50)  # as after training
        assert not torch.allclose(module(shuffled(x)), shuffled(module(x)), atol=1e-2)
        module.parts["body"][1].weight.zero_()
        assert torch.allclose(module(shuffled(x)), shuffled(module(x)), atol=1e-5)


def test_position_embedding_has_a_vector_for_each_position() -> None:
    for shape in (IMAGE, (5, 4)):
        layer, x = build(PositionEmbedding(), shape), images(shape)
        assert torch.equal(layer(x), x + layer.weight)
        assert layer.weight.shape == shape
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize(
    ("block", "shape", "message"),
    [
        (ImageAttention(), (4, 17, 16), r"over at most 256 pixels, got 272 \(17 x 16\). Put Down"),
        (ImageAttention(max_tokens=34), IMAGE, r"over at most 34 pixels, got 35 \(5 x 7\)"),
        (ImageAttention(3), IMAGE, r"heads must be a divisor of the 4 channels, got 3"),
        (ImageAttention(), (5, 4), r"input must be images \(c, h, w\), got \(5, 4\)"),
        (ConvNeXtBlock(), (5, 4), r"input must be images"),
        (ConvNeXtBlock(6), IMAGE, r"kernel must be odd, got 6"),
        (ConvNeXtBlock(expand=0), IMAGE, r"expand must be at least 1, got 0"),
        (ConvNeXtBlock(layer_scale=-1), IMAGE, r"layer_scale must be at least 0, got -1"),
        (ConvNeXtBlock(drop=1), IMAGE, r"p must be in \[0, 1\), got 1"),
        (PreActivation(groups=3), IMAGE, r"groups must be a divisor of the channels 4 and 4"),
        (PreActivation(stride=0), IMAGE, r"stride must be at least 1"),
        (PreActivation(), (5, 4), r"input must be images"),
        (LayerNorm2d(), (5, 4), r"input must be images"),
        (PositionEmbedding(), (4,), r"input must be a sequence \(t, c\) or images"),
    ],
)
def test_impossible_block_is_refused(block: Network, shape: Shape, message: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=message):
        build(block, shape)
    with pytest.raises(InfeasibleCandidate, match=message):
        costs(block, shape)


def test_attention_takes_256_pixels_by_default() -> None:
    assert costs(ImageAttention(), (4, 16, 16)).shape == (4, 16, 16)
    assert costs(ImageAttention(max_tokens=400), (4, 20, 20)).shape == (4, 20, 20)


@pytest.mark.parametrize(
    "block",
    [PreActivation(drop=0.6), ConvNeXtBlock(layer_scale=1, drop=0.6), ImageAttention(drop=0.6)],
)
def test_drop_skips_the_body_of_whole_rows(block: Network) -> None:
    module, x = build(block, IMAGE).train(), images(rows=200)
    changed_rows = (module(x) != x).flatten(1).any(1).float().mean().item()
    assert changed_rows == pytest.approx(0.4, abs=0.15)
    assert (module.eval()(x) != x).flatten(1).any(1).all()


def test_stochastic_depth_grows_over_the_blocks_of_a_description() -> None:
    body = tuple(Residual((Conv(), StochasticDepth(0.9 * i / 3))) for i in range(4))
    module, x = build(body, IMAGE).train(), images(rows=300)
    changed_shares = [(block(x) != x).flatten(1).any(1).float().mean().item() for block in module]
    assert changed_shares == pytest.approx([1, 0.7, 0.4, 0.1], abs=0.12)


def test_network_of_all_families_is_drawn() -> None:
    network = (
        PatchStem(8, patch=2), ConvNeXtBlock(), Downsample(16, "blur"), PreActivation(),
        ImageAttention(2), AttentionPool(4), Linear(),
    )  # fmt: skip
    root = ElementTree.fromstring(svg(network, (3, 13, 18), outputs=10))
    texts = {node.text for node in root.iter() if node.tag.endswith("text")}
    for name in ("PatchStem", "ConvNeXtBlock", "Downsample", "PreActivation", "ImageAttention"):
        assert name in texts
    assert {"16, blur", "4"} <= texts


def test_zero_started_blocks_can_be_trained() -> None:
    """A block inserted as the identity must pass a gradient to what was zeroed."""
    from netwright.networks.morphism.morph import morph

    for block in (PreActivation(), ConvNeXtBlock(), ImageAttention(2)):
        old, new = (Conv(4), GlobalPool(), Linear()), (Conv(4), block, GlobalPool(), Linear())
        parent = build(old, IMAGE, outputs=3)
        child, inheritance = morph(parent, old, new, IMAGE, seed=0, outputs=3)
        assert inheritance.preserves_function
        child.train()(images()).square().sum().backward()
        zeroed = [p for p in child[1].parameters() if p.dim() and not p.detach().any()]
        gradients = [p.grad.abs().max().item() for p in zeroed if p.grad is not None]
        assert max(gradients) > 1e-4
