"""Training until the deadline, and the files that are kept."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.data.task import Task
from netwright.evaluators.training import train_and_validate
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.files.run_layout import TRAINING_CHECKPOINT
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training import loop
from netwright.networks.training.checkpoint import read_state
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import TablePipeline, as_pipeline, load
from netwright.pipelines.trees.boosting import LightGBM
from netwright.space.space import Space
from netwright.trials.trial import Job, Proposal

SPACE = Space(Training((Conv(4), GlobalPool("max"), Linear()), lr=0.02, batch_size=8, epochs=2))


def job(folder: Path, *, seconds: float | None = None) -> Job:
    made = Job(Proposal(SPACE.default()), seed=3, folder=folder)
    return made if seconds is None else replace(made, deadline=time.monotonic() + seconds)


def test_training_until_the_deadline_ends_just_before_it(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, until_deadline=True)
    deadline = time.monotonic() + 1.5
    metrics = evaluator(replace(job(tmp_path), deadline=deadline))
    assert metrics["epochs"] > 2
    assert 0.5 < metrics["train_seconds"] < 1.5


def test_training_until_the_deadline_has_a_limit_on_epochs(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_and_validate, "_MAX_EPOCHS", 5)
    evaluator = TrainAndValidate(SPACE, image_task, until_deadline=True)
    assert evaluator(job(tmp_path, seconds=60))["epochs"] == 5


def test_training_without_a_deadline_has_the_epochs_of_the_recipe(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    evaluator = TrainAndValidate(SPACE, image_task, until_deadline=True)
    assert evaluator(job(tmp_path))["epochs"] == 2
    assert not (tmp_path / TRAINING_CHECKPOINT).exists()


def test_training_until_the_deadline_goes_on_from_its_checkpoint(
    image_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(train_and_validate, "_MAX_EPOCHS", 3)
    plain = TrainAndValidate(SPACE, image_task)
    plain(job(tmp_path, seconds=60))
    assert not (tmp_path / TRAINING_CHECKPOINT).exists()
    evaluator = replace(plain, until_deadline=True)
    evaluator(job(tmp_path, seconds=60))
    state = read_state(tmp_path)
    assert state is not None
    assert 0.5 < state.progress < 1
    evaluator(job(tmp_path, seconds=60))
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [point["epochs"] for point in curve["points"]] == [3]  # a last step


def test_speed_of_networks_is_reported(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task)
    metrics = evaluator(job(tmp_path))
    assert metrics["rows_per_second"] > 0
    assert set(metrics) <= set(evaluator.metrics)


def test_models_other_than_networks_ignore_until_deadline(
    binary_task: Task, tmp_path: Path
) -> None:
    space = Space(TablePipeline(LightGBM(n_estimators=5)))
    evaluator = TrainAndValidate(space, binary_task, until_deadline=True)
    deadline = time.monotonic() + 60
    metrics = evaluator(Job(Proposal(space.default()), seed=3, folder=tmp_path, deadline=deadline))
    assert metrics["train_seconds"] < 30
    assert "epochs" not in metrics
    assert not (tmp_path / TRAINING_CHECKPOINT).exists()


def test_saved_predictions_are_those_of_the_trained_network(
    image_task: Task, tmp_path: Path
) -> None:
    TrainAndValidate(SPACE, image_task)(job(tmp_path))
    pipeline = load(as_pipeline(SPACE.fill(SPACE.default()), image_task), tmp_path)
    expected = pipeline.predict(image_task.features.take(image_task.validation))
    np.testing.assert_allclose(np.load(tmp_path / "validation.npy"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n_kept", "inherit", "keeps"), [(0, 0.0, 0), (7, 0.0, 7), (7, 0.5, 20), (30, 0.5, 30)]
)
def test_best_trials_keep_their_files(
    image_task: Task, n_kept: int, inherit: float, keeps: int
) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=inherit, n_kept=n_kept)
    assert evaluator.capabilities.keeps == keeps
