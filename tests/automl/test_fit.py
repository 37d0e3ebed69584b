"""From a task to a delivered model and back: one short real search of each kind."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl import name_resolution
from netwright.automl.ensembling.models import model_of
from netwright.automl.ensembling.out_of_fold import n_prunable_members, out_of_fold_predictions
from netwright.automl.export.delivery import FitResult, deliver, has_unexported
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.open_search import default_run_folder, open_search
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import load_run
from netwright.automl.search_budget import SearchBudget
from netwright.automl.spaces import space_for
from netwright.automl.task_metadata import TaskMetadata
from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.deploy.model import load
from netwright.errors import InputError, RunError
from netwright.evaluators.benchmarks.digits import digits_table
from netwright.interfaces.checks import name_of
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import TablePipeline, prune_members
from netwright.space.choices import Float
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.losses import loss_of
from netwright.trials.metrics import score
from netwright.trials.objective import Objective
from netwright.trials.trial import CONSTANT, ENSEMBLE, FINAL, Job, Status, Trial

LINEAR = Method(families="linear")


def search(found: Task, run: Path, trials: int = 4, **options: Any) -> FitResult:
    """A search by counted trials; in this process, unless it asks for several workers."""
    goal = Goal(options.pop("objectives", ()), options.pop("limits", ()))
    workers = options.pop("workers", 1)
    executor = options.pop("executor", InProcess() if workers == 1 else None)
    effort = SearchBudget(None, trials, options.pop("until", ()), workers=workers)
    of_method = ("strategy", "families", "space", "seed")
    method = Method(**{name: options.pop(name) for name in of_method if name in options})
    return fit(found, goal, effort, method, run=run, executor=executor, **options)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A search of images for a front of accuracy and size."""
    run = tmp_path_factory.mktemp("digits") / "run"
    return search(task("digits"), run, objectives=["accuracy", "parameters"])


def test_a_search_delivers_a_front_of_checked_files(digits: FitResult) -> None:
    origins = [trial.proposal.origin for trial in digits.study.trials]
    assert origins == ["baseline", "portfolio", "portfolio", "portfolio", FINAL]
    assert digits.best == digits.study.trials[-1]
    exported = {trial.id for trial in digits.study.front} | {digits.best.id}
    assert {row.trial for row in digits.front} == exported
    assert digits.parity.difference < 1e-5
    assert digits.left_out == ()
    for row in digits.front:
        folder = digits.study.trial_folder(row.trial)
        assert load(folder / "model.onnx").card["trial"] == row.trial
        assert row.metrics["latency"] > 0  # measured afresh, though it was no objective


def test_images_are_searched_for_quality_alone(image_task: Task) -> None:
    objectives, _ = Goal().resolve(image_task)
    assert [objective.metric for objective in objectives] == ["accuracy"]


def test_final_model_of_images_is_a_front_by_itself(image_task: Task, tmp_path: Path) -> None:
    """Other networks are scored on other rows, after shorter trainings."""
    outcome = search(image_task, tmp_path / "run", trials=2)
    assert [row.trial for row in outcome.front] == [outcome.best.id] == [3]
    assert load(outcome.study.trial_folder(3) / "model.onnx").card["trial"] == 3
    again = search(image_task, tmp_path / "run", trials=2)
    assert again.already_finished
    assert again.front == outcome.front


def test_delivered_file_reproduces_reported_test_metrics(digits: FitResult) -> None:
    test = digits.task.test
    assert test is not None
    model = load(digits.run)
    assert model.path == digits.run / "model.onnx"
    said = score("multiclass", test.target, model.predict_scores(test.features))
    assert said == digits.test
    assert said["accuracy"] > 0.9
    assert model.card["validation"]["accuracy"] == digits.best.metrics["accuracy"]


