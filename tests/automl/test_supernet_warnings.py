"""The closing says when a supernet did not finish, or when nothing of it was trained or delivered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl.estimators import AutoClassifier
from netwright.automl.export.delivery import FitResult
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.search_budget import SearchBudget
from netwright.automl.supernet_warnings import supernet_warnings
from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.evaluators.one_shot.supernet_search import SupernetSearch
from netwright.oneshot.gradient.relaxations import DrNAS
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.safeguards import SupernetSafeguards
from netwright.oneshot.single_path.samplers import PolicySampler
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledPathTraining
from netwright.strategies.oneshot import OneShot
from netwright.strategies.random import RandomSearch
from netwright.strategies.reinforcement.policy_gradient import Reinforce
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import BASELINE, SUPERNET, Status, Trial

QUICK = SupernetSafeguards(n_ranking_networks=4, ranking_epochs=1)
DRNAS = OneShot(
    DifferentiableNAS(DrNAS(), epochs=2, safeguards=QUICK), n_candidates=3, then=RandomSearch()
)
SPOS = OneShot(
    SinglePathNAS(SampledPathTraining(epochs=2), evaluations=6, safeguards=QUICK),
    n_candidates=3,
    then=RandomSearch(),
)
ENAS = OneShot(
    SinglePathNAS(SampledPathTraining(PolicySampler(), epochs=2), evaluations=6, safeguards=QUICK),
    n_candidates=3,
    search=Reinforce(),
    then=RandomSearch(),
)


def table(rows: int = 90, **columns: Any) -> Task:
    """Two classes of two numbers and a category."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=rows)
    found = {"a": rng.normal(size=rows) + y, "b": rng.normal(size=rows)}
    return task({**found, "c": rng.choice(["x", "y", "z"], rows), **columns}, y)


def search(found: Task, run: Path, strategy: Any = DRNAS, trials: int = 5) -> FitResult:
    effort = SearchBudget(None, trials, workers=1)
    return fit(found, Goal(), effort, Method(strategy), run=run, executor=InProcess())


def of_supernet(outcome: FitResult) -> list[Trial]:
    return [one for one in outcome.study.trials if one.proposal.origin.startswith(SUPERNET)]


@pytest.mark.parametrize("strategy", [DRNAS, SPOS, ENAS], ids=["drnas", "spos", "enas"])
def test_supernet_networks_of_a_table_are_trained_and_labelled(
    tmp_path: Path, strategy: Any
) -> None:
    outcome = search(table(), tmp_path / "run", strategy)
    trials = of_supernet(outcome)
    assert len(trials) >= 3
    assert {trial.status for trial in trials} == {Status.DONE}
    rows = {row.trial: row.what for row in outcome.leaderboard()}
    assert all(rows[trial.id].startswith("supernet: ") for trial in trials)
    assert rows[1].startswith("baseline: ")
    assert not any("did not finish" in one or "nothing" in one for one in outcome.warnings)
    own = outcome.best.proposal.origin.startswith(SUPERNET)
    assert own != any("The delivered model is the baseline" in one for one in outcome.warnings)
    again = search(table(), tmp_path / "run", strategy)
    assert again.already_finished
    assert again.warnings == outcome.warnings


def test_held_decisions_of_a_supernet_equal_the_baseline(tmp_path: Path) -> None:
    outcome = search(table(), tmp_path / "run")
    baseline = outcome.study.baselines[0].values
    preparation = outcome.study.strategy.preparation  # type: ignore[attr-defined]  # it has one
    assert {"model.lr", "model.batch_size", "model.network.0.numeric"} <= {*preparation.held}
    first = next(one for one in outcome.study.trials if one.proposal.origin == SUPERNET)
    for path in ("model.lr", "model.batch_size", "model.network.0.numeric"):
        assert first.candidate.values[path] == baseline[path]
    widths = [value for path, value in first.candidate.values.items() if path.endswith(".features")]
    assert set(widths) == {baseline["model.network.1.0.0.features"]}  # so that depths can be mixed


def test_options_for_missing_column_kinds_are_not_searched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = task({"a": rng.normal(size=60), "b": rng.normal(size=60)}, rng.integers(2, size=60))
    for strategy in (DRNAS, SPOS):
        outcome = search(numbers, tmp_path / type(strategy.method).__name__, strategy, trials=4)
        listed = [one.candidate.values for one in outcome.study.trials[1:]]
        assert {values["model.network.0.categorical"] for values in listed} == {"onehot"}


