"""Weights that start from data: who sees what, in which order, and that nothing else changes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netwright.networks.build import build
from netwright.networks.layers.basic import Dropout, Norm
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.realmlp_layers import NTKLinear
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.loop import LabelledData

ROWS = LabelledData(
    torch.randn(300, 4, generator=torch.Generator().manual_seed(3)) * 7, torch.arange(300)
)


class Doubles(nn.Module):
    """Notes what it is shown, and multiplies by 2 from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.factor, self.seen = 1.0, torch.zeros(0)
        self.targets = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def start_from(self, x: Tensor, targets: Tensor) -> None:
        self.factor, self.seen, self.targets = 2.0, x.clone(), targets.clone()


def test_a_layer_is_shown_what_reaches_it_once_those_before_it_have_started() -> None:
    first, second = Doubles(), Doubles()
    initialize_from_data(nn.Sequential(first, second), ROWS, seed=0)
    assert torch.equal(second.seen, first.seen * 2)
    assert torch.equal(ROWS.inputs[first.targets], first.seen)
    assert sorted(first.targets.tolist()) == list(range(300))


def test_no_more_than_some_thousand_rows_are_looked_at() -> None:
    module, rows = Doubles(), LabelledData(torch.arange(20_000.0)[:, None], torch.zeros(20_000))
    initialize_from_data(module, rows, seed=0)
    assert 1000 <= len(module.seen) <= 10_000
    assert module.seen.max() > 15_000  # of all of them


def test_the_seed_decides_and_the_global_generator_stays() -> None:
    def started(seed: int) -> Tensor:
        torch.manual_seed(11)
        module = build((NTKLinear(9), NTKLinear(2)), (4,))
        before = torch.get_rng_state()
        initialize_from_data(module, ROWS, seed)
        assert torch.equal(torch.get_rng_state(), before)
        return nn.utils.parameters_to_vector(module.parameters()).detach()

    assert torch.equal(started(1), started(1))
    assert not torch.equal(started(1), started(2))


def test_layers_that_do_not_start_are_left_as_they_are() -> None:
    module = build((Linear(5), Norm(), Dropout(0.5), NTKLinear(3)), (4,))
    kept = {k: v.clone() for k, v in module.state_dict().items() if not k.startswith("3.")}
    initialize_from_data(module, ROWS, seed=0)
    for name, value in kept.items():
        assert torch.equal(module.state_dict()[name], value)
    assert not module[3]._forward_pre_hooks
