"""Gradient-based search finds planted architectures, and resumes where it was killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from oneshot_tools import stripes
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from netwright.errors import InfeasibleCandidate, InputError, RunError
from netwright.networks.layers.basic import GlobalPool, Pool, Skip, Zero
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.oneshot.gradient.expected_cost import CostTerm
from netwright.oneshot.gradient.relaxations import DARTS, GDAS, BetaDARTS, DrNAS, Relaxation
from netwright.oneshot.gradient.search import GradientSearch, split_in_halves
from netwright.oneshot.gradient.settings import (
    ArchitectureTraining,
    DifferentiableNAS,
    WeightTraining,
)
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.safeguards import NO_SAFEGUARDS, SupernetSafeguards
from netwright.space.choices import OneOf
from netwright.space.space import Space

OPTIONS = {"pool": Pool("avg"), "conv": Conv(), "skip": Skip()}
NETWORK = (Conv(6, kernel=1), OneOf(OPTIONS), GlobalPool("max"), Linear())
SPACE = Space({"network": NETWORK})
ARCHITECTURE = ArchitectureTraining(lr=0.05)
FAST = DifferentiableNAS(DARTS(), 8, 16, 1, WeightTraining(lr=0.1), ARCHITECTURE, NO_SAFEGUARDS)


def make_search(
    settings: DifferentiableNAS = FAST, seed: int = 0, **options: Any
) -> GradientSearch:
    torch.manual_seed(seed)
    network = options.pop("network", NETWORK)
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    space = Space({"network": network})
    return GradientSearch(space, supernet, split_in_halves(stripes(), 0), settings, seed, **options)


@pytest.mark.parametrize(
    "relaxation",
    [
        DARTS(),
        BetaDARTS(max_coefficient=0.1),
        GDAS(initial_temperature=3, final_temperature=0.5),
        DrNAS(),
    ],
)
@pytest.mark.parametrize("order", [1, 2])
def test_search_finds_the_only_informative_operation(relaxation: Relaxation, order: int) -> None:
    search = make_search(
        replace(
            FAST, relaxation=relaxation, architecture_training=replace(ARCHITECTURE, order=order)
        )
    )
    (best,) = search.candidates(8)
    assert best.values["network.1"] == "conv"
    assert search.history[-1].train_loss < 0.62 < search.history[0].train_loss


def state(search: GradientSearch) -> list[Tensor]:
    return [*search.supernet.state_dict().values(), *search.alpha.values()]


@pytest.mark.parametrize("relaxation", [DARTS(), GDAS(), DrNAS()])
def test_resume_between_epochs_is_bit_identical(relaxation: Relaxation, tmp_path: Path) -> None:
    settings = replace(FAST, relaxation=relaxation, epochs=4)
    straight = make_search(settings)
    straight.train_to(4)
    for epoch in (1, 3, 4):  # three lives, one folder
        alive = make_search(settings, folder=tmp_path)
        assert len(alive.history) == {1: 0, 3: 1, 4: 3}[epoch]
        alive.train_to(epoch)
    assert alive.history == straight.history
    assert all(torch.equal(a, b) for a, b in zip(state(alive), state(straight), strict=True))


def test_candidates_of_an_epoch_do_not_depend_on_later_epochs() -> None:
    ahead, asked = make_search(), make_search()
    ahead.train_to(5)
    assert [ahead.candidates(n) for n in range(6)] == [asked.candidates(n) for n in range(6)]
    assert ahead.history[1] == asked.history[1]
    other = make_search(seed=1)
    other.train_to(1)
    assert other.history[0] != ahead.history[0]


@pytest.mark.parametrize("spoil", ["empty", "cut", "link", "tensors", "record"])
def test_damaged_checkpoint_is_refused(spoil: str, tmp_path: Path) -> None:
    run = tmp_path / "supernet"
    make_search(folder=run).train_to(1)
    (path,) = run.iterdir()
    tensors = load(path.read_bytes())
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    if spoil == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif spoil == "tensors":
        path.write_bytes(save({name: torch.zeros(3) for name in tensors}, metadata))
    elif spoil == "record":
        path.write_bytes(save(tensors, metadata | {"record": '[["low", 2, {}]]'}))
    else:
        path.write_bytes(b"" if spoil == "empty" else path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"state\.safetensors"):
        make_search(folder=run)


def test_checkpoint_of_another_search_is_refused(tmp_path: Path) -> None:
    make_search(folder=tmp_path).train_to(1)
    deeper = (*NETWORK[:2], Conv(2), *NETWORK[2:])
    for other in ({"network": deeper}, {"seed": 1}, {"settings": replace(FAST, batch_size=8)}):
        with pytest.raises(RunError, match=r"must hold a checkpoint of .* Use another folder\."):
            make_search(**other, folder=tmp_path)  # type: ignore[arg-type]  # any of them
    assert len(make_search(folder=tmp_path).history) == 1


def test_infeasible_top_candidates_are_left_out() -> None:
    op = OneOf({"none": Zero(), "skip": Skip(), "conv": Conv(3)})
    network = (Conv(3), Graph({"1": Node({"in": op})}), GlobalPool(), Linear())
    search = make_search(network=network)
    (path,) = search.alpha
    with torch.no_grad():
        search.alpha[path].copy_(torch.tensor([3.0, 0.0, 1.0]))
    search._initial_scores = search._option_scores()
    assert [candidate.values[path] for candidate in search.candidates(0, 3)] == ["conv", "skip"]


def test_architecture_is_constant_during_warmup() -> None:
    search = make_search(replace(FAST, architecture_training=replace(ARCHITECTURE, warmup=0.5)))
    before = {path: a.detach().clone() for path, a in search.alpha.items()}
    search.train_to(4)
    assert all(torch.equal(before[path], a) for path, a in search.alpha.items())
    search.train_to(5)
    assert not any(torch.equal(before[path], a) for path, a in search.alpha.items())


def test_second_order_changes_the_training() -> None:
    first, second = (
        make_search(),
        make_search(replace(FAST, architecture_training=replace(ARCHITECTURE, order=2))),
    )
    first.train_to(1)
    second.train_to(1)
    assert first.history != second.history


def test_infeasible_path_is_drawn_again() -> None:
    op = OneOf({"none": Zero(), "conv": Conv(3)})
    cell = Graph({"1": Node({"in": op})})
    network = (Conv(3), cell, GlobalPool(), Linear())
    search = make_search(replace(FAST, relaxation=GDAS(), epochs=2), network=network)
    search.train_to(2)  # half of the draws are dead
    still = replace(ARCHITECTURE, lr=0.0)
    dead = replace(FAST, relaxation=GDAS(), epochs=1, architecture_training=still)
    stuck = make_search(dead, network=network)
    with torch.no_grad():
        for a in stuck.alpha.values():
            a.copy_(torch.tensor([100.0, -100.0]))
    with pytest.raises(InfeasibleCandidate, match="live route"):
        stuck.train_to(1)


def test_settings_and_epochs_are_validated() -> None:
    for make, settings, sentence in (
        (ArchitectureTraining, {"order": 3}, "order must be 1 or 2, got 3"),
        (
            DifferentiableNAS,
            {"relaxation": "darts"},
            "relaxation must be a relaxation, such as DrNAS",
        ),
        (DifferentiableNAS, {"epochs": 0}, "epochs must be at least 1, got 0"),
        (ArchitectureTraining, {"warmup": 1.0}, "warmup must be from 0 to below 1, got 1.0"),
        (
            SupernetSafeguards,
            {"n_ranking_networks": -1},
            "n_ranking_networks must be at least 0, got -1",
        ),
        (
            SupernetSafeguards,
            {"n_ranking_networks": 2.5},
            "n_ranking_networks must be a whole number of at least 0, got 2.5",
        ),
        (SupernetSafeguards, {"power_iterations": 0}, "power_iterations must be at least 1, got 0"),
        (CostTerm, {"metric": "size"}, "metric must be latency or flops, got 'size'"),
    ):
        wrong: Any = settings
        with pytest.raises(InputError, match=sentence):
            make(**wrong)
    with pytest.raises(InputError, match="epoch must be from 0 to the 8 of the settings, got 9"):
        make_search().candidates(9)
    with pytest.raises(InputError, match="rows must be at least 4, got 2"):
        split_in_halves(stripes(2), 0)


def test_cost_table_uses_the_batch_size_of_the_cost_term(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def cost_table(
        supernet: Supernet, example: Tensor, metric: str
    ) -> dict[torch.nn.Module, float]:
        seen.append(len(example))
        return {}

    monkeypatch.setattr("netwright.oneshot.gradient.alternating_optimizer.cost_table", cost_table)
    make_search()
    assert seen == []  # no term, no look
    for rows in (8, 48):
        steps = replace(ARCHITECTURE, cost=CostTerm("flops", batch_size=rows))
        make_search(replace(FAST, architecture_training=steps))
    assert seen == [8, 48]
