"""Held decisions have one value everywhere: in deeper copies and options not chosen, too."""

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
from netwright.oneshot.gradient.held_decisions import all_decision_values, fix_unmixed_decisions
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


def open_space(name: str) -> tuple[Space[Any], Network]:
    network = (*SPACES[name], GlobalPool("max"), Linear())  # type: ignore[misc]  # a tuple
    return Space(Training(network, lr=Float(1e-3, 1e-1, log=True))), network


@pytest.mark.parametrize("name", SPACES)
def test_candidates_of_the_fixed_space_fit_the_supernet(name: str) -> None:
    space, network = open_space(name)
    supernet = Supernet(network, (1, 6, 6), outputs=2).eval()
    held, rng = fix_unmixed_decisions(space, supernet), np.random.default_rng(0)
    drawn = {held.sample(rng) for _ in range(40)}
    assert len(drawn) > 1
    assert all(space.contains(candidate) for candidate in drawn)
    for candidate in drawn:
        assert supernet(torch.zeros(1, 1, 6, 6), supernet.one_hot(candidate)).shape == (1, 2)


@pytest.mark.parametrize("name", SPACES)
def test_rank_check_handles_networks_of_any_depth(name: str) -> None:
    space, network = open_space(name)
    torch.manual_seed(0)
    settings = DifferentiableNAS(
        DARTS(), 1, 16, safeguards=replace(NO_SAFEGUARDS, n_ranking_networks=6, ranking_epochs=1)
    )
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    search = GradientSearch(space, supernet, split_in_halves(stripes(32), 0), settings)
    search.train_to(1)
    outcome = finalize_search(search, 8)
    assert any(finding.name == "ranking" for finding in outcome.findings)
    assert outcome.candidates
    assert all(space.contains(candidate) for candidate in outcome.candidates)
    assert len({candidate.values["lr"] for candidate in outcome.candidates}) == 1


def test_missing_copies_take_values_of_the_copy_before() -> None:
    space, network = open_space("repeat")
    start = Candidate(
        {"network.1.times": 1, "network.1.0.0.channels": 8, "network.1.0.1.p": 0.2, "lr": 0.01}
    )
    values = all_decision_values(space, start)
    assert {values[f"network.1.{i}.0.channels"] for i in range(3)} == {8}
    assert {values[f"network.1.{i}.1.p"] for i in range(3)} == {0.2}
    supernet = Supernet(network, (1, 6, 6), outputs=2, held_values=values)
    assert supernet.options == {"network.1.times": 3}
    deep = fix_unmixed_decisions(space.fix({"lr": 0.01, "network.1.times": 3}), supernet).default()
    assert [deep.values[f"network.1.{i}.0.channels"] for i in range(3)] == [8, 8, 8]
    assert supernet(torch.zeros(2, 1, 6, 6), supernet.one_hot(deep)).shape == (2, 2)


def test_nested_copies_take_values_of_the_outer_copy_before() -> None:
    space, _ = open_space("nested")
    start = space.fix({"network.1.0.times": 2, "network.1.0.1.channels": 8}).default()
    values = all_decision_values(space, start)
    assert [values[f"network.1.{i}.{j}.channels"] for i in range(3) for j in range(2)] == [4, 8] * 3
    assert all_decision_values(space, space.default())["network.1.2.times"] == 1


def test_rule_against_all_held_candidates_is_no_error() -> None:
    network = (Conv(OneOf(4, 8)), OneOf({"conv": Conv(), "skip": Skip()}), GlobalPool(), Linear())
    space = Space(Training(network), rule=lambda values: values["network.0.channels"] == 8)
    settings = DifferentiableNAS(
        DARTS(),
        1,
        16,
        safeguards=replace(NO_SAFEGUARDS, n_ranking_networks=4, weight_decay_factor=3.0),
    )
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    search = GradientSearch(space, supernet, split_in_halves(stripes(32), 0), settings)
    search.train_to(1)
    outcome = finalize_search(search, 3)
    assert outcome.candidates == ()
    assert any("only 0 networks trained alone" in finding.message for finding in outcome.findings)
    allowed = Supernet(network, (1, 6, 6), outputs=2, held_values={"network.0.channels": 8})
    search = GradientSearch(space, allowed, split_in_halves(stripes(32), 0), settings)
    search.train_to(1)
    assert len(finalize_search(search, 3).candidates) == 2