def test_search_that_ends_before_the_supernet_is_reported(tmp_path: Path) -> None:
    outcome = search(table(), tmp_path / "run", trials=1)
    assert [one.proposal.origin for one in outcome.study.trials] == [BASELINE]
    sentence = "No supernet was trained: the search ended before that. Give it more time or trials."
    assert sentence in outcome.warnings


def test_failed_supernet_is_reported_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("the code is at fault")

    monkeypatch.setattr(SupernetSearch, "__call__", broken)
    outcome = search(table(), tmp_path / "run", trials=2)
    assert not of_supernet(outcome)
    reason = "The supernet came to nothing: ValueError: the code is at fault"
    assert any(one.startswith(reason) for one in outcome.warnings)


def test_missing_supernet_epochs_are_reported(tmp_path: Path) -> None:
    endless = replace(DRNAS, method=DifferentiableNAS(DrNAS(), epochs=10**6, safeguards=QUICK))
    found = table()
    effort = SearchBudget(8, workers=1)
    outcome = fit(found, Goal(), effort, Method(endless), run=tmp_path, executor=InProcess())
    assert any("of 1000000 epochs: its share of the time was over." in s for s in outcome.warnings)


def test_untrainable_supernet_networks_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = search(table(), tmp_path / "run", trials=2)
    study = outcome.study
    error = "took longer than 3 s"
    late = [
        replace(trial, status=Status.INFEASIBLE, metrics={}, error=error)
        if trial.proposal.origin == SUPERNET else trial
        for trial in study.trials
    ]  # fmt: skip
    monkeypatch.setattr(Study, "trials", late)
    baseline = study.trials[0]
    (sentence,) = supernet_warnings(study, baseline)
    assert sentence.startswith(f"None of its 1 network finished training (last error: {error}).")
    monkeypatch.setattr(Study, "trials", [baseline])
    (sentence,) = supernet_warnings(study, baseline)
    assert sentence.startswith("None of the networks that the supernet prefers was trained")


def test_better_baseline_is_compared_with_best_supernet_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = search(table(), tmp_path / "run", trials=3).study
    name = study.objectives[0].metric
    scores = [0.9, 0.7, 0.8]
    trials = [
        replace(trial, metrics={**trial.metrics, name: score})
        for trial, score in zip(study.trials, scores, strict=True)
    ]
    monkeypatch.setattr(Study, "trials", trials)
    (sentence,) = supernet_warnings(study, trials[0])
    assert sentence == (
        f"The delivered model is the baseline, trial 1, with {name} .9000; the best network of the "
        "supernet, trial 3, has .8000."
    )
    assert supernet_warnings(study, trials[1]) == []


def test_other_strategies_have_no_supernet_warnings(tmp_path: Path) -> None:
    outcome = search(table(), tmp_path / "run", "random", trials=2)
    assert supernet_warnings(outcome.study, outcome.best) == []


def test_estimator_warns_of_an_untrained_supernet(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    estimator = AutoClassifier(trials=1, strategy=DRNAS, run=tmp_path / "run")
    with pytest.warns(UserWarning, match="No supernet was trained: the search ended before that"):
        estimator.fit(x + y[:, None], y)
    assert any("No supernet was trained" in note for note in estimator.notes_)


ODD: dict[str, Any] = {
    "one column": ({"a": np.arange(40) % 7}, np.arange(40) % 2),
    "one category": ({"a": np.array(["x", "y", "z", "x"] * 10)}, np.arange(40) % 2),
    "eight rows": ({"a": np.arange(8.0), "b": np.arange(8.0) % 3}, np.arange(8) % 2),
    "many classes": ({"a": np.arange(120.0), "b": np.arange(120.0) % 7}, np.arange(120) // 3),
    "texts": (
        {"a": np.array([f"a long text of many words, number {i % 5} and {i}" for i in range(40)])},
        np.arange(40) % 2,
    ),
    "regression": ({"a": np.arange(40.0)}, np.arange(40.0) ** 2),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("strategy", [DRNAS, SPOS, ENAS], ids=["drnas", "spos", "enas"])
@pytest.mark.parametrize("name", ODD)
def test_odd_tables_are_searched_by_shared_weights(
    tmp_path: Path, name: str, strategy: Any
) -> None:
    columns, target = ODD[name]
    outcome = search(task(columns, target), tmp_path / "run", strategy, trials=3)
    assert [one.status for one in of_supernet(outcome)] == [Status.DONE] * 2
    assert not any("came to nothing" in sentence for sentence in outcome.warnings)
    assert len(outcome.model.predict(columns)) == len(target)
