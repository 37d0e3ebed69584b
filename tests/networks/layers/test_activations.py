"""Normalisations by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import make_norm
from netwright.networks.layers.basic import GlobalPool, Norm
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
from netwright.networks.training.muon import Muon
from netwright.networks.training.optimizers import SGD, AdamW, Optimizer
from netwright.networks.training.recipe import Training


@pytest.mark.parametrize("shape", [(4, 5, 5), (4,)])
def test_batch_bias_normalises_and_shifts_without_a_scale(shape: Shape) -> None:
    norm, x = make_norm("batch_bias", shape), torch.randn(50, *shape) * 3 + 2
    nn.init.constant_(norm.get_parameter("bias"), 7.0)
    channels = norm(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.full((4,), 7.0))
    torch.testing.assert_close(channels.std(1, correction=0), torch.ones(4))
    assert [name for name, p in norm.named_parameters() if p.requires_grad] == ["bias"]


@pytest.mark.parametrize("optimizer", [AdamW(0.5), SGD(0.5), Muon(0.5)], ids=str)
def test_training_moves_the_bias_but_not_the_scale(optimizer: Optimizer) -> None:
    network = (Conv(4, normalisation="batch_bias"), GlobalPool(), Linear(2))
    module = build(network, (3, 5, 5))
    rows = LabelledData(torch.randn(16, 3, 5, 5), torch.arange(16) % 2)
    recipe = Training(network, lr=0.1, epochs=2, batch_size=8, optimizer=optimizer)
    train(recipe, module, rows, rows.inputs, lambda out: 0.0, seed=0)
    assert torch.equal(module.get_parameter("0.norm.weight"), torch.ones(4))
    assert module.get_parameter("0.norm.bias").abs().min() > 0


def test_statistics_of_batch_bias_follow_the_last_batches() -> None:
    """A short training must not end with those of its beginning."""
    fast, slow = (make_norm(name, (4,)) for name in ("batch_bias", "batch"))
    for norm in (fast, slow):
        for _ in range(10):
            norm(torch.randn(64, 4) + 5)
    assert (fast.running_mean - 5).abs().max() < 0.3
    assert (slow.running_mean - 5).abs().max() > 1


def test_batch_bias_of_sequences_is_refused() -> None:
    for layer in (Norm("batch_bias"), Linear(3, "batch_bias")):
        with pytest.raises(InfeasibleCandidate, match="batch_bias takes images or columns"):
            build(layer, (7, 4))


def test_unknown_normalisation_names_the_known_ones() -> None:
    with pytest.raises(InfeasibleCandidate, match="batch, batch_bias, layer, group or none, got"):
        make_norm("instance", (4,))
