"""Final checks of a search detect planted failures, and remedies are applied."""

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
PERTURBATION_ONLY = replace(NO_SAFEGUARDS, perturbation_epochs=1.0)
SETTINGS = DifferentiableNAS(
    DARTS(), 8, 16, weight_training=WeightTraining(lr=0.1),
    architecture_training=ArchitectureTraining(lr=0.05),
    safeguards=NO_SAFEGUARDS,
)  # fmt: skip


def make_search(
    settings: DifferentiableNAS = SETTINGS, network: Network = NETWORK, **options: Any
) -> GradientSearch:
    torch.manual_seed(0)
    supernet = Supernet(network, (1, 6, 6), outputs=2)
    return GradientSearch(
        Space({"network": network}), supernet, split_in_halves(stripes(192), 0), settings, **options
    )


def test_sound_search_has_no_alarms_and_is_trusted() -> None:
    search = make_search(
        replace(SETTINGS, safeguards=replace(NO_SAFEGUARDS, eigenvalue_interval=2))
    )
    search.train()
    outcome = finalize_search(search, 4)
    assert outcome.selected_by == "alpha"
    assert outcome.trusted
    assert not find_alarms(outcome.findings)
    assert {finding.name for finding in outcome.findings} == {"sharpness", "gap", "skips"}
    assert len(outcome.candidates) == 4
    assert "conv" in outcome.candidates[0].values.values()


def test_skip_dominance_triggers_selection_by_perturbation() -> None:
    search = make_search(replace(SETTINGS, safeguards=PERTURBATION_ONLY))
    search.train()
    with torch.no_grad():
        for alpha in search.alpha.values():
            alpha.copy_(torch.tensor([0.0, 0.0, 1.0]))
    search.history[-1] = search.history[-1]._replace(scores=search._option_scores())
    assert [*search.top_candidates(search.scores_after(8), 1)[0].values.values()] == [
        "skip",
        "skip",
    ]
    outcome = finalize_search(search, 1)
    assert outcome.selected_by == "perturbation"
    assert "conv" in outcome.candidates[0].values.values()
    plain = make_search()
    plain.history = search.history
    assert finalize_search(plain, 1).selected_by == "alpha"  # the remedy is switched off


def test_weights_that_rank_by_chance_are_not_trusted() -> None:
    cell = nas_bench_201(channels=4, cells=1)
    safeguards = replace(NO_SAFEGUARDS, n_ranking_networks=4, ranking_epochs=1)
    untrained = make_search(replace(SETTINGS, epochs=1, safeguards=safeguards), cell)
    untrained.space = Space({"network": cell})
    outcome = finalize_search(untrained, 1)
    ranking = next(finding for finding in outcome.findings if finding.name == "ranking")
    assert ranking.alarm
    assert not outcome.trusted


def test_untrained_supernet_is_reported_and_not_trusted() -> None:
    search = make_search(
        replace(
            SETTINGS,
            weight_training=WeightTraining(lr=1e-6, min_lr=0.0),
            safeguards=PERTURBATION_ONLY,
        )
    )
    search.train_to(1)
    outcome = finalize_search(search, 1)
    assert not outcome.trusted
    assert outcome.selected_by == "alpha"  # by the same weights nothing can be chosen better
    assert any("hardly trained" in finding.message for finding in outcome.findings)


def epoch(eigenvalue: float, skip: float = 0.1, remedy: str = "") -> EpochRecord:
    scores = {path: [0.3, 0.3, skip] for path in ("network.1", "network.2")}
    return EpochRecord(0.5, 0.5, scores, 0.1, eigenvalue, remedy)


def test_eigenvalue_growth_stops_the_search_and_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = replace(
        SETTINGS,
        epochs=50,
        safeguards=replace(NO_SAFEGUARDS, eigenvalue_interval=1, stop_on_eigenvalue_growth=True),
    )
    search = make_search(watched)
    values = iter([1.0] * 9 + [2.0] * 20)
    monkeypatch.setattr(GradientSearch, "_largest_eigenvalue", lambda *_: next(values))
    search.train()
    assert search.is_finished
    assert search.history[-1].remedy == STOPPED
    assert len(search.history) == 11  # the mean of five is 1.4 times that of the five before
    assert search.last_sound_epoch == 6
    off = make_search(replace(watched, safeguards=NO_SAFEGUARDS, epochs=12))
    off.train()
    assert len(off.history) == 12


def test_skip_alarm_increases_weight_decay_at_most_twice() -> None:
    search = make_search(
        replace(SETTINGS, epochs=6, safeguards=replace(NO_SAFEGUARDS, weight_decay_factor=3.0))
    )
    with torch.no_grad():
        for alpha in search.alpha.values():
            alpha.copy_(torch.tensor([0.0, 0.0, 5.0]))
    decays = []
    for last_epoch in range(1, 5):
        search.train_to(last_epoch)
        decays.append(search.optimizer.weight_optimizer.param_groups[0]["weight_decay"])
    assert decays == pytest.approx([3e-4, 9e-4, 27e-4, 27e-4])
    assert [record.remedy for record in search.history] == [DECAYED, DECAYED, "", ""]


def test_deadline_is_kept_and_the_schedule_completes() -> None:
    search = make_search(
        replace(
            SETTINGS,
            epochs=100_000,
            safeguards=SupernetSafeguards(
                eigenvalue_interval=0, n_ranking_networks=2, ranking_epochs=100_000
            ),
        )
    )
    start = time.monotonic()
    search.train(start + 0.5)
    assert search.is_finished
    assert search.history[-1].progress == 1
    assert (
        search.optimizer.weight_optimizer.param_groups[0]["lr"] < 0.02
    )  # of .1, where .001 is the least
    outcome = finalize_search(search, 3, start + 1.0)
    assert time.monotonic() - start < 4
    assert outcome.candidates


def test_no_time_for_the_rank_check_means_no_trust() -> None:
    search = make_search(
        replace(SETTINGS, safeguards=replace(NO_SAFEGUARDS, n_ranking_networks=8, ranking_epochs=1))
    )
    search.train_to(8)
    outcome = finalize_search(search, 1, time.monotonic() - 1)
    assert not outcome.trusted
    assert any("only 0 networks trained alone" in finding.message for finding in outcome.findings)
