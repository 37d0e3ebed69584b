"""What is earned stays: the best is written first, and trouble costs the file it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl import points
from netwright.automl.delivery import Outcome
from netwright.automl.plan import Effort, fit
from netwright.automl.reopen import delivered
from netwright.data.task import Task, task
from netwright.deploy.model import load
from netwright.study.executors import InProcess
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import REFIT

FAMILIES = ("extra_trees", "lightgbm", "linear")


@pytest.fixture(scope="module")
def line() -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = 3 * x[:, 0] + np.floor(x[:, 1]) + 0.3 * rng.normal(size=300)
    return task(x, y, kind="regression", name="line")


def search(found: Task, run: Path, trials: int) -> Outcome:
    return fit(
        found, effort=Effort(trials=trials), run=run, families=FAMILIES, executor=InProcess()
    )


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


def test_a_longer_search_is_delivered_though_its_delivery_was_cut_short(
    line: Task, tmp_path: Path
) -> None:
    first = search(line, tmp_path / "run", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "export", failing(points.export, 1, KeyboardInterrupt()))
        patch.setattr(points, "fit_again", lambda *_: [])
        with pytest.raises(KeyboardInterrupt):
            search(line, tmp_path / "run", 6)
    again = search(line, tmp_path / "run", 6)
    assert again.already
    assert again.best.metrics["rmse"] < first.best.metrics["rmse"]  # of the longer search
    noted = delivered(tmp_path / "run")
    assert noted is not None
    assert noted.trial == again.best.id


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), "more of the front is not exported: it was stopped"),
    ],
)
def test_what_happens_after_the_best_does_not_cost_it(
    error: BaseException, sentence: str, line: Task, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "fit_again", lambda *_: [])
        patch.setattr(points, "export", failing(points.export, 2, error))
        outcome = search(line, tmp_path / "run", 4)
    assert len(outcome.front) == 1
    assert any(sentence in said for said in outcome.left_out)
    whole = load(tmp_path / "run" / "model.onnx")
    assert np.isfinite(whole.scores(line.features)).all()
    again = search(line, tmp_path / "run", 4)
    assert again.best == outcome.best
    assert len(again.front) > 1


def test_ctrl_c_while_trees_are_fitted_again_costs_these(line: Task, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "fit_again", failing(points.fit_again, 1, KeyboardInterrupt()))
        outcome = search(line, tmp_path / "run", 4)
    assert not [one for one in outcome.study.trials if REFIT in one.candidate.values]
    assert outcome.model.path.is_file()


def test_a_disk_that_is_full_from_the_beginning_is_said(line: Task, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "fit_again", lambda *_: [])
        patch.setattr(points, "export", failing(points.export, 1, OSError(28, "No space left")))
        with pytest.raises(OSError, match="No space left"):
            search(line, tmp_path / "run", 2)
    assert search(line, tmp_path / "run", 2).already  # and no trial is lost


def test_where_the_best_breaks_a_limit_figures_of_more_rows_come_first(
    line: Task, tmp_path: Path
) -> None:
    outcome = search(line, tmp_path / "run", 4)
    found = points.Points(outcome.study, line, False, np.inf, 1)
    a, b, c = (replace(outcome.front[0], trial=one.id) for one in outcome.study.trials[:3])

    def figures(rmse: float, folds: float, size: float) -> dict[str, float]:
        return a.metrics | {"rmse": rmse, "folds": folds, "size": size}

    found.rows = {
        a.trial: replace(a, metrics=figures(0.5, 8.0, 900.0)),
        b.trial: replace(b, metrics=figures(0.6, 8.0, 90.0)),
        c.trial: replace(c, metrics=figures(0.1, 1.0, 90.0)),
    }
    found._chosen = a.trial
    found._agreed = dict.fromkeys(found.rows, outcome.parity)
    assert found.best() == (outcome.study.trials[0], outcome.parity)
    outcome.study.limits = (Limit("size", at_most=100.0),)
    assert found.best() == (outcome.study.trials[1], outcome.parity)


def test_of_several_objectives_the_front_is_what_nothing_beats(line: Task, tmp_path: Path) -> None:
    outcome = search(line, tmp_path / "run", 4)
    found = points.Points(outcome.study, line, False, np.inf, 1)
    first = outcome.study.objectives[0]
    outcome.study.objectives = (first, Objective("latency", "min"))
    row = outcome.front[0]
    best, equal, fast, worse = outcome.study.trials[:4]
    for trial, rmse, latency in ((best, 1, 3), (equal, 1, 2), (fast, 2, 1), (worse, 3, 2)):
        metrics = row.metrics | {first.metric: float(rmse), "latency": float(latency)}
        found.rows[trial.id] = replace(row, trial=trial.id, metrics=metrics)
    found._chosen = best.id
    found._agreed = dict.fromkeys(found.rows, outcome.parity)
    assert {row.trial for row in found.front()} == {best.id, equal.id, fast.id}
