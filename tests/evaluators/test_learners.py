"""Learners that are no networks, in studies like any other description."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import Pipeline, TablePipeline, fit
from netwright.pipelines.trees.boosting import LightGBM
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import Job, Proposal, Status

NET = Training((Columns(), Linear(OneOf(4, 8)), Linear()), epochs=20)
SPACE: Space[Pipeline] = Space(
    OneOf(
        {
            "network": TablePipeline(NET),
            "boosting": TablePipeline(LightGBM(num_leaves=OneOf(4, 8), n_estimators=20)),
            "linear": TablePipeline(LinearModel(l2=OneOf(0.01, 1.0))),
        }
    )
)


@pytest.fixture(scope="module")
def data() -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    return task(x, np.where(x[:, 0] > 0, "yes", "no"))


def of_kind(kind: str) -> Candidate:
    return next(one for one in SPACE if one.values[""] == kind)


def test_families_of_models_are_one_space_and_one_study(data: Task, tmp_path: Path) -> None:
    study = Study(
        SPACE, task=data, strategy=Bayesian(), objectives=["auc"], run=tmp_path,
        executor=InProcess(),
    )  # fmt: skip
    study.run(trials=6)
    assert {trial.status for trial in study.trials} == {Status.DONE}
    assert len({trial.candidate for trial in study.trials}) == 6 == SPACE.size
    assert study.front[0].metrics["auc"] > 0.95


def test_learner_leaves_out_metrics_it_does_not_have(data: Task, tmp_path: Path) -> None:
    costs, training = NetworkCosts(SPACE, data), TrainAndValidate(SPACE, data)
    for kind in ("network", "boosting"):
        folder = tmp_path / kind
        folder.mkdir()
        job = Job(Proposal(of_kind(kind)), 0, folder, float("inf"))
        found = {**costs(job), **training(job)}
        is_network = kind == "network"
        assert ("parameters" in found) == ("epochs" in found) == is_network
        assert (folder / "curve.json").exists() == is_network
        assert found["train_seconds"] > 0


def test_only_networks_inherit(data: Task, tmp_path: Path) -> None:
    training = TrainAndValidate(SPACE, data, inherit=0.5)
    for number, (kind, parents) in enumerate(
        [("boosting", ()), ("network", (0,)), ("linear", (1,))]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        proposal = Proposal(of_kind(kind), parents=parents)
        assert training(Job(proposal, 0, folder, float("inf")))["inherited"] == 0


@pytest.mark.parametrize("kind", ["network", "boosting", "linear"])
def test_weights_of_rows_count_in_training(data: Task, kind: str) -> None:
    pipeline = SPACE.fill(of_kind(kind))
    heavy = replace(data, weights=np.where(data.target == 1, 50.0, 1.0))
    plain, weighed = (
        fit(pipeline, one, seed=0).predict(one.features)[:, 1].mean() for one in (data, heavy)
    )
    assert weighed > plain + 0.02
