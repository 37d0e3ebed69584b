"""`strategy="none"`: the portfolio is evaluated, and delivered as after any search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netwright.automl.estimators import AutoClassifier
from netwright.automl.export.delivery import FitResult
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.open_search import default_run_folder, open_search
from netwright.automl.search_budget import SearchBudget
from netwright.data.task import Task
from netwright.deploy.model import load
from netwright.strategies.no_search import NoSearch
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import BASELINE, MADE, Trial
from task_tools import messy

FAMILIES = ("extra_trees", "lightgbm", "linear")


def search(task: Task, run: Path, families: Any = FAMILIES, **budget: Any) -> FitResult:
    method = Method("none", families)
    return fit(task, Goal(), SearchBudget(**budget), method, run=run, executor=InProcess())


def evaluated(outcome: FitResult) -> list[Trial]:
    """The trials without ensembles and refits."""
    return [trial for trial in outcome.study.trials if trial.proposal.origin not in MADE]


@pytest.fixture(scope="module")
def on_folds(binary_task: Task, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A search that ends when the portfolio is evaluated, not when its day is over."""
    return search(binary_task, tmp_path_factory.mktemp("none") / "run", seconds=86_400)


def test_only_the_portfolio_is_evaluated_and_all_of_it_on_all_folds(on_folds: FitResult) -> None:
    trials = evaluated(on_folds)
    assert {trial.proposal.origin for trial in trials} == {"portfolio", "promotion"}
    new = {trial.candidate for trial in trials if trial.proposal.origin == "portfolio"}
    assert len(new) > 2
    assert {t.candidate for t in trials if t.proposal.fidelity == 1} == new
    assert {trial.proposal.fidelity for trial in trials} == {1.0, 1 / on_folds.search.n_folds}
    assert load(on_folds.run).card["trial"] == on_folds.best.id
    assert not on_folds.warnings


def test_the_same_call_and_one_with_more_time_are_finished(
    on_folds: FitResult, binary_task: Task
) -> None:
    for seconds in (86_400, 2 * 86_400):
        again = search(binary_task, on_folds.run, seconds=seconds)
        assert again.already_finished
        assert evaluated(again) == evaluated(on_folds)
        assert again.best == on_folds.best
        assert not again.warnings


def test_a_search_that_was_cut_short_continues_with_a_larger_budget(
    binary_task: Task, tmp_path: Path
) -> None:
    first = search(binary_task, tmp_path / "run", FAMILIES[::2], trials=1)
    assert len(evaluated(first)) == 1
    assert search(binary_task, tmp_path / "run", FAMILIES[::2], trials=1).already_finished
    more = search(binary_task, tmp_path / "run", FAMILIES[::2], trials=99)
    assert not more.already_finished
    assert 1 < len(evaluated(more)) < 99


def test_of_images_only_the_baselines_are_trained(image_task: Task, tmp_path: Path) -> None:
    settings: Any = (image_task, Goal(), SearchBudget(trials=9), Method("none"))
    opened = open_search(*settings, run=tmp_path / "run", executor=InProcess())
    outcome = search(image_task, tmp_path / "run", (), trials=9)
    assert [trial.candidate for trial in evaluated(outcome)] == [*opened.study.baselines]
    assert {trial.proposal.origin for trial in evaluated(outcome)} == {BASELINE}
    assert search(image_task, tmp_path / "run", (), trials=99).already_finished


@pytest.mark.parametrize("strategy", [None, "none", NoSearch])
def test_the_estimator_takes_none_in_each_form(strategy: Any) -> None:
    rows = messy(60)
    model = AutoClassifier(trials=15, workers=1, families="linear", strategy=strategy)
    board = model.fit(rows.drop(columns="y"), rows["y"]).leaderboard_
    assert 2 <= (board["status"] == "done").sum() < 15
    assert model.get_params()["strategy"] is strategy


def test_none_and_its_name_have_the_same_run_folder(binary_task: Task) -> None:
    objectives, limits = Goal().resolve(binary_task)
    by_name, by_none = (
        default_run_folder(binary_task, objectives, limits, Method(strategy))
        for strategy in ("none", None)
    )
    assert by_name == by_none
    assert by_name != default_run_folder(binary_task, objectives, limits, Method())
