"""Models are compared by the losses of the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.automl.image.validation_scores import validation_scores, z_score
from netwright.data.task import Task
from netwright.files.folder import Folder
from netwright.files.run_layout import VALIDATION


def test_losses_are_those_of_the_given_rows(image_task: Task, tmp_path: Path) -> None:
    rows = image_task.validation[::2]
    probabilities = np.full((len(rows), 3), 0.25)
    probabilities[np.arange(len(rows)), image_task.target[rows]] = 0.5
    probabilities[0] = 0.3
    probabilities[0, image_task.target[rows][0]] = 0.2
    np.save(tmp_path / VALIDATION, probabilities / probabilities.sum(1, keepdims=True))
    scores = validation_scores(Folder(tmp_path), image_task, rows)
    assert scores is not None
    assert scores.losses[1:] == pytest.approx(np.full(len(rows) - 1, np.log(2)))
    assert scores.correct is not None
    assert scores.correct.tolist() == [0.0] + [1.0] * (len(rows) - 1)
    assert validation_scores(Folder(tmp_path), image_task, rows[1:]) is None
    (tmp_path / VALIDATION).unlink()
    assert validation_scores(Folder(tmp_path), image_task, rows) is None


def test_losses_of_a_regression_are_squared_errors(image_task: Task, tmp_path: Path) -> None:
    target = np.arange(len(image_task.target), dtype=np.float64)
    task = replace(image_task, kind="regression", target=target, classes=())
    np.save(tmp_path / VALIDATION, target[task.validation] + 2.0)
    scores = validation_scores(Folder(tmp_path), task, task.validation)
    assert scores is not None
    assert scores.losses == pytest.approx(np.full(len(task.validation), 4.0))
    assert scores.correct is None


def test_z_score_is_the_mean_in_standard_errors() -> None:
    gains = np.array([1.0, 2.0, 3.0, 6.0])
    assert z_score(gains) == pytest.approx(3.0 / (gains.std(ddof=1) / 2))
    assert z_score(np.ones(5)) == z_score(np.ones(1)) == 0.0
