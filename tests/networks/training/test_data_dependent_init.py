"""Data-dependent initialisation: which layer sees which rows, in which order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netwright.networks.build import build
from netwright.networks.layers.basic import Dropout, Flatten, Norm
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.realmlp_layers import NTKLinear
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.labelled_data import LabelledData

ROWS = LabelledData(
    torch.randn(300, 4, generator=torch.Generator().manual_seed(3)) * 7, torch.arange(300)
)


class Doubling(nn.Module):
    """Records its initialisation rows, and multiplies by 2 from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.factor, self.seen = 1.0, torch.zeros(0)
        self.targets = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        self.factor, self.seen, self.targets = 2.0, x.clone(), targets.clone()


def test_layers_are_initialised_in_the_order_they_run() -> None:
    first, second = Doubling(), Doubling()
    initialize_from_data(nn.Sequential(first, second), ROWS, seed=0)
    assert torch.equal(second.seen, first.seen * 2)
    assert torch.equal(ROWS.inputs[first.targets], first.seen)
    assert sorted(first.targets.tolist()) == list(range(300))


def test_at_most_some_thousand_rows_are_used() -> None:
    module, rows = Doubling(), LabelledData(torch.arange(20_000.0)[:, None], torch.zeros(20_000))
    initialize_from_data(module, rows, seed=0)
    assert 1000 <= len(module.seen) <= 10_000
    assert module.seen.max() > 15_000  # a sample of all rows


def test_initialisation_depends_on_the_seed_alone() -> None:
    def initialised(seed: int) -> Tensor:
        torch.manual_seed(11)
        module = build((NTKLinear(9), NTKLinear(2)), (4,))
        before = torch.get_rng_state()
        initialize_from_data(module, ROWS, seed)
        assert torch.equal(torch.get_rng_state(), before)
        return nn.utils.parameters_to_vector(module.parameters()).detach()

    assert torch.equal(initialised(1), initialised(1))
    assert not torch.equal(initialised(1), initialised(2))


def test_other_layers_are_left_alone() -> None:
    module = build((Linear(5), Norm(), Dropout(0.5), NTKLinear(3)), (4,))
    others = {k: v.clone() for k, v in module.state_dict().items() if not k.startswith("3.")}
    initialize_from_data(module, ROWS, seed=0)
    for name, tensor in others.items():
        assert torch.equal(module.state_dict()[name], tensor)
    assert not module[3]._forward_pre_hooks


def test_layers_after_the_last_initialised_one_do_not_run() -> None:
    class Refusing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    first, last = Doubling(), Doubling()
    initialize_from_data(nn.Sequential(first, Norm().build((4,)), last, Refusing()), ROWS, seed=0)
    assert len(last.seen) == len(first.seen) == 300
    assert not last._forward_pre_hooks


def test_large_images_need_fewer_rows() -> None:
    def rows_seen(side: int) -> int:
        images = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(9000, 1, side, side)
        module = Doubling()
        initialize_from_data(module, LabelledData(images, torch.zeros(9000)), seed=0)
        return len(module.seen)

    assert rows_seen(8) == 8192
    assert 256 < rows_seen(32) < 2000
    assert rows_seen(96) == 256


def test_tower_hands_each_row_s_target_to_all_its_channels() -> None:
    images = torch.arange(10.0).repeat_interleave(3).view(10, 3, 1, 1)  # the row's number
    module = build(ChannelTower(Flatten(), hidden=0), (3, 1, 1))
    body = Doubling()
    module.parts["body"] = nn.Sequential(nn.Flatten(), body)  # type: ignore[operator, index]
    initialize_from_data(module, LabelledData(images, torch.arange(10)), seed=0)
    assert len(body.seen) == 30
    assert torch.equal(body.seen[:, 0], body.targets.float())