def test_finished_search_returns_at_once_and_larger_budget_resumes(
    binary_task: Task, tmp_path: Path
) -> None:
    first = search(binary_task, tmp_path / "run", trials=3)
    again = search(binary_task, tmp_path / "run", trials=3)
    assert (first.already_finished, again.already_finished) == (False, True)
    assert again.study.trials == first.study.trials
    assert again.front == first.front  # with its latencies: nothing is written or measured again
    assert again.parity == first.parity
    more = search(binary_task, tmp_path / "run", trials=5)
    assert not more.already_finished
    assert more.study.trials[: len(first.study.trials)] == first.study.trials
    assert (len(own(first)), len(own(more))) == (3, 5)
    anew = search(binary_task, tmp_path / "run", trials=3, fresh=True)
    assert len(own(anew)) == 3


def own(outcome: FitResult) -> list[Trial]:
    """The trials that were evaluated, without the averages made of them."""
    return [trial for trial in outcome.study.trials if trial.proposal.origin != ENSEMBLE]


def test_run_folder_of_other_data_is_refused_and_untouched(
    binary_task: Task, number_task: Task, tmp_path: Path
) -> None:
    search(binary_task, tmp_path / "run", trials=3)
    before = (tmp_path / "run" / "model.onnx").read_bytes()
    sentence = (
        r"belongs to another study: data was messy  120 rows.*, is numbers .* Use another folder"
    )
    with pytest.raises(RunError, match=sentence):
        search(number_task, tmp_path / "run", trials=3)
    assert (tmp_path / "run" / "model.onnx").read_bytes() == before


def test_delivered_model_is_within_limits(image_task: Task, tmp_path: Path) -> None:
    outcome = search(image_task, tmp_path / "run", limits=["parameters<=10000"])
    statuses = {trial.id: trial.status for trial in outcome.study.trials}
    assert Status.INFEASIBLE in statuses.values()  # refused before it was trained
    assert outcome.best.metrics["parameters"] <= 10_000
    with pytest.raises(
        RunError,
        match=r"no candidate is within the limits parameters<=3 \(last error: ",
    ):
        search(image_task, tmp_path / "none", limits=["parameters<=3"])
    with pytest.raises(RunError, match=r"no trial is within the limits accuracy>=2\. Loosen them"):
        search(image_task, tmp_path / "never", limits=["accuracy>=2"])


def test_search_ends_when_until_limit_is_reached(image_task: Task, tmp_path: Path) -> None:
    outcome = search(image_task, tmp_path / "run", trials=9, until=["accuracy>=0.5"])
    assert len(outcome.study.trials) < 9
    assert outcome.best.metrics["accuracy"] >= 0.5


def test_single_limit_may_be_a_string(binary_task: Task) -> None:
    assert Goal(limits="latency<=2").resolve(binary_task) == Goal(limits=["latency<=2"]).resolve(
        binary_task
    )


def test_time_limit_alone_is_a_budget(image_task: Task, tmp_path: Path) -> None:
    begun = time.monotonic()
    outcome = fit(image_task, budget=SearchBudget(10, workers=1), run=tmp_path / "run")
    assert outcome.study.seconds < 14  # the worker's start included
    assert outcome.front
    assert time.monotonic() - begun < 16  # ten, on a machine that does much besides


