"""Embeddings of numbers: formulas, bins from data, and columns that do not mix."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.tabular.numeric_embeddings import PeriodicLinear, PiecewiseLinear
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.loop import LabelledData


def shown(layer: Network, x: Tensor) -> torch.nn.Module:
    module = build(layer, (x.shape[1],))
    initialize_from_data(module, LabelledData(x, torch.zeros(len(x))), seed=0)
    return module


def test_a_periodic_number_is_cosines_a_dense_layer_and_itself() -> None:
    layer, x = build(PeriodicLinear(3, frequencies=5), (2,)), torch.randn(6, 2)
    with torch.no_grad():
        out = layer(x).view(6, 2, 3)
    for i in range(2):
        waves = (2 * math.pi * x[:, i : i + 1] * layer.frequency[i] + layer.phase[i]).cos()
        torch.testing.assert_close(out[:, i, :2], waves @ layer.weight[i] + layer.bias[i])
        torch.testing.assert_close(out[:, i, 2], x[:, i])


def test_frequencies_start_as_wide_as_told_and_phases_all_round() -> None:
    layer = build(PeriodicLinear(2, frequencies=4000, sigma=0.3), (2,))
    assert layer.frequency.std().item() == pytest.approx(0.3, rel=0.05)
    assert layer.phase.min().item() == pytest.approx(-math.pi, abs=0.01)
    assert layer.phase.max().item() == pytest.approx(math.pi, abs=0.01)


@pytest.mark.parametrize("layer", [PeriodicLinear(4), PiecewiseLinear(6, 4)])
def test_each_column_has_numbers_of_its_own(layer: Network) -> None:
    module, x = build(layer, (3,)), torch.randn(5, 3)
    if isinstance(layer, PiecewiseLinear):
        torch.nn.init.normal_(module.weight)  # type: ignore[arg-type]
    moved = x.clone()
    moved[:, 1] += 1.0
    changed = (module(x) != module(moved)).any(0).view(3, 4)
    assert changed.any(1).tolist() == [False, True, False]


def test_bins_hold_equally_many_rows_and_shares_are_exact_on_their_edges() -> None:
    x = torch.randn(4001, 1) ** 3
    layer = shown(PiecewiseLinear(bins=8, size=2), x)
    edges = torch.quantile(x[:, 0].double(), torch.linspace(0, 1, 9, dtype=torch.float64)).float()
    shares = layer.shares(edges[:, None])[0]  # (edges, bins)
    torch.testing.assert_close(shares, torch.ones(9, 8).tril(-1), rtol=0, atol=1e-6)
    inside = ((x >= edges[:-1]) & (x < edges[1:])).sum(0)
    assert inside.max() - inside.min() <= 2


def test_shares_rise_with_the_number_and_end_with_the_rows() -> None:
    rows = torch.randn(500, 2)
    layer = shown(PiecewiseLinear(bins=8, size=2), rows)
    x = torch.linspace(-50, 50, 3001)[:, None].expand(-1, 2)
    shares = layer.shares(x)  # (columns, rows, bins)
    assert (shares.diff(dim=1) >= 0).all()
    assert (shares[:, 0] == 0).all()
    assert (shares[:, -1] == 1).all()
    inside = (x[:, 0] > rows[:, 0].min()) & (x[:, 0] < rows[:, 0].max())
    below = shares.sum(-1)[0, inside]  # one bin or other tells any two numbers apart
    assert len(below) > 100
    assert (below.diff() > 0).all()


def test_equal_rows_make_fewer_bins() -> None:
    x = torch.tensor([0.0] * 90 + [1.0] * 9 + [5.0])[:, None].repeat(1, 2)
    x[:, 1] = 7.0
    layer = shown(PiecewiseLinear(bins=20, size=2), x)
    assert torch.isfinite(layer(x)).all()
    used = layer.inverse > 0
    assert 1 <= used[0].sum() <= 3
    assert used[1].sum() == 0
    assert torch.isfinite(layer(torch.full((1, 2), 1e6))).all()


def test_it_starts_as_a_linear_layer_and_its_bins_can_be_learnt() -> None:
    layer, x = build(PiecewiseLinear(bins=6, size=3), (2,)), torch.randn(9, 2)
    wanted = x[:, :, None] * layer.linear + layer.bias
    torch.testing.assert_close(layer(x), wanted.flatten(1))
    layer(x).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_bins_are_kept_with_the_weights() -> None:
    layer = shown(PiecewiseLinear(bins=5, size=2), torch.randn(300, 2) * 40)
    again = build(PiecewiseLinear(bins=5, size=2), (2,))
    again.load_state_dict(layer.state_dict())
    x = torch.randn(20, 2) * 40
    assert torch.equal(again.shares(x), layer.shares(x))


def test_what_cannot_be_is_refused() -> None:
    for layer in (PeriodicLinear(), PiecewiseLinear()):
        with pytest.raises(InfeasibleCandidate, match="input must be columns"):
            build(layer, (4, 3))
    with pytest.raises(InfeasibleCandidate, match="size must be at least 2, got 1"):
        build(PeriodicLinear(1), (3,))
    with pytest.raises(InfeasibleCandidate, match="bins must be at least 1, got 0"):
        build(PiecewiseLinear(0), (3,))
