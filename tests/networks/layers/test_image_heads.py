"""Pooling heads against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.image_heads import AttentionPool

IMAGE = (6, 5, 7)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_pool_is_a_softmax_weighted_mean(heads: int) -> None:
    layer, x = build(AttentionPool(heads), IMAGE), torch.randn(4, *IMAGE)
    with torch.no_grad():
        layer.query.weight.normal_()
    tokens = x.flatten(2)  # (batch, c, pixels)
    pooled = []
    for query, channels in zip(layer.query.weight, tokens.chunk(heads, 1), strict=True):
        scores = torch.einsum("c,bct->bt", query, tokens) / math.sqrt(6)
        pooled.append((channels * scores.softmax(-1)[:, None]).sum(-1))
    assert torch.allclose(layer(x), torch.cat(pooled, 1), atol=1e-5)


def test_attention_pool_starts_as_the_mean_and_learns() -> None:
    layer, x = build(AttentionPool(2), IMAGE), torch.randn(4, *IMAGE)
    assert torch.allclose(layer(x), x.mean((2, 3)), atol=1e-6)
    layer(x).square().sum().backward()
    assert layer.query.weight.grad is not None
    assert (layer.query.weight.grad.abs().amax(1) > 1e-4).all()


def test_attention_pool_of_a_sequence_is_that_of_its_image() -> None:
    layer, x = build(AttentionPool(3), IMAGE), torch.randn(4, *IMAGE)
    with torch.no_grad():
        layer.query.weight.normal_()
    assert torch.allclose(layer(x.flatten(2).transpose(1, 2)), layer(x), atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5, 7), (6, 1, 1), (9, 6)])
def test_attention_pool_returns_the_channels(shape: Shape) -> None:
    assert costs(AttentionPool(2), shape)[:2] == ((6,), 2 * 6)
    n_tokens = math.prod(shape) // 6
    scores_and_means = 2 * 6 * n_tokens + 6 * n_tokens
    assert costs(AttentionPool(2), shape).flops == 2 * scores_and_means


@pytest.mark.parametrize(
    ("heads", "shape", "message"),
    [
        (4, IMAGE, "heads must be a divisor of the 6 channels, got 4"),
        (0, IMAGE, "heads must be at least 1, got 0"),
        (1, (6,), r"input must be a sequence \(t, c\) or images, got \(6,\)"),
    ],
)
def test_impossible_attention_pool_is_refused(heads: int, shape: Shape, message: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=message):
        build(AttentionPool(heads), shape)