def test_table_model_is_delivered_within_the_time(tmp_path: Path) -> None:
    """Choosing, fitting again, exporting and measuring included: all of it, not the search."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3_000, 12))
    y = x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=3_000)
    found, begun = task(x, y, kind="regression", name="some"), time.monotonic()
    outcome = fit(found, budget=SearchBudget(10), run=tmp_path / "run")
    assert time.monotonic() - begun < 15
    assert outcome.front


def test_saved_run_is_read_without_data(digits: FitResult) -> None:
    run = load_run(digits.run)
    assert run.name == "digits"
    assert [trial.id for trial in run.front] == [trial.id for trial in digits.study.front]
    assert run.trial(None) == digits.best
    assert {row.trial for row in run.leaderboard_rows()} == {1, 2, 3, 4, 5}
    with pytest.raises(RunError, match=r"trial must be one of the 5 trials in .*"):
        run.trial(9)


def test_metric_of_another_task_kind_is_refused_at_once(binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="objective must be a metric of binary tasks, got 'rmse'"):
        search(binary_task, tmp_path / "run", objectives=["rmse"])
    with pytest.raises(InputError, match="metric must be one that netwright knows, got 'acc'"):
        search(binary_task, tmp_path / "run", objectives=["acc"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seconds": 1}, r"time must be a finite number of seconds, at least 5 \(.*\), got 1"),
        ({"seconds": float("nan")}, "time must be a finite number of seconds, at least 5"),
        ({"seconds": "5"}, "time must be a finite number of seconds, .* got '5'"),
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"trials": 3, "workers": -1}, "workers must be at least 0, got -1. Use 0"),
    ],
)
def test_invalid_budget_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SearchBudget(**options)


def test_default_run_folder_depends_on_the_settings(binary_task: Task) -> None:
    wanted, limits = Goal().resolve(binary_task)
    method = Method("evolution")
    one = default_run_folder(binary_task, wanted, limits, method)
    assert one.parent == Path("runs")
    assert one.name.startswith("messy-")
    assert one == default_run_folder(binary_task, wanted, limits, method)
    assert one != default_run_folder(binary_task, wanted, limits, replace(method, seed=1))
    assert one != default_run_folder(binary_task, [Objective("accuracy", "max")], limits, method)
    assert one != default_run_folder(
        binary_task, wanted, limits, replace(method, families=("tabm",))
    )
    own = Space(TablePipeline(LinearModel(Float(0.1, 1.0))))
    assert one != default_run_folder(binary_task, wanted, limits, method, own)


def test_working_folder_comes_last_on_the_import_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `random.py` beside the data must not stand for Python's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    for name in name_resolution.STRATEGY_REFERENCES:
        name_resolution.strategy_by_name(name)
    assert sys.path == before
    (tmp_path / "my_random_search.py").write_text("from netwright.strategies.random import *")
    name_resolution.strategy_by_name("my_random_search:RandomSearch")
    assert sys.path == [*before, str(tmp_path)]


def test_strategies_resolve_by_name_or_module_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name_resolution.strategy_by_name("evolution") == RegularizedEvolution()
    for name in name_resolution.STRATEGY_REFERENCES:
        assert "0x" not in name_of(name_resolution.strategy_by_name(name))
    assert name_resolution.strategy_by_name("asha+evolution") == ASHA(RegularizedEvolution())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_search.py").write_text(
        "class Mine:\n"
        "    def __init__(self, problem): self.space = problem.space\n"
        "    def ask(self, n, rng): return []\n"
        "    def tell(self, trial): ...\n"
        "class Old:\n"
        "    def __init__(self, space, objectives, limits): ...\n"
        "number = 3\n"
    )
    assert name_resolution.strategy_by_name("my_search:Mine").__qualname__ == "Mine"  # type: ignore[attr-defined]
    for name, sentence in (
        ("evolutoin", "got 'evolutoin'. Did you mean 'evolution'"),
        ("my_search:Yours", "cannot be imported: .*Yours"),
        ("no_such_module:Mine", "cannot be imported: No module named 'no_such_module'"),
        ("my_search:Old", r"made of one argument, a Problem, got Old\(space, objectives, limits\)"),
        ("bohb+tpe", "before \\+ must be one of halving, asha, hyperband, got 'bohb'"),
        ("asha+", "strategy must be a known name or module:Object, got ''"),
        ("asha+dehb", "algorithm must be one that leaves fidelities alone, got Hyperband"),
        ("my_search:number", "strategy must be an object with ask and tell, .* got int"),
    ):
        with pytest.raises(InputError, match=sentence):
            name_resolution.strategy_by_name(name)


def test_equal_seeds_give_equal_candidates(image_task: Task, tmp_path: Path) -> None:
    def record(run: str, seed: int) -> list[Any]:
        outcome = search(image_task, tmp_path / run, trials=4, seed=seed)
        keep = ("accuracy", "log_loss", "parameters")
        return [
            (one.candidate, one.seed, [one.metrics[name] for name in keep])
            for one in outcome.study.trials
        ]

    assert record("a", 0) == record("b", 0) != record("c", 1)


def half_linear() -> Task:
    """A line that straight models see, and steps that trees see: together they know more."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    steps = np.floor(2 * x[:, 1]) * np.sign(x[:, 2])
    return task(x, 3 * x[:, 0] + steps + 0.3 * rng.normal(size=400), kind="regression", name="half")


