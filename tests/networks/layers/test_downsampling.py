"""Stems of patches and layers that halve the resolution."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.downsampling import Downsample, DownsampleKind, PatchStem

IMAGE = (4, 6, 8)
KINDS = get_args(DownsampleKind)


@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 6, 8), (4, 1, 9), (4, 2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_leaves_half_of_each_side_rounded_up(kind: DownsampleKind, shape: Shape) -> None:
    expected = (6, -(-shape[1] // 2), -(-shape[2] // 2))
    for kernel in (1, 3):
        layer = Downsample(6, kind, kernel)
        assert costs(layer, shape).shape == expected
        assert build(layer, shape)(torch.randn(2, *shape)).shape[1:] == expected
    assert costs(Downsample(kind=kind), shape).shape == (4, *expected[1:])


def test_pooled_kinds_pool_before_a_convolution_of_stride_1() -> None:
    x = torch.randn(2, *IMAGE)
    means = nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    for kind, pooled in (("max", nn.functional.max_pool2d(x, 3, 2, 1)), ("avg", means)):
        module = build(Downsample(5, kind), IMAGE).eval()  # type: ignore[arg-type]  # a kind
        conv = module.parts["body"][-1]
        assert conv.conv.stride == (1, 1)
        assert torch.equal(module(x), conv(pooled))
    strided = build(Downsample(5), IMAGE).parts["body"]
    assert len(strided) == 1
    assert strided[0].conv.stride == (2, 2)


def test_blur_is_a_binomial_filter_with_stride_2() -> None:
    x = torch.randn(2, *IMAGE)
    module = build(Downsample(5, "blur"), IMAGE).eval()
    *pools, conv = module.parts["body"]
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (row[:, None] * row).expand(4, 1, 3, 3)
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    blurred = nn.functional.conv2d(padded, kernel, stride=2, groups=4)
    assert torch.allclose(nn.Sequential(*pools)(x), blurred, atol=1e-6)
    assert torch.allclose(module(x), conv(blurred), atol=1e-5)


def test_blur_removes_the_highest_frequency() -> None:
    """A checkerboard, which a strided convolution or pooling would alias."""
    h, w = torch.arange(8)[:, None], torch.arange(8)
    x = (1 - 2 * ((h + w) % 2)).float().expand(1, 1, 8, 8)
    *pools, _ = build(Downsample(1, "blur"), (1, 8, 8)).parts["body"]
    assert nn.Sequential(*pools)(x)[:, :, 1:, 1:].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("shape", "patch", "expected"),
    [
        ((3, 32, 32), 4, (8, 8)),
        ((3, 9, 14), 4, (2, 3)),
        ((3, 5, 7), 1, (5, 7)),
        ((1, 4, 4), 4, (1, 1)),
    ],
)
def test_stem_has_a_pixel_for_each_whole_patch(
    shape: Shape, patch: int, expected: tuple[int, int]
) -> None:
    layer = PatchStem(6, patch)
    assert costs(layer, shape).shape == (6, *expected)
    assert build(layer, shape)(torch.randn(2, *shape)).shape == (2, 6, *expected)


def test_stem_projects_each_patch_and_normalises_its_channels() -> None:
    module, x = build(PatchStem(6, patch=2), IMAGE), torch.randn(3, *IMAGE)
    conv, _ = module.parts["body"]
    patches = x.unfold(2, 2, 2).unfold(3, 2, 2)  # (batch, c, h / 2, w / 2, 2, 2)
    projected = torch.einsum("ocij,bchwij->bhwo", conv.conv.weight, patches) + conv.conv.bias
    expected = nn.functional.layer_norm(projected, (6,), eps=1e-6).permute(0, 3, 1, 2)
    assert torch.allclose(module(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (PatchStem(8, 7), IMAGE, "patch must be at most the 6 pixels of the image's shorter side"),
        (PatchStem(8, 0), IMAGE, "patch must be at least 1, got 0"),
        (PatchStem(0), IMAGE, "channels must be at least 1, got 0"),
        (PatchStem(), (6, 8), r"input must be images \(c, h, w\)"),
        (Downsample(kind="min"), IMAGE, "kind must be one of conv, max, avg, blur, got 'min'"),  # type: ignore[arg-type]
        (Downsample(), (4, 1, 1), r"input must be an image of several pixels, got \(4, 1, 1\)"),
        (Downsample(kernel=2), IMAGE, "kernel must be odd, got 2"),
        (Downsample(), (6, 8), r"input must be images \(c, h, w\)"),
    ],
)
def test_impossible_downsampling_is_refused(layer: Network, shape: Shape, message: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=message):
        build(layer, shape)
