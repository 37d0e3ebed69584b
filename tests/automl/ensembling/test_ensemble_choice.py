"""What is averaged, and with which weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netwright.automl.ensembling.out_of_fold import ensemble_members
from netwright.automl.ensembling.selection import (
    Member,
    ScoringTargets,
    fit_temperature,
    fit_threshold,
    mean_of_available,
    select_ensemble,
)
from netwright.automl.finished_search import FinishedSearch
from netwright.files.run_layout import HELD_OUT
from netwright.pipelines.ensemble_selection import GreedySelection, repeated_two_fold
from netwright.space.candidate import Candidate
from netwright.trials.metrics import score
from netwright.trials.trial import FAMILY, Proposal, Status, Trial
from task_tools import noisy

N = 600


def trial(number: int, folds: int = 5, name: str = "", status: Status = Status.DONE) -> Trial:
    candidate = Candidate({FAMILY: name or f"c{number}"})
    return Trial(number, Proposal(candidate, folds / 5), 0, status, {"folds": float(folds)})


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_models_with_different_errors_form_an_ensemble(rng: np.random.Generator) -> None:
    truth = rng.integers(2, size=N)
    found = [Member(trial(i), 5, noisy(rng, truth, 2.0)) for i in range(1, 4)]
    found.append(Member(trial(4), 5, noisy(rng, truth, 9.0)))
    choice = select_ensemble(found, "binary", ScoringTargets(truth), "log_loss")
    assert len(choice.spec.weight_of) >= 2
    assert sum(choice.spec.weight_of.values()) == pytest.approx(1)
    assert choice.spec.weight_of.get(4, 0) < 0.2
    best = min(score("binary", truth, one.predictions)["log_loss"] for one in found)
    assert choice.metrics["log_loss"] < best
    assert choice.metrics["folds"] == 5


def test_members_beyond_the_size_limit_are_dropped(rng: np.random.Generator) -> None:
    truth = rng.integers(2, size=N)
    said = [noisy(rng, truth, 2.0) for _ in range(5)]
    sizes = [10_000_000, 10_000_000, 30_000_000, 1_000, 1_000]
    many = [
        Member(trial(i), 5, p, size) for i, (p, size) in enumerate(zip(said, sizes, strict=True))
    ]
    free = select_ensemble(
        [Member(trial(i), 5, p) for i, p in enumerate(said)],
        "binary",
        ScoringTargets(truth),
        "log_loss",
    )
    assert len(free.spec.weight_of) == 5
    bound = select_ensemble(many, "binary", ScoringTargets(truth), "log_loss")
    assert {3, 4} <= set(bound.spec.weight_of)
    assert sum(sizes[i] for i in bound.spec.weight_of) <= 20_000_000
    alone = select_ensemble(many[2:3], "binary", ScoringTargets(truth), "log_loss")
    assert set(alone.spec.weight_of) == {2}  # there has to be one


def test_size_limit_keeps_a_member_of_all_folds(
    rng: np.random.Generator,
) -> None:
    truth = rng.integers(2, size=N)
    said = [noisy(rng, truth, 2.0) for _ in range(4)]
    for one in said[2:]:
        one[N // 5 :] = np.nan
    free = [Member(trial(i), 5 if i < 2 else 1, said[i]) for i in range(4)]
    assert (
        len(select_ensemble(free, "binary", ScoringTargets(truth), "log_loss").spec.weight_of) == 4
    )
    large = [replace(one, n_bytes=15_000_000 if one.n_folds > 1 else 3_000_000) for one in free]
    bound = select_ensemble(large, "binary", ScoringTargets(truth), "log_loss")
    assert bound.metrics["folds"] == 5
    assert len({0, 1} & set(bound.spec.weight_of)) == 1


def test_two_fold_checks_keep_groups_together(
    rng: np.random.Generator,
) -> None:
    """Two rows of each group err alike: other rows of known groups prove anything."""
    groups = np.repeat(np.arange(N // 2), 2)
    truth = np.repeat(rng.integers(2, size=N // 2), 2)
    seen: list[np.ndarray] = []

    def loss(p: np.ndarray, rows: np.ndarray) -> float:
        seen.append(rows)
        return float(np.mean((p[:, 1] - truth[rows]) ** 2))

    library = [noisy(rng, truth, 2.0) for _ in range(3)]
    GreedySelection()(library, loss, np.random.default_rng(0), groups)
    parts = [rows for rows in seen if len(rows) < N]
    assert parts
    assert all(np.isin(groups, groups[rows]).sum() == len(rows) for rows in parts)
    pairs = list(repeated_two_fold(N, 2, rng, groups))
    assert len(pairs) == 4
    assert all(not set(groups[a]) & set(groups[b]) for a, b in pairs)
    assert not list(repeated_two_fold(N, 2, rng, np.zeros(N)))  # one group cannot prove anything


def test_minimal_gain_is_relative_for_maximised_metrics_too() -> None:
    """Of 167 errors in 1,000 rows a model of one fold makes five less: that is no 5 %."""
    truth = np.arange(2_000) % 2
    second = np.where(truth == 1, 0.9, 0.1)
    second[::6] = 1 - second[::6]  # wrong
    better = second.copy()
    better[:960:192] = np.where(truth[:960:192] == 1, 0.51, 0.49)
    better[1_000:] = np.nan
    whole, some = (np.stack([1 - p, p], 1).astype(np.float32) for p in (second, better))
    found = [Member(trial(1), 5, whole), Member(trial(2), 1, some)]
    assert set(
        select_ensemble(found, "binary", ScoringTargets(truth), "accuracy").spec.weight_of
    ) == {1, 2}


def test_single_greedy_step_selects_the_best_model(rng: np.random.Generator) -> None:
    truth = rng.integers(2, size=N)
    found = [Member(trial(i), 5, noisy(rng, truth, 4.0 - i)) for i in (1, 2, 3)]
    assert select_ensemble(
        found, "binary", ScoringTargets(truth), "auc", steps=1
    ).spec.weight_of == {3: 1.0}


@pytest.mark.parametrize(("noise", "wins"), [(0.2, {9}), (1.9, {1, 2, 9}), (9.0, {1, 2})])
def test_partial_trials_get_half_the_weight_unless_clearly_better(
    noise: float, wins: set[int], rng: np.random.Generator
) -> None:
    truth = rng.integers(2, size=N)
    found = [Member(trial(i), 5, noisy(rng, truth, 2.0)) for i in (1, 2)]
    partial = noisy(rng, truth, noise)
    partial[N // 5 :] = np.nan
    found.append(Member(trial(9, folds=1), 1, partial))
    choice = select_ensemble(found, "binary", ScoringTargets(truth), "log_loss")
    assert set(choice.spec.weight_of) == wins
    assert sum(choice.spec.weight_of.values()) == pytest.approx(1)
    if wins == {1, 2, 9}:
        assert choice.spec.weight_of[9] <= 0.5
        alone = select_ensemble(found[:2], "binary", ScoringTargets(truth), "log_loss").metrics[
            "log_loss"
        ]
        assert choice.metrics["log_loss"] == pytest.approx(alone, rel=0.1)  # of all rows
        assert choice.metrics["folds"] == 5


def test_mean_uses_members_with_a_prediction(rng: np.random.Generator) -> None:
    said = [np.array([1.0, 2.0, 3.0, np.nan]), np.array([3.0, np.nan, 5.0, np.nan])]
    mean = mean_of_available(said, [0.25, 0.75])
    assert mean[:3].tolist() == [2.5, 2.0, 4.5]
    assert np.isnan(mean[3])
    both = np.stack([np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.4, 0.6], [np.nan, np.nan]])])
    assert mean_of_available([*both], [0.5, 0.5]).tolist() == [
        [pytest.approx(0.3), pytest.approx(0.7)],
        [0.5, 0.5],
    ]


def test_candidate_joins_with_its_trial_of_most_folds(tmp_path: Path) -> None:
    trials = [
        trial(1, 1, "a"), trial(2, 5, "a"), trial(3, 1, "b"), trial(4, 5, "c"),
        trial(5, 5, "d", Status.INFEASIBLE),
    ]  # fmt: skip
    for one in trials:
        if one.id != 4:  # its folder has been emptied
            folder = tmp_path / "trials" / str(one.id)
            folder.mkdir(parents=True)
            np.save(folder / HELD_OUT, np.zeros(3))
    folds: Any = SimpleNamespace(held_out_mask=lambda n_folds: np.ones(3, bool))
    numbers: Any = SimpleNamespace(classes=())
    space: Any = None
    found, broken = ensemble_members(
        FinishedSearch(tmp_path, numbers, space, (), (), tuple(trials), folds)
    )
    assert not broken
    assert [one.trial.id for one in found] == [2, 3]


def test_temperature_of_overconfident_and_calibrated_probabilities(
    rng: np.random.Generator,
) -> None:
    p = rng.uniform(0.02, 0.98, size=4000)
    truth = (rng.random(4000) < p).astype(int)
    honest = np.stack([1 - p, p], 1).astype(np.float32)
    sure = honest**3 / (honest**3).sum(1, keepdims=True)
    assert fit_temperature(honest, ScoringTargets(truth)) == pytest.approx(1, abs=0.06)
    assert fit_temperature(sure, ScoringTargets(truth)) == pytest.approx(3, rel=0.1)
    assert fit_temperature(sure[:100], ScoringTargets(truth[:100])) == 1  # too few to tell


def test_threshold_follows_the_metric(rng: np.random.Generator) -> None:
    p = rng.beta(1, 6, size=3000)  # a rare class
    truth = (rng.random(3000) < p).astype(int)
    second = p.astype(np.float32)
    found = fit_threshold(second, ScoringTargets(truth), "balanced_accuracy")
    assert found == pytest.approx(truth.mean(), abs=0.06)  # where both classes weigh alike
    both = np.stack([1 - second, second], 1)
    low, plain = (score("binary", truth, both, t)["balanced_accuracy"] for t in (found, 0.5))
    assert low > plain + 0.1
    assert fit_threshold(second, ScoringTargets(truth), "accuracy") == pytest.approx(0.5, abs=0.08)
    assert (
        fit_threshold(second[:100], ScoringTargets(truth[:100]), "f1") == 0.5
    )  # too few rows to tell
    choice = select_ensemble(
        [Member(trial(1), 5, both)], "binary", ScoringTargets(truth), "balanced_accuracy"
    )
    assert choice.spec.threshold == found
    assert choice.metrics["balanced_accuracy"] == low
