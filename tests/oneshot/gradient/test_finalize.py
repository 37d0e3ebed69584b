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
from netwright.oneshot.gradient.finalize import conclude
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.search import DECAYED, STOPPED, EpochRecord, GradientSearch, halves
from netwright.oneshot.gradient.settings import ArchitectureSteps, Gradient, WeightSteps
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.monitor import alarms
from netwright.oneshot.safeguards import UNWATCHED, Honesty
from netwright.space.choices import OneOf
from netwright.space.space import Space

OPTIONS = {"pool": Pool("avg"), "conv": Conv(), "skip": Skip()}
NETWORK: Network = (
    Conv(6, kernel=1), OneOf(OPTIONS), OneOf(OPTIONS), GlobalPool("max"), Linear()
)  # fmt: skip
QUIET = replace(UNWATCHED, perturb=1.0)
SETTINGS = Gradient(
    DARTS(), 8, 16, weights=WeightSteps(lr=0.1), architecture=ArchitectureSteps(lr=0.05),
    honesty=UNWATCHED,
)  # fmt: skip


def search(
    settings: Gradient = SETTINGS, network: Network = NETWORK, **more: Any
) -> GradientSearch:
    torch.manual_seed(0)
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    return GradientSearch(
        Space({"network": network}), supernet, halves(stripes(192), 0), settings, **more
    )


def test_a_sound_search_is_believed_and_its_candidates_come_in_order() -> None:
    found = search(replace(SETTINGS, honesty=replace(UNWATCHED, every=2)))
    found.train()
    came_to = conclude(found, 4)
    assert came_to.by == "alpha"
    assert came_to.trusted
    assert not alarms(came_to.findings)
    assert {one.name for one in came_to.findings} == {"sharpness", "gap", "skips"}
    assert len(came_to.candidates) == 4
    assert "conv" in came_to.candidates[0].values.values()


def test_where_skips_took_over_options_are_chosen_by_what_their_loss_costs() -> None:
    found = search(replace(SETTINGS, honesty=QUIET))
    found.train()
    with torch.no_grad():
        for alpha in found.alpha.values():
            alpha.copy_(torch.tensor([0.0, 0.0, 1.0]))
    found.record[-1] = found.record[-1]._replace(scores=found._scores())
    assert [*found.preferred(found.scores_after(8), 1)[0].values.values()] == ["skip", "skip"]
    came_to = conclude(found, 1)
    assert came_to.by == "perturbation"
    assert "conv" in came_to.candidates[0].values.values()
    plain = search()
    plain.record = found.record
    assert conclude(plain, 1).by == "alpha"  # the remedy is switched off


def test_weights_that_rank_as_chance_would_are_not_trusted() -> None:
    cell = nas_bench_201(channels=4, cells=1)
    honesty = replace(UNWATCHED, networks=4, epochs=1)
    untrained = search(replace(SETTINGS, epochs=1, honesty=honesty), cell)
    untrained.space = Space({"network": cell})
    came_to = conclude(untrained, 1)
    ranking = next(one for one in came_to.findings if one.name == "ranking")
    assert ranking.alarm
    assert not came_to.trusted


def test_what_has_learnt_nothing_is_said_to_be_untrained() -> None:
    found = search(replace(SETTINGS, weights=WeightSteps(lr=1e-6, least_lr=0.0), honesty=QUIET))
    found.train_to(1)
    came_to = conclude(found, 1)
    assert not came_to.trusted
    assert came_to.by == "alpha"  # by the same weights nothing can be chosen better
    assert any("hardly trained" in one.says for one in came_to.findings)


def epoch(eigenvalue: float, skip: float = 0.1, remedy: str = "") -> EpochRecord:
    scores = {path: [0.3, 0.3, skip] for path in ("network.1", "network.2")}
    return EpochRecord(0.5, 0.5, scores, 0.1, eigenvalue, remedy)


def test_a_search_that_goes_over_a_cliff_stops_and_steps_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = replace(SETTINGS, epochs=50, honesty=replace(UNWATCHED, every=1, stop=True))
    found = search(watched)
    values = iter([1.0] * 9 + [2.0] * 20)
    monkeypatch.setattr(GradientSearch, "_eigenvalue", lambda *_: next(values))
    found.train()
    assert found.over
    assert found.record[-1].remedy == STOPPED
    assert len(found.record) == 11  # the mean of five is 1.4 times that of the five before
    assert found.sound == 6
    off = search(replace(watched, honesty=UNWATCHED, epochs=12))
    off.train()
    assert len(off.record) == 12


def test_skips_are_answered_by_more_decay_twice_at_most() -> None:
    found = search(replace(SETTINGS, epochs=6, honesty=replace(UNWATCHED, decay=3.0)))
    with torch.no_grad():
        for alpha in found.alpha.values():
            alpha.copy_(torch.tensor([0.0, 0.0, 5.0]))
    decays = []
    for number in range(1, 5):
        found.train_to(number)
        decays.append(found.steps.optimizer.param_groups[0]["weight_decay"])
    assert decays == pytest.approx([3e-4, 9e-4, 27e-4, 27e-4])
    assert [one.remedy for one in found.record] == [DECAYED, DECAYED, "", ""]


def test_time_is_kept_and_the_schedule_runs_its_whole_course() -> None:
    found = search(
        replace(SETTINGS, epochs=100_000, honesty=Honesty(every=0, networks=2, epochs=100_000))
    )
    begun = time.monotonic()
    found.train(begun + 0.5)
    assert found.over
    assert found.record[-1].progress == 1
    assert found.steps.optimizer.param_groups[0]["lr"] < 0.02  # of .1, where .001 is the least
    came_to = conclude(found, 3, begun + 1.0)
    assert time.monotonic() - begun < 4
    assert came_to.candidates


def test_when_there_was_no_time_to_look_shared_weights_are_not_trusted() -> None:
    found = search(replace(SETTINGS, honesty=replace(UNWATCHED, networks=8, epochs=1)))
    found.train_to(8)
    came_to = conclude(found, 1, time.monotonic() - 1)
    assert not came_to.trusted
    assert any("only 0 networks trained alone" in one.says for one in came_to.findings)
