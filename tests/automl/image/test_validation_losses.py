"""Models are compared by the losses of the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.automl.image.validation_losses import validation_losses, z_score
from netwright.data.task import Task
from netwright.files.folder import Folder
from netwright.files.run_layout import VALIDATION


def test_losses_are_those_of_the_given_rows(image_task: Task, tmp_path: Path) -> None:
    rows = image_task.validation[::2]
    probabilities = np.full((len(rows), 3), 0.25)
    probabilities[np.arange(len(rows)), image_task.target[rows]] = 0.5
    np.save(tmp_path / VALIDATION, probabilities)
    losses = validation_losses(Folder(tmp_path), image_task, rows)
    assert losses == pytest.approx(np.full(len(rows), np.log(2)))
    assert validation_losses(Folder(tmp_path), image_task, rows[1:]) is None
    (tmp_path / VALIDATION).unlink()
    assert validation_losses(Folder(tmp_path), image_task, rows) is None


def test_losses_of_a_regression_are_squared_errors(image_task: Task, tmp_path: Path) -> None:
    target = np.arange(len(image_task.target), dtype=np.float64)
    task = replace(image_task, kind="regression", target=target, classes=())
    np.save(tmp_path / VALIDATION, target[task.validation] + 2.0)
    losses = validation_losses(Folder(tmp_path), task, task.validation)
    assert losses == pytest.approx(np.full(len(task.validation), 4.0))


def test_z_score_is_the_mean_in_standard_errors() -> None:
    gains = np.array([1.0, 2.0, 3.0, 6.0])
    assert z_score(gains) == pytest.approx(3.0 / (gains.std(ddof=1) / 2))
    assert z_score(np.ones(5)) == z_score(np.ones(1)) == 0.0
