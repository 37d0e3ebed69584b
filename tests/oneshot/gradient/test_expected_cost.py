"""The expected cost is the weighted mean of the operations' costs, and guides the search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import GlobalPool, Pool, Skip
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot.gradient.expected_cost import CostTerm, cost_table, expected_cost
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.search import GradientSearch, split_in_halves
from netwright.oneshot.gradient.settings import ArchitectureTraining, DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.safeguards import NO_SAFEGUARDS
from netwright.space.choices import Integer, OneOf, Repeat
from netwright.space.space import Space

OPEN: Network = (
    Conv(4), Repeat(OneOf({"conv": Conv(), "res": Residual(Conv(kernel=OneOf(1, 3))), "skip": Skip()}),
                    times=Integer(1, 3)),
    nas_bench_201(channels=4, cells=1)[1:-2], GlobalPool(), Linear(),
)  # fmt: skip


def count_kiloflops(module: torch.nn.Module, x: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops() / len(x) / 1e3


def test_expected_cost_under_one_hot_weights_is_the_candidates_cost() -> None:
    space = Space({"network": OPEN})
    supernet = Supernet(OPEN, (3, 8, 8), outputs=5)
    costs = cost_table(supernet, torch.zeros(2, 3, 8, 8), "flops")
    rng, n_checked = np.random.default_rng(0), 0
    while n_checked < 5:
        candidate = space.sample(rng)
        if not supernet.is_feasible(candidate) or "none" in candidate.values.values():
            continue  # what is dead is built no more, and so is what it alone feeds
        n_checked += 1
        module = build(space.fill(candidate)["network"], (3, 8, 8), outputs=5)
        cost = float(expected_cost(supernet, supernet.one_hot(candidate), costs))
        assert cost == pytest.approx(count_kiloflops(module, torch.zeros(2, 3, 8, 8)), rel=1e-6)


def test_choices_in_a_tower_cost_once_for_each_channel() -> None:
    conv = OneOf({"big": Conv(4, kernel=5), "small": Conv(4, kernel=1)})
    network = (ChannelTower((conv, GlobalPool())), Linear())
    space = Space({"network": network})
    supernet = Supernet(network, (3, 8, 8), outputs=5)
    costs = cost_table(supernet, torch.zeros(2, 3, 8, 8), "flops")
    (path,) = supernet.options
    for option in ("big", "small"):
        candidate = space.fix({path: option}).default()
        module = build(space.fill(candidate)["network"], (3, 8, 8), outputs=5)
        cost = float(expected_cost(supernet, supernet.one_hot(candidate), costs))
        assert cost == pytest.approx(count_kiloflops(module, torch.zeros(2, 3, 8, 8)), rel=1e-6)


def test_expected_cost_is_the_weighted_mean() -> None:
    network = (
        Conv(4),
        OneOf({"big": Conv(kernel=5), "small": Conv(kernel=1)}),
        GlobalPool(),
        Linear(),
    )
    supernet = Supernet(network, (3, 8, 8), outputs=5)
    costs = cost_table(supernet, torch.zeros(2, 3, 8, 8), "flops")
    (path,) = supernet.options

    def cost_at(big: float) -> float:
        return float(expected_cost(supernet, {path: torch.tensor([big, 1 - big])}, costs))

    assert cost_at(0.25) == pytest.approx(0.25 * cost_at(1) + 0.75 * cost_at(0))
    assert cost_at(1) > cost_at(0)


def test_measured_latency_grows_with_the_kernel() -> None:
    network = (
        Conv(16), OneOf({"big": Conv(kernel=9), "pool": Pool(), "skip": Skip()}), GlobalPool(), Linear()
    )  # fmt: skip
    supernet = Supernet(network, (3, 24, 24), outputs=5)
    costs = cost_table(supernet, torch.zeros(8, 3, 24, 24), "latency")
    by_option = [costs[module] for module in supernet.module[1].parts.children()]  # type: ignore[index,union-attr]
    assert by_option[0] > by_option[2] > 0


def test_cost_term_decides_between_equally_good_options() -> None:
    """Two options that compute the same, at different costs."""
    network = (
        Conv(4, normalisation="none"),
        OneOf({"dear": (Conv(64, kernel=5), Conv(4, kernel=1)), "cheap": Conv(4, kernel=1)}),
        GlobalPool(), Linear(),
    )  # fmt: skip
    random = torch.Generator().manual_seed(0)
    rows = LabelledData(torch.randn(64, 1, 6, 6, generator=random), torch.arange(64) % 2)

    def preferred(term: CostTerm | None) -> float:
        torch.manual_seed(0)
        steps = ArchitectureTraining(lr=0.05, cost=term)
        settings = DifferentiableNAS(
            DARTS(), 6, 16, architecture_training=steps, safeguards=NO_SAFEGUARDS
        )
        supernet = Supernet(network, (1, 6, 6), outputs=2)
        search = GradientSearch(
            Space({"network": network}), supernet, split_in_halves(rows, 0), settings
        )
        search.train_to(6)
        return next(iter(search.history[-1].scores.values()))[1]

    assert preferred(CostTerm("flops")) > preferred(None) + 0.05
