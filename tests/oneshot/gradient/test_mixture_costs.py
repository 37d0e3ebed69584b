"""The cost of a mixture is the mean of what its parts cost, and pulls where the loss does not."""

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
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.loop import LabelledData
from netwright.oneshot.gradient.expected_cost import CostTerm, expected_cost, table
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


def counted(module: torch.nn.Module, x: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops() / len(x) / 1e3


def test_under_one_hot_weights_it_is_what_the_candidate_costs() -> None:
    space = Space({"network": OPEN})
    supernet = Supernet(OPEN, (3, 8, 8), outputs=5)
    costs = table(supernet, torch.zeros(2, 3, 8, 8), "flops")
    draw, seen = np.random.default_rng(0), 0
    while seen < 5:
        candidate = space.sample(draw)
        if not supernet.is_feasible(candidate) or "none" in candidate.values.values():
            continue  # what is dead is built no more, and so is what it alone feeds
        seen += 1
        module = build(space.fill(candidate)["network"], (3, 8, 8), outputs=5)
        found = float(expected_cost(supernet, supernet.one_hot(candidate), costs))
        assert found == pytest.approx(counted(module, torch.zeros(2, 3, 8, 8)), rel=1e-6)


def test_a_mixture_costs_the_mean() -> None:
    network = (
        Conv(4),
        OneOf({"big": Conv(kernel=5), "small": Conv(kernel=1)}),
        GlobalPool(),
        Linear(),
    )
    supernet = Supernet(network, (3, 8, 8), outputs=5)
    costs = table(supernet, torch.zeros(2, 3, 8, 8), "flops")
    (path,) = supernet.options

    def of(big: float) -> float:
        return float(expected_cost(supernet, {path: torch.tensor([big, 1 - big])}, costs))

    assert of(0.25) == pytest.approx(0.25 * of(1) + 0.75 * of(0))
    assert of(1) > of(0)


def test_the_measured_latency_of_a_large_kernel_is_larger() -> None:
    network = (
        Conv(16), OneOf({"big": Conv(kernel=9), "pool": Pool(), "skip": Skip()}), GlobalPool(), Linear()
    )  # fmt: skip
    supernet = Supernet(network, (3, 24, 24), outputs=5)
    costs = table(supernet, torch.zeros(8, 3, 24, 24), "latency")
    by_option = [costs[part] for part in supernet.module[1].parts.children()]  # type: ignore[index,union-attr]
    assert by_option[0] > by_option[2] > 0


def test_where_the_loss_is_indifferent_the_term_decides() -> None:
    """Two options that compute alike: only the price tells them apart."""
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
        settings = DifferentiableNAS(DARTS(), 6, 16, architecture=steps, safeguards=NO_SAFEGUARDS)
        supernet = Supernet(network, (1, 6, 6), outputs=2)
        search = GradientSearch(
            Space({"network": network}), supernet, split_in_halves(rows, 0), settings
        )
        search.train_to(6)
        return next(iter(search.history[-1].scores.values()))[1]

    assert preferred(CostTerm("flops")) > preferred(None) + 0.05
