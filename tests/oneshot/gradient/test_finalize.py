"""The end of a search: what was planted is seen, and the remedy is applied."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from oneshot_tools import stripes

from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import GlobalPool, Pool, Skip
from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.oneshot.gradient.finalize import finalize_search
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.search import (
    DECAYED,
    STOPPED,
    EpochRecord,
    GradientSearch,
    split_in_halves,
)
from netwright.oneshot.gradient.settings import (
    ArchitectureTraining,
    DifferentiableNAS,
    WeightTraining,
)
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.monitor import find_alarms
from netwright.oneshot.safeguards import NO_SAFEGUARDS, SupernetSafeguards
from netwright.space.choices import OneOf
from netwright.space.space import Space

OPTIONS = {"pool": Pool("avg"), "conv": Conv(), "skip": Skip()}
NETWORK: Network = (
    Conv(6, kernel=1), OneOf(OPTIONS), OneOf(OPTIONS), GlobalPool("max"), Linear()
)  # fmt: skip
QUIET = replace(NO_SAFEGUARDS, perturb=1.0)
SETTINGS = DifferentiableNAS(
    DARTS(), 8, 16, weights=WeightTraining(lr=0.1), architecture=ArchitectureTraining(lr=0.05),
    safeguards=NO_SAFEGUARDS,
)  # fmt: skip


def search(
    settings: DifferentiableNAS = SETTINGS, network: Network = NETWORK, **more: Any
) -> GradientSearch:
    torch.manual_seed(0)
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    return GradientSearch(
        Space({"network": network}), supernet, split_in_halves(stripes(192), 0), settings, **more
    )


def test_a_sound_search_is_believed_and_its_candidates_come_in_order() -> None:
    found = search(replace(SETTINGS, honesty=replace(NO_SAFEGUARDS, every=2)))
    found.train()
    came_to = finalize_search(found, 4)
    assert came_to.selected_by == "alpha"
    assert came_to.trusted
    assert not find_alarms(came_to.findings)
    assert {one.name for one in came_to.findings} == {"sharpness", "gap", "skips"}
    assert len(came_to.candidates) == 4
    assert "conv" in came_to.candidates[0].values.values()


def test_where_skips_took_over_options_are_chosen_by_what_their_loss_costs() -> None:
    found = search(replace(SETTINGS, honesty=QUIET))
    found.train()
    with torch.no_grad():
        for alpha in found.alpha.values():
            alpha.copy_(torch.tensor([0.0, 0.0, 1.0]))
    found.history[-1] = found.history[-1]._replace(scores=found._scores())
    assert [*found.top_candidates(found.scores_after(8), 1)[0].values.values()] == ["skip", "skip"]
    came_to = finalize_search(found, 1)
    assert came_to.selected_by == "perturbation"
    assert "conv" in came_to.candidates[0].values.values()
    plain = search()
    plain.history = found.history
    assert finalize_search(plain, 1).selected_by == "alpha"  # the remedy is switched off


def test_weights_that_rank_as_chance_would_are_not_trusted() -> None:
    cell = nas_bench_201(channels=4, cells=1)
    honesty = replace(NO_SAFEGUARDS, networks=4, epochs=1)
    untrained = search(replace(SETTINGS, epochs=1, honesty=honesty), cell)
    untrained.space = Space({"network": cell})
    came_to = finalize_search(untrained, 1)
    ranking = next(one for one in came_to.findings if one.name == "ranking")
    assert ranking.alarm
    assert not came_to.trusted


def test_what_has_learnt_nothing_is_said_to_be_untrained() -> None:
    found = search(replace(SETTINGS, weights=WeightTraining(lr=1e-6, min_lr=0.0), honesty=QUIET))
    found.train_to(1)
    came_to = finalize_search(found, 1)
    assert not came_to.trusted
    assert came_to.selected_by == "alpha"  # by the same weights nothing can be chosen better
    assert any("hardly trained" in one.message for one in came_to.findings)


def epoch(eigenvalue: float, skip: float = 0.1, remedy: str = "") -> EpochRecord:
    scores = {path: [0.3, 0.3, skip] for path in ("network.1", "network.2")}
    return EpochRecord(0.5, 0.5, scores, 0.1, eigenvalue, remedy)


def test_a_search_that_goes_over_a_cliff_stops_and_steps_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = replace(SETTINGS, epochs=50, honesty=replace(NO_SAFEGUARDS, every=1, stop=True))
    found = search(watched)
    values = iter([1.0] * 9 + [2.0] * 20)
    monkeypatch.setattr(GradientSearch, "_eigenvalue", lambda *_: next(values))
    found.train()
    assert found.is_finished
    assert found.history[-1].remedy == STOPPED
    assert len(found.history) == 11  # the mean of five is 1.4 times that of the five before
    assert found.sound == 6
    off = search(replace(watched, honesty=NO_SAFEGUARDS, epochs=12))
    off.train()
    assert len(off.history) == 12


def test_skips_are_answered_by_more_decay_twice_at_most() -> None:
    found = search(replace(SETTINGS, epochs=6, honesty=replace(NO_SAFEGUARDS, decay=3.0)))
    with torch.no_grad():
        for alpha in found.alpha.values():
            alpha.copy_(torch.tensor([0.0, 0.0, 5.0]))
    decays = []
    for number in range(1, 5):
        found.train_to(number)
        decays.append(found.optimizer.weight_optimizer.param_groups[0]["weight_decay"])
    assert decays == pytest.approx([3e-4, 9e-4, 27e-4, 27e-4])
    assert [one.remedy for one in found.history] == [DECAYED, DECAYED, "", ""]


def test_time_is_kept_and_the_schedule_runs_its_whole_course() -> None:
    found = search(
        replace(
            SETTINGS,
            epochs=100_000,
            honesty=SupernetSafeguards(
                eigenvalue_interval=0, n_ranking_networks=2, ranking_epochs=100_000
            ),
        )
    )
    begun = time.monotonic()
    found.train(begun + 0.5)
    assert found.is_finished
    assert found.history[-1].progress == 1
    assert (
        found.optimizer.weight_optimizer.param_groups[0]["lr"] < 0.02
    )  # of .1, where .001 is the least
    came_to = finalize_search(found, 3, begun + 1.0)
    assert time.monotonic() - begun < 4
    assert came_to.candidates


def test_when_there_was_no_time_to_look_shared_weights_are_not_trusted() -> None:
    found = search(replace(SETTINGS, honesty=replace(NO_SAFEGUARDS, networks=8, epochs=1)))
    found.train_to(8)
    came_to = finalize_search(found, 1, time.monotonic() - 1)
    assert not came_to.trusted
    assert any("only 0 networks trained alone" in one.message for one in came_to.findings)