def test_ensembles_are_trials_of_the_study(tmp_path: Path) -> None:
    found = half_linear()
    few = {"families": ["extra_trees", "linear"]}
    first = search(found, tmp_path / "run", trials=9, **few)
    study = first.study
    own = [trial for trial in study.trials if trial.proposal.origin != ENSEMBLE]
    averages = [trial for trial in study.trials if trial.proposal.origin == ENSEMBLE]
    assert len(own) == 9  # a budget does not count averages
    assert averages
    best = first.best
    assert best in averages
    assert best.metrics["rmse"] < min(t.metrics["rmse"] for t in own if fully(t))
    assert best.ensemble is not None
    shares = [weight for _, weight in best.ensemble.weights]
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == len(best.proposal.parents) >= 2
    assert first.model.card["trial"] == best.id
    assert first.n_validation_rows == len(found.train) + len(found.validation)
    quickest = [row.metrics["latency"] for row in first.front]
    assert quickest == sorted(quickest, reverse=True)  # whoever is worse is faster
    single = {one.id: one.proposal.parents[0] for one in averages if len(one.proposal.parents) == 1}
    same = next(
        one
        for one in averages
        if {single.get(n) for n in one.proposal.parents} == set(best.proposal.parents) - set(single)
    )
    assert same.metrics["rmse"] == best.metrics["rmse"]
    assert same.metrics["size"] < best.metrics["size"] / 4  # of 8 folds one
    again = search(found, tmp_path / "run", trials=9, **few)
    assert again.already_finished
    assert again.study.trials == study.trials
    room = best.metrics["size"] / 3
    bound = search(found, tmp_path / "bound", trials=9, limits=[f"size<={room}"], **few)
    assert (bound.run / "model.onnx").stat().st_size <= room
    more = search(found, tmp_path / "run", trials=11, **few)
    assert len([t for t in more.study.trials if t.proposal.origin != ENSEMBLE]) == 11
    run = load_run(tmp_path / "run")
    assert (
        f"ensemble of {best.proposal.parents[0]}"
        in {r.trial: r.what for r in run.leaderboard_rows()}[best.id]
    )


def test_trial_budget_over_folds_is_independent_of_the_clock(tmp_path: Path) -> None:
    few: dict[str, Any] = {"families": ["extra_trees", "linear"]}

    def record(run: str, seed: int) -> list[Any]:
        found = search(half_linear(), tmp_path / run, trials=6, seed=seed, workers=2, **few)
        return [
            (
                one.candidate,
                one.proposal.fidelity,
                one.proposal.origin,
                one.seed,
                one.metrics["rmse"],
            )
            for one in found.study.trials
        ]

    first = record("a", 0)
    assert len({fidelity for _, fidelity, *_ in first}) == 2  # some went on, some did not
    assert first == record("b", 0)
    assert first != record("c", 1)


