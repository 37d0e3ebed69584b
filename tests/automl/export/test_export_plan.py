"""What a finished search offers that is faster than its best: one model in place of one a fold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl.ensembling.models import model_of
from netwright.automl.ensembling.refits import refit_trials
from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export import ensembles as worth_exporting
from netwright.automl.export.delivery import deliver
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.saved_run import load_run
from netwright.automl.search_budget import SearchBudget
from netwright.catalog import DEFAULT_STRATEGY
from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.deploy.model import load
from netwright.pipelines.weighted_ensemble import has_fitted_model
from netwright.study.workers.executors import InProcess
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.trial import Trial


def steps_and_a_line() -> Task:
    """A line that straight models see, and steps that trees see: together they know more."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    steps = 0.15 * np.floor(2 * x[:, 1]) * np.sign(x[:, 2])
    return task(x, 3 * x[:, 0] + steps + 0.3 * rng.normal(size=400), kind="regression", name="half")


def search(found: Task, run: Path, trials: int, **options: Any) -> Any:
    few = {"families": ["extra_trees", "linear"]} | options
    method = Method(few.pop("strategy", DEFAULT_STRATEGY), few.pop("families"))
    return fit(
        found, Goal(), SearchBudget(trials=trials), method, run=run, executor=InProcess(), **few
    )


def ensembles(trials: Sequence[Trial], **fields: Any) -> list[Trial]:
    """Those that have these fields."""
    some = [one for one in trials if one.ensemble]
    return [one for one in some if all(getattr(one.ensemble, k) == v for k, v in fields.items())]


def test_trees_are_refitted_on_all_rows(tmp_path: Path) -> None:
    found = steps_and_a_line()
    outcome = search(found, tmp_path / "run", 9, families=["extra_trees", "lightgbm"])
    trials = {one.id: one for one in outcome.study.trials}
    again = ensembles(outcome.study.trials, refit=True)
    families = {trials[one.proposal.parents[0]].family for one in again}
    assert families == {"extra_trees", "lightgbm"}
    for one in again:
        of = trials[one.proposal.parents[0]]
        assert one.metrics["rmse"] == of.metrics["rmse"]  # what is known of a fold's models
        folds, single = model_of(outcome.search, of), model_of(outcome.search, one)
        many = [part.model.n_trees for part in folds.members]  # type: ignore[union-attr]
        assert single.model.n_trees <= round(float(np.mean(many)))  # type: ignore[union-attr]
        file = load(outcome.run / "trials" / str(one.id) / "model.onnx")
        values = file.predict_scores(found.features)
        assert np.allclose(values, single.predict(found.features), rtol=1e-5, atol=1e-5)
        if of.family == "extra_trees":  # each tree knows all rows by heart
            assert np.allclose(values, found.target, atol=1e-3)
            part = folds.members[0].predict(found.features)  # type: ignore[union-attr]
            assert np.abs(part - found.target).max() > 0.3
    said = {row.trial: row.what for row in load_run(outcome.run).leaderboard_rows()}
    assert said[again[0].id] == f"refit of {again[0].proposal.parents[0]}"


def test_learners_without_refit_export_a_fold_model(tmp_path: Path) -> None:
    trials = search(steps_and_a_line(), tmp_path / "run", 2, families=["linear"]).study.trials
    assert not ensembles(trials, refit=True)
    assert ensembles(trials, first_fold=True)


def test_ensembles_of_single_models_are_exported(tmp_path: Path) -> None:
    found = steps_and_a_line()
    outcome = search(found, tmp_path / "run", 9)
    trials = {one.id: one for one in outcome.study.trials}
    singles = {one.id for one in ensembles(outcome.study.trials, refit=True)}
    singles |= {one.id for one in ensembles(outcome.study.trials, first_fold=True)}
    averages = [
        one
        for one in outcome.study.trials
        if one.proposal.parents and set(one.proposal.parents) <= singles
    ]
    assert averages
    assert len({row.metrics["folds"] for row in outcome.front}) == 1  # figures of the same rows
    for one in averages:
        parts = [model_of(outcome.search, trials[n]) for n in one.proposal.parents]
        assert one.ensemble is not None
        shares = [weight for _, weight in one.ensemble.weights]
        mean = np.sum(
            [w * p.predict(found.features) for w, p in zip(shares, parts, strict=True)], axis=0
        )
        file = load(outcome.run / "trials" / str(one.id) / "model.onnx")
        assert np.allclose(file.predict_scores(found.features), mean, rtol=1e-4, atol=1e-4)
        of = {trials[n].proposal.parents[0] for n in one.proposal.parents}
        same = next(t for t in trials.values() if set(t.proposal.parents) - singles == of)
        assert one.metrics["rmse"] == same.metrics["rmse"]


