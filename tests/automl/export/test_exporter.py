"""What is earned stays: the best is written first, and trouble costs the file it is about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl.export import exporter
from netwright.automl.export.delivery import FitResult
from netwright.automl.export.exporter import best_of, front_of
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.saved_run import check_folds, read_delivery_record
from netwright.automl.search_budget import SearchBudget
from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.deploy.model import load
from netwright.errors import RunError
from netwright.files.run_layout import HELD_OUT
from netwright.report.tables import Row
from netwright.space.candidate import Candidate
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Status, Trial

FAMILIES = ("extra_trees", "lightgbm", "linear")


@pytest.fixture(scope="module")
def line() -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = 3 * x[:, 0] + np.floor(x[:, 1]) + 0.3 * rng.normal(size=300)
    return task(x, y, kind="regression", name="line")


def search(found: Task, run: Path, trials: int) -> FitResult:
    method = Method(families=FAMILIES)
    return fit(found, Goal(), SearchBudget(trials=trials), method, run=run, executor=InProcess())


def failing(call: Callable[..., Any], from_: int, error: BaseException) -> Callable[..., Any]:
    """The function, which raises from this call on."""
    calls = 0

    def made(*args: Any, **told: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= from_:
            raise error
        return call(*args, **told)

    return made


def test_resume_delivers_longer_search_after_interrupted_delivery(
    line: Task, tmp_path: Path
) -> None:
    first = search(line, tmp_path / "run", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exporter, "export_onnx", failing(exporter.export_onnx, 1, KeyboardInterrupt())
        )
        patch.setattr(exporter, "refit_trials", lambda *_: [])
        with pytest.raises(KeyboardInterrupt):
            search(line, tmp_path / "run", 6)
    again = search(line, tmp_path / "run", 6)
    assert again.already_finished
    assert again.best.metrics["rmse"] < first.best.metrics["rmse"]  # of the longer search
    noted = read_delivery_record(tmp_path / "run")
    assert noted is not None
    assert noted.trial == again.best.id


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), "Some models of the front were not exported: it was stopped"),
    ],
)
def test_errors_after_the_best_keep_the_best(
    error: BaseException, sentence: str, line: Task, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "refit_trials", lambda *_: [])
        patch.setattr(exporter, "export_onnx", failing(exporter.export_onnx, 2, error))
        outcome = search(line, tmp_path / "run", 4)
    assert len(outcome.front) == 1
    assert any(sentence in said for said in outcome.left_out)
    whole = load(tmp_path / "run" / "model.onnx")
    assert np.isfinite(whole.predict_scores(line.features)).all()
    again = search(line, tmp_path / "run", 4)
    assert again.best == outcome.best
    assert len(again.front) > 1


def test_ctrl_c_during_refits_costs_only_refits(line: Task, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exporter, "refit_trials", failing(exporter.refit_trials, 1, KeyboardInterrupt())
        )
        outcome = search(line, tmp_path / "run", 4)
    assert not [one for one in outcome.study.trials if one.ensemble and one.ensemble.refit]
    assert outcome.model.path.is_file()


def test_full_disk_at_first_export_is_reported(line: Task, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "refit_trials", lambda *_: [])
        patch.setattr(
            exporter, "export_onnx", failing(exporter.export_onnx, 1, OSError(28, "No space left"))
        )
        with pytest.raises(OSError, match="No space left"):
            search(line, tmp_path / "run", 2)
    assert search(line, tmp_path / "run", 2).already_finished  # and no trial is lost


def row(trial: int, **metrics: float) -> Row:
    return Row(trial, "done", metrics, 1.0, "a model")


def search_of(*objectives: Objective, limits: tuple[Limit, ...] = ()) -> FinishedSearch:
    nothing: Any = None
    return FinishedSearch(Path(), nothing, nothing, objectives, limits, ())


RMSE, LATENCY = Objective("rmse", "min"), Objective("latency", "min")


def test_best_of_prefers_more_folds_if_chosen_breaks_limit() -> None:
    rows = {
        1: row(1, rmse=0.5, folds=8.0, size=900.0),
        2: row(2, rmse=0.6, folds=8.0, size=90.0),
        3: row(3, rmse=0.1, folds=1.0, size=90.0),
    }
    assert best_of(rows, search_of(RMSE), chosen=1) == 1
    assert best_of(rows, search_of(RMSE, limits=(Limit("size", at_most=100.0),)), chosen=1) == 2
    assert best_of(rows, search_of(RMSE, limits=(Limit("size", at_most=1.0),)), chosen=1) is None


def test_front_of_several_objectives_is_nondominated() -> None:
    figures = {1: (1.0, 3.0), 2: (1.0, 2.0), 3: (2.0, 1.0), 4: (3.0, 2.0)}
    rows = {n: row(n, rmse=rmse, latency=latency) for n, (rmse, latency) in figures.items()}
    front = front_of(rows, search_of(RMSE, LATENCY), chosen=1)
    assert {one.trial for one in front} == {1, 2, 3}  # what is delivered is among them


def test_front_of_one_objective_trades_for_latency() -> None:
    figures = {1: (0.5, 9.0, 8.0), 2: (0.6, 5.0, 8.0), 3: (0.7, 6.0, 8.0), 4: (0.1, 1.0, 1.0)}
    rows = {n: row(n, rmse=a, latency=b, folds=c) for n, (a, b, c) in figures.items()}
    assert [one.trial for one in front_of(rows, search_of(RMSE), chosen=1)] == [1, 2]


@pytest.fixture(scope="module")
def searched(line: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two trials, whose best is not delivered any more."""
    run = tmp_path_factory.mktemp("searched") / "run"
    search(line, run, 2)
    (run / "model.onnx").unlink()
    for path in run.glob("trials/*/checked.json"):
        path.unlink()
    return run


