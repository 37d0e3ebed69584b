"""Zero-cost scores of a task's candidates, and a search that is told them beforehand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from netwright.data.task import Task
from netwright.errors import InputError
from netwright.evaluators.zero_cost import ZeroCost
from netwright.interfaces.strategy import Problem
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.networks.zero_cost.scores import IMAGE_SCORES, ZERO_COST_SCORES
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Proposal

IMAGES = Space(Training((Conv(OneOf(2, 4, 8, 16)), Conv(OneOf(4, 8)), GlobalPool(), Linear())))
COLUMNS = Space(Training((Linear(OneOf(2, 8, 32), activation="relu"), Linear())))


def job(space: Space[Training], folder: Path, seed: int = 0, **values: int) -> Job:
    fixed = {f"network.{path[1:]}": value for path, value in values.items()}
    return Job(Proposal(space.fix(fixed).default()), seed=seed, folder=folder)


def test_image_task_has_every_zero_cost_score(image_task: Task, tmp_path: Path) -> None:
    every = ZeroCost(IMAGES, image_task, scores=(*ZERO_COST_SCORES, "parameters", "flops"), rows=8)
    found = every(job(IMAGES, tmp_path))
    assert tuple(found) == every.metrics == (*ZERO_COST_SCORES, "parameters", "flops")
    assert all(math.isfinite(value) for value in found.values())
    assert every(job(IMAGES, tmp_path)) == found
    assert every(job(IMAGES, tmp_path, seed=1)) != found


@pytest.mark.parametrize("name", ["binary_task", "number_task"])
def test_table_task_has_scores_without_images(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    task = request.getfixturevalue(name)
    scores = tuple(one for one in ZERO_COST_SCORES if one not in IMAGE_SCORES)
    found = ZeroCost(COLUMNS, task, scores=scores)(job(COLUMNS, tmp_path))
    assert all(math.isfinite(value) for value in found.values())
    assert ZeroCost(COLUMNS, task).metrics == ("nwot", "synflow", "flops")
    for one in IMAGE_SCORES:  # they would be the same for all candidates
        with pytest.raises(InputError, match=f"need no images, got '{one}'\\. Use nwot"):
            ZeroCost(COLUMNS, task, scores=(one,))


def test_prior_scores_may_be_negative(image_task: Task) -> None:
    """The defaults do: how far a block's gain is from 1, or the least rise of an entropy."""
    knowledge = ZeroCost(IMAGES, image_task, rows=8).knowledge
    candidate = IMAGES.default()
    found = knowledge.scores(candidate)
    assert set(found) == {
        "az_expressivity",
        "az_progressivity",
        "az_trainability",
        "flops",
        "depth",
    }
    assert min(found.values()) < 0
    assert all(np.isfinite(group).all() for group in knowledge.features([candidate]))
    jacov = ZeroCost(IMAGES, image_task, scores=("jacov",), rows=8).knowledge
    assert jacov.scores(candidate)["jacov"] < -1
    assert jacov.features([candidate])[-1].min() < 0


def test_search_gets_zero_cost_scores_as_prior_scores(image_task: Task) -> None:
    knowledge = ZeroCost(IMAGES, image_task, scores=("nwot", "flops"), rows=8).knowledge
    small, large = (
        IMAGES.fix({"network.0.channels": n, "network.1.channels": 4}).default() for n in (2, 16)
    )
    assert set(knowledge.scores(small)) == {"nwot", "flops", "depth"}
    assert knowledge.scores(large)["flops"] == knowledge.metrics(large)["flops"]
    assert knowledge.scores(large)["nwot"] > knowledge.scores(small)["nwot"]
    problem = Problem(IMAGES, (Objective("accuracy", "max"),), knowledge=knowledge)
    log = simulate(Bayesian(n_startup_trials=2)(problem), lambda one: {"accuracy": 0.5}, 3)
    assert {trial.proposal.origin for trial in log[:2]} == {"initial"}
    assert problem.knowledge is knowledge


def test_wrong_arguments_are_refused(image_task: Task) -> None:
    with pytest.raises(InputError, match=r"got 'synflw'. Did you mean 'synflow'"):
        ZeroCost(IMAGES, image_task, scores=("synflw",))
    with pytest.raises(InputError, match="rows must be at least 2, got 1"):
        ZeroCost(IMAGES, image_task, rows=1)