def test_best_ensemble_contains_refits_of_its_members(tmp_path: Path) -> None:
    outcome = search(steps_and_a_line(), tmp_path / "run", 9)
    again = {one.id: one.proposal.parents[0] for one in ensembles(outcome.study.trials, refit=True)}
    inside = set(outcome.best.proposal.parents) & set(again)
    assert inside
    for number in inside:
        of = again[number]
        assert of in outcome.best.proposal.parents
        assert outcome.best.ensemble is not None
        weights = outcome.best.ensemble.weight_of
        assert weights[of] == pytest.approx(2 * weights[number])


@pytest.mark.parametrize(("small", "left"), [(1.0, 1), (1.1, 2), (0.9, 1)])
def test_large_ensemble_is_dropped_if_small_is_no_worse(
    small: float, left: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are chosen on 5,000 rows, and judged on all."""
    found = steps_and_a_line()
    outcome = search(found, tmp_path / "run", 9)
    full = [one.id for one in outcome.study.trials if one.metrics.get("folds") == 8][:3]
    assert len(full) == 3
    shares = dict.fromkeys(full, 1 / 3)

    def chosen(_: Any, __: Any, ___: Any, ____: str, steps: int = 25) -> ProposedEnsemble:
        if steps == 2:
            two = EnsembleSpec.of({full[0]: 0.5, full[1]: 0.5})
            return ProposedEnsemble(two, {"rmse": small, "folds": 8.0}, two.trials)
        three = EnsembleSpec.of(shares)
        return ProposedEnsemble(three, {"rmse": 1.0, "folds": 8.0}, three.trials)

    monkeypatch.setattr(worth_exporting, "select_ensemble", chosen)
    wanted = worth_exporting.ensembles_to_export(outcome.search, print)
    assert wanted is not None
    assert len(wanted.ensembles) == left
    assert len(wanted.ensembles[0].spec.weights) == (3 if small > 1 else 2)


def test_refits_without_time_are_made_up_for_on_resume(tmp_path: Path) -> None:
    found = steps_and_a_line()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netwright.automl.export.exporter.refit_trials", lambda *_: iter(()))
        outcome = search(found, tmp_path / "run", 4, families=["extra_trees"])
    assert not ensembles(outcome.study.trials, refit=True)
    first = outcome.study.trials[0].id
    assert not list(refit_trials(outcome.search, [first], time.monotonic()))
    outcome.study.interrupted = True  # whoever has stopped it does not want to wait
    deliver(outcome.opened)
    assert not ensembles(outcome.study.trials, refit=True)
    again = search(found, tmp_path / "run", 4, families=["extra_trees"])
    assert again.already_finished
    assert again.best == outcome.best  # what was delivered is delivered again
    assert ensembles(again.study.trials, refit=True)  # and the front is made complete
    third = search(found, tmp_path / "run", 4, families=["extra_trees"])
    assert third.best == outcome.best
    assert third.study.trials == again.study.trials
    more = search(found, tmp_path / "run", 5, families=["extra_trees"]).study
    for one in ensembles(
        again.study.trials, refit=True
    ):  # a study that goes on keeps what was fitted
        assert has_fitted_model(more.trial_folder(one.id))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("family", ["lightgbm", "histogram", "forest"])
def test_classifiers_are_refitted(family: str, classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = (x[:, 0] + 0.3 * rng.normal(size=300) > 0).astype(int)
    y += (x[:, 1] > 1) * (classes > 2)
    found = task(x, [f"c{one}" for one in y], name="some")
    outcome = search(found, tmp_path / "run", 3, families=[family])
    again = ensembles(outcome.study.trials, refit=True)
    assert again
    for one in again:
        said = model_of(outcome.search, one).predict(found.features)
        assert (said.argmax(1) == y).mean() > 0.85