def spoiled(path: Path, how: str) -> None:
    """The file, empty as a power cut leaves it, or otherwise of no use."""
    if how == "link":
        path.rename(path.parents[3] / "elsewhere.npy")
        path.symlink_to(path.parents[3] / "elsewhere.npy")
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "infinite":
        np.save(path, np.load(path) + np.inf)
    else:
        path.write_bytes(path.read_bytes()[:-1] if how == "cut" else b"")


@pytest.mark.parametrize("how", ["empty", "cut", "link", "pipe", "infinite"])
def test_broken_predictions_cost_only_their_trial(
    how: str, line: Task, searched: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    spoiled(run / "trials" / "1" / HELD_OUT, how)
    outcome = search(line, run, 2)
    (sentence,) = (one for one in outcome.left_out if "trial 1" in one)
    assert "trial 1 cannot join an ensemble: " in sentence
    assert HELD_OUT in sentence
    assert 1 not in outcome.best.proposal.parents
    assert outcome.best.id != 1
    assert load(run).predict(line.features.arrays) is not None


@pytest.mark.parametrize("name", ["pipeline.json", "*.safetensors"])
def test_broken_weights_cost_only_their_trial(
    name: str, line: Task, searched: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    (path,) = (run / "trials" / "1" / "fold-0").glob(name)
    path.write_bytes(b"")
    outcome = search(line, run, 2)
    assert any("trial 1 cannot be used" in one and path.name in one for one in outcome.left_out)
    assert 1 not in outcome.best.proposal.parents
    assert outcome.best.id != 1


def test_links_in_a_run_folder_are_not_followed(line: Task, searched: Path, tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(searched, run)
    outside.mkdir()
    (outside / "precious").write_text("kept")
    shutil.rmtree(run / "trials" / "1")
    (run / "trials" / "1").symlink_to(outside)
    (run / "trials" / "2" / ".model.onnx.part").symlink_to(outside / "precious")
    (run / ".model.onnx.part").symlink_to(outside / "precious")
    outcome = search(line, run, 2)
    assert 1 not in outcome.best.proposal.parents
    assert (run / "model.onnx").is_file()
    assert [path.read_text() for path in outside.iterdir()] == ["kept"]


@pytest.mark.parametrize("folds", [-1.0, 1e12, float("nan"), float("inf")])
def test_impossible_number_of_folds_is_refused(folds: float) -> None:
    trial = Trial(1, Proposal(Candidate({})), 0, Status.DONE, {"folds": folds})
    with pytest.raises(RunError, match="folds of trial 1 of run must be from 0 to 100"):
        check_folds([trial], Path("run"))