def test_pruned_network_is_faster_and_scored_on_other_rows(
    tmp_path: Path,
) -> None:
    found = half_linear()
    outcome = search(found, tmp_path / "run", trials=2, families=["tabm"])
    trials = {trial.id: trial for trial in outcome.study.trials}
    kept = {t.ensemble.n_members: t for t in trials.values() if t.ensemble and t.ensemble.n_members}
    assert set(kept) == {1, 2}
    assert n_prunable_members(outcome.search, trials[kept[1].proposal.parents[0]]) == 8
    of = trials[kept[1].proposal.parents[0]]
    assert of.proposal.fidelity == 1
    assert kept[1].metrics["size"] < kept[2].metrics["size"]
    folds, whole = outcome.search.cross_validation, model_of(outcome.search, of)
    assert folds is not None
    said, loss = np.zeros(len(found.target)), loss_of("regression", "rmse")
    for part, one in zip(whole.members, folds.fold_tasks, strict=True):  # type: ignore[union-attr]
        for half in (0, 1):  # chosen on one half, judged on the other
            here, there = one.validation[half::2], one.validation[1 - half :: 2]
            truth, rows = found.target[here], found.features.take(here)
            small = prune_members(part, rows, partial(lambda truth, p: loss(p, truth), truth), 1)
            said[there] = small.predict(found.features.take(there))
    wanted = loss(said[folds.rows], found.target[folds.rows])
    assert kept[1].metrics["rmse"] == pytest.approx(wanted, rel=1e-5)
    some = replace(of, metrics=of.metrics | {"folds": 2.0})  # no time was left for the others
    assert n_prunable_members(outcome.search, some) == 0
    held_out = out_of_fold_predictions(outcome.search, kept[1])
    assert held_out is not None
    assert np.allclose(held_out, said[folds.rows], rtol=1e-4)
    run = load_run(tmp_path / "run")
    said = {row.trial: row.what for row in run.leaderboard_rows()}
    assert said[kept[1].id] == f"one fold of {of.id}, 1 member"


def test_limits_on_tables_are_kept_or_refused(tmp_path: Path) -> None:
    found = half_linear()
    networks: dict[str, Any] = {"families": ["realmlp"], "limits": ["parameters<=90000"]}
    sized = search(found, tmp_path / "sized", trials=3, **networks)
    assert sized.best.metrics["parameters"] <= 90_000
    assert sized.n_validation_rows == 400
    assert sized.confidence_interval() is not None
    with pytest.raises(
        RunError, match=r"no trial is within the limits latency<=1e-06\. Loosen them"
    ):
        search(
            found, tmp_path / "never", trials=2, limits=["latency<=0.000001"], families=["linear"]
        )


def fully(trial: Trial) -> bool:
    return trial.status is Status.DONE and trial.proposal.fidelity == 1


def test_regression_model_predicts_values(number_task: Task, tmp_path: Path) -> None:
    outcome = search(number_task, tmp_path / "run", trials=3)
    assert [one.metric for one in outcome.study.objectives] == ["rmse"]
    said = outcome.model.predict_scores(number_task.features)
    assert said.shape == number_task.target.shape
    assert np.isfinite(said).all()


def test_metric_defaults_to_log_loss_without_a_validation_class() -> None:
    from dataclasses import replace

    whole = task("breast_cancer")
    only = np.flatnonzero(whole.target == 0)
    found = replace(whole, validation=only[:40], train=np.setdiff1d(whole.train, only[:40]))
    wanted, _ = Goal().resolve(found)
    assert wanted[0].metric == "log_loss"
    with pytest.raises(InputError, match="auc needs rows of every class for validation, got 40"):
        Goal(["auc"]).resolve(found)


def test_best_model_is_delivered_after_the_deadline(binary_task: Task, tmp_path: Path) -> None:
    outcome = search(binary_task, tmp_path / "run", trials=3)
    late = deliver(outcome.opened, deadline=0.0)
    assert load(late.run).card["trial"] == late.best.id
    assert [row.trial for row in late.front] == [late.best.id]
    assert "Some models of the front were not exported: the time was up" in late.left_out[0]
    assert has_unexported(late.study)
    deliver(late.opened, already_finished=True)  # what a finished line does
    assert not has_unexported(late.study)


