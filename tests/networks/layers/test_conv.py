"""Pooling and initialisation within convolutions."""

from __future__ import annotations

import pytest
import torch
from network_tools import batch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.layers.conv import Conv

SHAPE = (4, 9, 7)
PLAIN = {"normalisation": "none", "activation": "none"}


def test_pooling_follows_the_convolution_and_precedes_the_normalisation() -> None:
    module, x = build(Conv(6, pool=2, activation="silu"), SHAPE), batch(SHAPE, 3)
    pooled = nn.functional.max_pool2d(module.conv(x), 2)
    expected = nn.functional.silu(nn.functional.batch_norm(pooled, None, None, training=True))
    torch.testing.assert_close(module(x), expected)
    assert expected.shape == (3, 6, 4, 3)  # the last row and column fill no window


def test_pooling_larger_than_the_image_is_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="Conv cannot take"):
        build(Conv(6, pool=8), SHAPE)
    with pytest.raises(InfeasibleCandidate, match="pool must be at least 1, got 0"):
        build(Conv(6, pool=0), SHAPE)


@pytest.mark.parametrize("channels", [4, 6, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_identity_initialisation_copies_the_first_channels(channels: int, kernel: int) -> None:
    module, x = build(Conv(channels, kernel, init="identity", **PLAIN), SHAPE), batch(SHAPE, 3)  # type: ignore[arg-type]
    n_copied, bias = min(channels, 4), module.conv.bias[:, None, None]
    torch.testing.assert_close((module(x) - bias)[:, :n_copied], x[:, :n_copied])
    further = module.conv.weight[4:]
    assert len(further) == max(0, channels - 4)
    assert not len(further) or further.std() > 0.01  # random, as other filters


def test_identity_initialisation_of_a_separable_convolution_is_that_of_its_pointwise_one() -> None:
    module = build(Conv(4, separable=True, init="identity", **PLAIN), SHAPE)  # type: ignore[arg-type]
    torch.testing.assert_close(module.pointwise.weight[:, :, 0, 0], torch.eye(4))
    assert module.depthwise.weight.std() > 0.01


@pytest.mark.parametrize("layer", [Conv(8, groups=2, init="identity"), Conv(8)])
def test_other_kernels_stay_random(layer: Conv) -> None:
    weight = build(layer, SHAPE).conv.weight
    assert (weight != 0).all()
