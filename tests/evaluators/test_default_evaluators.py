"""What the default evaluators of a task keep and how long they train."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from netwright.data.task import Task
from netwright.evaluators.default_evaluators import default_evaluator
from netwright.evaluators.training import train_and_validate
from netwright.interfaces.evaluator import capabilities_of
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.space.space import Space
from netwright.trials.objective import objectives
from netwright.trials.trial import Job, Proposal

SPACE = Space(Training((Conv(4), GlobalPool("max"), Linear()), lr=0.02, batch_size=8, epochs=2))


def keeps(space: Space[Any], task: Task) -> int:
    return capabilities_of(default_evaluator(space, task, objectives(["accuracy"]))).keeps


def test_files_of_the_best_image_trials_are_kept(image_task: Task, binary_task: Task) -> None:
    """The final training compares their predictions row by row."""
    assert keeps(SPACE, image_task) == 20
    assert keeps(Space(Training(Linear())), binary_task) == 0


@pytest.mark.parametrize(("until_deadline", "epochs"), [(False, 2), (True, 4)])
def test_training_until_the_deadline_is_handed_on(
    until_deadline: bool,
    epochs: int,
    image_task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_and_validate, "_MAX_EPOCHS", 4)
    evaluator = default_evaluator(
        SPACE, image_task, objectives(["accuracy"]), until_deadline=until_deadline
    )
    deadline = time.monotonic() + 60
    job = Job(Proposal(SPACE.default()), seed=3, folder=tmp_path, deadline=deadline)
    assert evaluator(job)["epochs"] == epochs