def test_time_counts_from_the_call_that_uses_the_budget() -> None:
    effort = SearchBudget(60)
    assert effort.deadline == np.inf
    first, second = effort.started(), effort.started()
    assert first.start_time is not None
    assert second.start_time is not None
    assert second.start_time >= first.start_time
    assert first.started() is first
    assert first.deadline == first.start_time + 60
    assert SearchBudget(60, start_time=5.0).started().deadline == 65.0


class Never(InProcess):
    """Takes a job, and never comes back with it."""

    def poll(self, timeout: float) -> list[Any]:
        time.sleep(timeout)
        return []


def test_constant_prediction_is_delivered_if_no_trial_finished(
    binary_task: Task, tmp_path: Path
) -> None:
    goal, run = Goal(), tmp_path / "run"
    begun = time.monotonic()
    late = fit(binary_task, goal, SearchBudget(5), LINEAR, run=run, executor=Never())
    assert time.monotonic() - begun < 7
    (doubt,) = late.warnings
    assert "No trial finished in time: the model predicts the same for every row" in doubt
    assert late.best.proposal.origin == CONSTANT
    said = load(run).predict_scores(binary_task.features.take(binary_task.validation))
    assert len(np.unique(said, axis=0)) == 1
    again = fit(binary_task, goal, SearchBudget(5), LINEAR, run=run, executor=Never())
    assert again.already_finished
    assert again.best == late.best
    more = fit(binary_task, goal, SearchBudget(60, trials=1), LINEAR, run=run, executor=InProcess())
    assert more.best.proposal.origin != CONSTANT
    assert late.best.id not in [row.trial for row in more.front]
    assert not any("constant" in doubt for doubt in more.warnings)


def test_resumed_run_keeps_its_folds(binary_task: Task, tmp_path: Path) -> None:
    """With more time there would be others, and scores of different folds are not compared."""
    run = tmp_path / "run"
    first = open_search(binary_task, Goal(), SearchBudget(5), LINEAR, run=run, executor=InProcess())
    assert first.cross_validation is not None
    first.study.run(trials=1, verbose=False)
    longer = open_search(
        binary_task, Goal(), SearchBudget(600), LINEAR, run=run, executor=InProcess()
    )
    assert longer.cross_validation is not None
    assert longer.cross_validation.folds == first.cross_validation.folds
    anew = open_search(
        binary_task, Goal(), SearchBudget(600), LINEAR, run=tmp_path / "new", executor=InProcess()
    )
    assert anew.cross_validation is not None
    assert anew.cross_validation.folds > first.cross_validation.folds


def test_no_finished_trial_without_time_limit_is_an_error(
    binary_task: Task, tmp_path: Path
) -> None:
    class Fails(InProcess):
        def submit(self, trial: int, job: Job, *bounds: float) -> None:
            super().submit(trial, replace(job, folder=tmp_path / "no such folder"))

    with pytest.raises(RunError, match=r"no trial finished \(last error: "):
        fit(
            binary_task, Goal(), SearchBudget(trials=1), LINEAR, run=tmp_path / "run",
            executor=Fails(),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["linear", "lightgbm", "realmlp"])
def test_fastest_allowed_family_is_evaluated_first(binary_task: Task, name: str) -> None:
    families = tuple({"realmlp", name})
    brief = replace(TaskMetadata.from_task(binary_task), families=families)
    space = space_for(brief)
    first, *others = portfolio(space, brief)
    assert first.values.get("", name) == name
    assert first not in others


def test_the_run_of_a_study_is_refused_with_the_way_to_read_it(tmp_path: Path) -> None:
    table = digits_table()
    Study(table.space, table, objectives=["accuracy"], run=tmp_path / "own").run(trials=2)
    with pytest.raises(RunError, match="got that of a Study made in Python"):
        load_run(tmp_path / "own")
