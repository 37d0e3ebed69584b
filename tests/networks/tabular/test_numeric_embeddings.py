"""Numeric embeddings: formulas, bins from data, and independent columns."""

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
from netwright.networks.training.labelled_data import LabelledData


def initialised(layer: Network, x: Tensor) -> torch.nn.Module:
    module = build(layer, (x.shape[1],))
    initialize_from_data(module, LabelledData(x, torch.zeros(len(x))), seed=0)
    return module


def test_periodic_linear_matches_its_formula() -> None:
    layer, x = build(PeriodicLinear(3, frequencies=5), (2,)), torch.randn(6, 2)
    with torch.no_grad():
        out = layer(x).view(6, 2, 3)
    for i in range(2):
        waves = (2 * math.pi * x[:, i : i + 1] * layer.frequency[i] + layer.phase[i]).cos()
        torch.testing.assert_close(out[:, i, :2], waves @ layer.weight[i] + layer.bias[i])
        torch.testing.assert_close(out[:, i, 2], x[:, i])


def test_initial_frequencies_and_phases_have_their_distributions() -> None:
    layer = build(PeriodicLinear(2, frequencies=4000, sigma=0.3), (2,))
    assert layer.frequency.std().item() == pytest.approx(0.3, rel=0.05)
    assert layer.phase.min().item() == pytest.approx(-math.pi, abs=0.01)
    assert layer.phase.max().item() == pytest.approx(math.pi, abs=0.01)


@pytest.mark.parametrize("layer", [PeriodicLinear(4), PiecewiseLinear(6, 4)])
def test_columns_do_not_mix(layer: Network) -> None:
    module, x = build(layer, (3,)), torch.randn(5, 3)
    if isinstance(layer, PiecewiseLinear):
        torch.nn.init.normal_(module.weight)  # type: ignore[arg-type]
    moved = x.clone()
    moved[:, 1] += 1.0
    changed = (module(x) != module(moved)).any(0).view(3, 4)
    assert changed.any(1).tolist() == [False, True, False]


def test_bins_are_quantiles_with_exact_encodings_at_edges() -> None:
    x = torch.randn(4001, 1) ** 3
    layer = initialised(PiecewiseLinear(bins=8, size=2), x)
    edges = torch.quantile(x[:, 0].double(), torch.linspace(0, 1, 9, dtype=torch.float64)).float()
    encoding = layer.encode(edges[:, None])[0]  # (edges, bins)
    torch.testing.assert_close(encoding, torch.ones(9, 8).tril(-1), rtol=0, atol=1e-6)
    inside = ((x >= edges[:-1]) & (x < edges[1:])).sum(0)
    assert inside.max() - inside.min() <= 2


def test_encoding_increases_within_the_training_range() -> None:
    rows = torch.randn(500, 2)
    layer = initialised(PiecewiseLinear(bins=8, size=2), rows)
    x = torch.linspace(-50, 50, 3001)[:, None].expand(-1, 2)
    encoding = layer.encode(x)  # (columns, rows, bins)
    assert (encoding.diff(dim=1) >= 0).all()
    assert (encoding[:, 0] == 0).all()
    assert (encoding[:, -1] == 1).all()
    inside = (x[:, 0] > rows[:, 0].min()) & (x[:, 0] < rows[:, 0].max())
    below = encoding.sum(-1)[0, inside]  # strictly increasing: any two numbers differ
    assert len(below) > 100
    assert (below.diff() > 0).all()


def test_equal_rows_make_fewer_bins() -> None:
    x = torch.tensor([0.0] * 90 + [1.0] * 9 + [5.0])[:, None].repeat(1, 2)
    x[:, 1] = 7.0
    layer = initialised(PiecewiseLinear(bins=20, size=2), x)
    assert torch.isfinite(layer(x)).all()
    used = layer.inverse > 0
    assert 1 <= used[0].sum() <= 3
    assert used[1].sum() == 0
    assert torch.isfinite(layer(torch.full((1, 2), 1e6))).all()


def test_piecewise_linear_is_linear_at_first() -> None:
    layer, x = build(PiecewiseLinear(bins=6, size=3), (2,)), torch.randn(9, 2)
    expected = x[:, :, None] * layer.linear + layer.bias
    torch.testing.assert_close(layer(x), expected.flatten(1))
    layer(x).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_bins_are_saved_with_the_weights() -> None:
    layer = initialised(PiecewiseLinear(bins=5, size=2), torch.randn(300, 2) * 40)
    again = build(PiecewiseLinear(bins=5, size=2), (2,))
    again.load_state_dict(layer.state_dict())
    x = torch.randn(20, 2) * 40
    assert torch.equal(again.encode(x), layer.encode(x))


def test_invalid_embeddings_are_refused() -> None:
    for layer in (PeriodicLinear(), PiecewiseLinear()):
        with pytest.raises(InfeasibleCandidate, match="input must be columns"):
            build(layer, (4, 3))
    with pytest.raises(InfeasibleCandidate, match="size must be at least 2, got 1"):
        build(PeriodicLinear(1), (3,))
    with pytest.raises(InfeasibleCandidate, match="bins must be at least 1, got 0"):
        build(PiecewiseLinear(0), (3,))
