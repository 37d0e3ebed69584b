"""What a supernet holds is one value everywhere: in deeper copies and options not chosen, too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oneshot_tools import stripes

from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Dropout, GlobalPool, Pool, Skip
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.oneshot.gradient.finalize import finalize_search
from netwright.oneshot.gradient.held_decisions import all_decision_values, fixed_to_held
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.search import GradientSearch, split_in_halves
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.safeguards import NO_SAFEGUARDS
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared
from netwright.space.space import Space

WIDTH = OneOf(4, 8)
BLOCK = OneOf({"conv": Conv(WIDTH), "two": (Conv(WIDTH), Conv(4)), "pool": Pool()})
SPACES: dict[str, Network] = {
    "repeat": (Conv(4), Repeat((Conv(WIDTH), Dropout(Float(0, 0.5))), Integer(1, 3))),
    "nested": (Conv(4), Repeat(Repeat(Conv(WIDTH), Integer(1, 2)), Integer(1, 3))),
    "option": (Conv(4), OneOf({"skip": Skip(), "wide": (Conv(WIDTH), Conv(4))})),
    "blocks": (Conv(4), Repeat(BLOCK, Integer(1, 3))),
    "same": (Conv(4), Repeat(Conv(WIDTH), Integer(1, 3), same=True)),
    "named": (Conv(4), Repeat(Conv(WIDTH), Integer(0, 2, name="depth"))),
    "shared": (Conv(4), Repeat(Conv(Shared(WIDTH, "width")), Integer(1, 3)), OneOf(Skip(), Pool())),
    "without": (Conv(4), Repeat(Conv(WIDTH), OneOf(0, 3)), OneOf(Skip(), Pool())),
}  # fmt: skip


def opened(name: str) -> tuple[Space[Any], Network]:
    network = (*SPACES[name], GlobalPool("max"), Linear())  # type: ignore[misc]  # a tuple
    return Space(Training(network, lr=Float(1e-3, 1e-1, log=True))), network


@pytest.mark.parametrize("name", SPACES)
def test_whatever_is_drawn_is_a_network_of_the_supernet(name: str) -> None:
    space, network = opened(name)
    supernet = Supernet(network, (1, 6, 6), outputs=2).eval()
    held, rng = fixed_to_held(space, supernet), np.random.default_rng(0)
    drawn = {held.sample(rng) for _ in range(40)}
    assert len(drawn) > 1
    assert all(space.contains(candidate) for candidate in drawn)
    for candidate in drawn:
        assert supernet(torch.zeros(1, 1, 6, 6), supernet.one_hot(candidate)).shape == (1, 2)


@pytest.mark.parametrize("name", SPACES)
def test_networks_of_any_depth_are_ranked_at_the_end(name: str) -> None:
    space, network = opened(name)
    torch.manual_seed(0)
    settings = DifferentiableNAS(
        DARTS(), 1, 16, safeguards=replace(NO_SAFEGUARDS, networks=6, epochs=1)
    )
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    search = GradientSearch(space, supernet, split_in_halves(stripes(32), 0), settings)
    search.train_to(1)
    found = finalize_search(search, 8)
    assert any(one.name == "ranking" for one in found.findings)
    assert found.candidates
    assert all(space.contains(candidate) for candidate in found.candidates)
    assert len({candidate.values["lr"] for candidate in found.candidates}) == 1


def test_a_copy_that_is_not_there_has_the_values_of_the_copy_before() -> None:
    space, network = opened("repeat")
    start = Candidate(
        {"network.1.times": 1, "network.1.0.0.channels": 8, "network.1.0.1.p": 0.2, "lr": 0.01}
    )
    values = all_decision_values(space, start)
    assert {values[f"network.1.{i}.0.channels"] for i in range(3)} == {8}
    assert {values[f"network.1.{i}.1.p"] for i in range(3)} == {0.2}
    supernet = Supernet(network, (1, 6, 6), outputs=2, held_values=values)
    assert supernet.options == {"network.1.times": 3}
    deep = fixed_to_held(space.fix({"lr": 0.01, "network.1.times": 3}), supernet).default()
    assert [deep.values[f"network.1.{i}.0.channels"] for i in range(3)] == [8, 8, 8]
    assert supernet(torch.zeros(2, 1, 6, 6), supernet.one_hot(deep)).shape == (2, 2)


def test_nested_copies_have_the_values_of_the_outer_copy_before() -> None:
    space, _ = opened("nested")
    start = space.fix({"network.1.0.times": 2, "network.1.0.1.channels": 8}).default()
    values = all_decision_values(space, start)
    assert [values[f"network.1.{i}.{j}.channels"] for i in range(3) for j in range(2)] == [4, 8] * 3
    assert all_decision_values(space, space.default())["network.1.2.times"] == 1


def test_a_rule_that_no_held_candidate_passes_is_no_error() -> None:
    network = (Conv(OneOf(4, 8)), OneOf({"conv": Conv(), "skip": Skip()}), GlobalPool(), Linear())
    space = Space(Training(network), rule=lambda values: values["network.0.channels"] == 8)
    settings = DifferentiableNAS(
        DARTS(), 1, 16, safeguards=replace(NO_SAFEGUARDS, networks=4, decay=3.0)
    )
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    search = GradientSearch(space, supernet, split_in_halves(stripes(32), 0), settings)
    search.train_to(1)
    found = finalize_search(search, 3)
    assert found.candidates == ()
    assert any("only 0 networks trained alone" in one.message for one in found.findings)
    allowed = Supernet(network, (1, 6, 6), outputs=2, held_values={"network.0.channels": 8})
    search = GradientSearch(space, allowed, split_in_halves(stripes(32), 0), settings)
    search.train_to(1)
    assert len(finalize_search(search, 3).candidates) == 2
