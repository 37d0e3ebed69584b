"""Images: a search, then a final training of what it chose, delivered in one file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl.ensembling.models import model_of
from netwright.automl.export import exporter
from netwright.automl.export.delivery import FitResult
from netwright.automl.finished_search import OpenedSearch
from netwright.automl.fit import fit, seconds_used
from netwright.automl.goal import Goal
from netwright.automl.image import final_training, final_workers
from netwright.automl.image.final_record import FinalRecord, is_unfinished
from netwright.automl.method import Method
from netwright.automl.search_budget import SearchBudget
from netwright.data.make_task import task
from netwright.data.task import Images, Task
from netwright.deploy.model import load
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import ImagePipeline
from netwright.space.choices import OneOf
from netwright.study.journal import n_budgeted_trials
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import FINAL, Trial

OWN = ImagePipeline(Training((Conv(OneOf(4, 8)), GlobalPool(), Linear()), epochs=1))


class TwoInProcess(InProcess):
    """Two slots, one after the other."""

    capacity = 2


def search(images: Task, run: Path, trials: int = 1, **options: Any) -> FitResult:
    executor = options.pop("executor", None) or InProcess()
    goal = Goal(options.pop("objectives", ()), options.pop("limits", ()))
    budget = SearchBudget(None, trials, options.pop("until", ()))
    return fit(images, goal, budget, Method(**options), run=run, executor=executor)


def finals(outcome: FitResult) -> list[Trial]:
    return [trial for trial in outcome.study.trials if trial.proposal.origin == FINAL]


@pytest.fixture(scope="module")
def counted(image_task: Task, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return search(image_task, tmp_path_factory.mktemp("counted") / "run")


def test_final_training_follows_the_counted_trials_and_is_delivered(counted: FitResult) -> None:
    (final,) = finals(counted)
    assert counted.best == final
    assert n_budgeted_trials(counted.study.trials) == 1
    assert load(counted.run).card["trial"] == final.id
    assert counted.parity.difference < 1e-4
    assert counted.n_validation_rows < len(counted.task.validation)
    assert final.seconds > final.metrics["train_seconds"] / 2
    what = {row.trial: row.what for row in counted.leaderboard()}
    assert what[final.id].startswith("final: ")


def test_same_call_is_finished_and_more_trials_train_again(
    counted: FitResult, image_task: Task, tmp_path: Path
) -> None:
    run = shutil.copytree(counted.run, tmp_path / "run")
    again = search(image_task, run)
    assert again.already_finished
    assert again.study.trials == counted.study.trials
    more = search(image_task, run, trials=2)
    assert not more.already_finished
    assert n_budgeted_trials(more.study.trials) == 2
    assert len(finals(more)) == 2
    assert more.best == finals(more)[-1]


@pytest.fixture
def stopped_final(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The user presses Ctrl-C as soon as the final training has begun."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(final_training._FinalTraining, "_submit", stop)
        yield patch


def test_ctrl_c_in_the_final_training_keeps_the_model_of_the_search(
    image_task: Task, tmp_path: Path, stopped_final: pytest.MonkeyPatch
) -> None:
    outcome = search(image_task, tmp_path / "run")
    assert outcome.study.interrupted
    assert not outcome.already_finished
    assert outcome.best.id == 1
    assert load(tmp_path / "run").card["trial"] == 1
    assert is_unfinished(tmp_path / "run")
    stopped_final.undo()
    again = search(image_task, tmp_path / "run")
    assert not again.already_finished
    assert again.best == finals(again)[0]


def test_run_killed_in_the_export_of_the_final_model_does_not_train_again(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exporter.export_onnx
    n_exports = 0

    def killed_at_the_second(*args: Any, **options: Any) -> Any:
        nonlocal n_exports
        n_exports += 1
        if n_exports == 2:
            raise SystemExit
        return export(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(exporter, "export_onnx", killed_at_the_second)
        with pytest.raises(SystemExit):
            search(image_task, tmp_path / "run")
    assert load(tmp_path / "run").card["trial"] == 1
    again = search(image_task, tmp_path / "run")
    (final,) = finals(again)
    assert again.best == final
    assert load(tmp_path / "run").card["trial"] == final.id


def test_discarded_final_model_leaves_that_of_the_search(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_training, "_MIN_Z_TO_KEEP", 1e9)
    outcome = search(image_task, tmp_path / "run")
    assert outcome.best.id == 1
    assert any("A final training is left out" in sentence for sentence in outcome.left_out)
    assert search(image_task, tmp_path / "run").already_finished


def test_two_members_are_averaged_in_the_file(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_workers, "n_finals", lambda seconds, n_workers, epochs: 2)
    outcome = search(image_task, tmp_path / "run", executor=TwoInProcess())
    members = finals(outcome)
    assert len(members) == 2
    assert outcome.best.proposal.parents == tuple(trial.id for trial in members)
    assert outcome.parity.difference < 1e-4
    assert isinstance(image_task.features, Images)
    pixels = image_task.features.take(image_task.validation)
    assert {row.trial for row in outcome.front} <= {outcome.best.id, *(t.id for t in members)}
    mean = load(outcome.run).predict_scores(pixels)
    single = [model_of(outcome.search, trial).predict(pixels) for trial in members]
    assert np.abs(single[0] - single[1]).max() > 1e-4
    assert np.allclose(mean, np.mean(single, 0), atol=1e-4)
    assert outcome.best.metrics["flops"] == sum(trial.metrics["flops"] for trial in members)
    again = search(image_task, tmp_path / "run", executor=TwoInProcess())
    assert again.already_finished
    assert again.best == outcome.best


def test_a_reached_target_is_followed_by_no_final_training(
    image_task: Task, tmp_path: Path
) -> None:
    outcome = search(image_task, tmp_path / "run", trials=3, until="accuracy>=0.01")
    assert [trial.proposal.origin for trial in outcome.study.trials] == ["baseline"]
    assert search(image_task, tmp_path / "run", trials=3, until="accuracy>=0.01").already_finished


def test_own_space_and_several_objectives_end_with_the_best_trial_trained_again(
    image_task: Task, tmp_path: Path
) -> None:
    objectives = ["accuracy", "parameters"]
    outcome = search(
        image_task, tmp_path / "run", trials=2, space=OWN, strategy="random", objectives=objectives
    )
    (final,) = finals(outcome)
    searched = [trial for trial in outcome.study.trials if trial.proposal.origin != FINAL]
    best = max(searched, key=lambda trial: trial.metrics["accuracy"])
    assert final.proposal.parents == (best.id,)
    assert final.candidate == best.candidate


def test_regression_of_images_has_a_final_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.uniform(0, 1, 80)
    x = (rng.uniform(0, 0.3, (80, 8, 8)) + 0.6 * y[:, None, None]) * 255
    images = task(x.astype(np.uint8), y, kind="regression", name="brightness")
    outcome = search(images, tmp_path / "run")
    assert len(finals(outcome)) == 1
    assert outcome.parity.difference < 1e-3


def test_time_of_final_trainings_counts_over_all_runs(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is over after the default, long before its time is: then a run is finished, too."""
    seconds_left: list[float] = []

    def train_for_18_seconds(opened: OpenedSearch, _: Any, deadline: float, *__: Any) -> str:
        seconds_left.append(deadline - time.monotonic())
        before = FinalRecord.read(opened.study.folder)
        FinalRecord(before.seconds + 18.0, 18.0, 1).write(opened.study.folder)
        return ""

    def timed(seconds: float) -> FitResult:
        budget = SearchBudget(seconds, workers=1)
        method = Method("none")
        return fit(
            image_task, budget=budget, method=method, run=tmp_path / "run", executor=InProcess()
        )

    monkeypatch.setattr("netwright.automl.fit.train_final", train_for_18_seconds)
    first = timed(24)
    assert len(first.study.trials) == 1
    assert first.study.seconds + seconds_left[0] == pytest.approx(24, abs=2)
    again = timed(24)
    assert again.already_finished
    assert again.warnings == first.warnings
    assert len(seconds_left) == 1
    more = timed(48)
    assert not more.already_finished
    assert first.study.seconds + 18 + seconds_left[1] == pytest.approx(48, abs=2)
    assert seconds_used(more.study) >= 36
