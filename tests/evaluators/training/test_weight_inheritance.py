"""Children that start from their parents' weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from netwright.data.task import Task
from netwright.errors import InputError
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.evaluators.training.weight_inheritance import (
    InheritedWeights,
    weights_of_best_parent,
)
from netwright.evaluators.wrappers import combine
from netwright.files.run_layout import ABOUT
from netwright.interfaces.evaluator import capabilities_of
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.morphism.morph import Inheritance
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import TablePipeline, as_pipeline, load
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.space.choices import Float, Integer, OneOf, Repeat
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.metrics import METRICS
from netwright.trials.trial import Job, Proposal

NET = (
    Conv(OneOf(4, 6, 8)), Repeat(Residual(Conv()), Integer(0, 1)), Conv(8, OneOf(3, 5), stride=2),
    GlobalPool("max"), Linear(),
)  # fmt: skip
SPACE = Space(Training(NET, lr=0.02, batch_size=8, epochs=10))
SMALL = {"network.0.channels": 4, "network.1.times": 0, "network.2.kernel": 3}


def job(
    runs: Path, number: int, values: Mapping[str, Any], parents: tuple[int, ...] = (), *,
    space: Space[Any] = SPACE, **options: Any,
) -> Job:  # fmt: skip
    folder = runs / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    proposal = Proposal(space.fix(values).default(), parents=parents, **options)
    return Job(proposal, seed=number, folder=folder)


def about(runs: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runs / str(number) / ABOUT).read_text())["inherited"]
    return found


def test_a_child_starts_where_its_parent_ended(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=0.2)
    parent = evaluator(job(tmp_path, 1, SMALL))
    assert parent["epochs"] == 10
    assert parent["inherited"] == 0
    wider = {**SMALL, "network.0.channels": 6}
    child = evaluator(job(tmp_path, 2, wider, (1,)))
    assert child["epochs"] == 2
    assert child["inherited"] == 1
    assert about(tmp_path, 2) == {"parent": 1, "share": 1.0, "preserved": True, "losses": []}
    alone = TrainAndValidate(SPACE, image_task)(job(tmp_path, 3, wider, (1,), fidelity=0.2))
    assert alone["epochs"] == 2
    assert child["log_loss"] < alone["log_loss"] / 2


@pytest.mark.parametrize("name", ["weights.safetensors", "pipeline.json", "candidate.json"])
def test_a_parent_with_a_damaged_file_gives_nothing(
    name: str, image_task: Task, tmp_path: Path
) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=0.2)
    evaluator(job(tmp_path, 1, SMALL))
    (tmp_path / "1" / name).write_bytes(b"")
    child = evaluator(job(tmp_path, 2, SMALL, (1,)))
    assert child["inherited"] == 0
    (loss,) = about(tmp_path, 2)["losses"]
    assert loss.startswith("trial 1 has left nothing to start from: ")
    assert name in loss


def test_child_module_computes_its_parents_function(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=0.2)
    evaluator(job(tmp_path, 1, SMALL))
    deeper = job(tmp_path, 2, {**SMALL, "network.1.times": 1, "network.2.kernel": 5}, (1,))
    old, new = (
        as_pipeline(SPACE.fill(one.proposal.candidate), image_task)
        for one in (job(tmp_path, 1, SMALL), deeper)
    )
    heritage = weights_of_best_parent(SPACE, image_task, new, deeper)
    assert heritage.inheritance.changes == ()
    parent = load(old, tmp_path / "1")
    pixels = torch.from_numpy(parent.preprocessor.transform(image_task.features))
    assert heritage.module is not None
    with torch.no_grad():
        ours, theirs = parent.model.module(pixels), heritage.module.eval()(pixels)
    assert (ours - theirs).abs().max() < 1e-5


def test_children_train_longer_the_more_is_new(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=0.2)
    evaluator(job(tmp_path, 1, {**SMALL, "network.2.kernel": 5}))
    child = evaluator(job(tmp_path, 2, SMALL, (1,)))  # a smaller kernel: all of it is inherited
    found = about(tmp_path, 2)
    assert found["losses"] == ["2: kernel 3 instead of 5"]
    assert not found["preserved"]
    assert child["epochs"] == 2


@pytest.mark.parametrize(
    ("share", "losses", "effort"),
    [(1.0, (), 0.2), (0.5, (), 0.2), (1.0, ("x",), 0.2), (0.5, ("x",), 0.6), (0.0, ("x",), 1.0)],
)
def test_epochs_grow_with_the_share_of_new_weights(
    share: float, losses: tuple[str, ...], effort: float
) -> None:
    heritage = InheritedWeights(torch.nn.Identity(), 1, Inheritance(share, losses))
    assert heritage.epochs_share(0.2) == pytest.approx(effort)
    assert InheritedWeights().epochs_share(0.2) == 1


def test_child_without_parent_weights_trains_from_scratch(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=0.2)
    evaluator(job(tmp_path, 1, SMALL))
    for path in (tmp_path / "1").iterdir():
        if path.name != ABOUT:  # as a study leaves it
            path.unlink()
    child = evaluator(job(tmp_path, 2, SMALL, (1,)))
    scratch = TrainAndValidate(SPACE, image_task)(replace(job(tmp_path, 3, SMALL), seed=2))
    assert child["epochs"] == 10
    assert child["log_loss"] == scratch["log_loss"]
    losses = ["the weights of trial 1 are gone"]
    assert about(tmp_path, 2) == {
        "parent": None, "share": 0.0, "preserved": False, "losses": losses,
    }  # fmt: skip


def test_parent_with_most_weights_is_chosen(image_task: Task, tmp_path: Path) -> None:
    deep = Space(Training((*NET[:2], Repeat(Residual(Conv(kernel=5)), Integer(0, 3)), *NET[2:]),
                          lr=0.02, batch_size=8, epochs=2))  # fmt: skip
    few = {"network.0.channels": 4, "network.1.times": 1, "network.2.times": 0}
    many = {**few, "network.2.times": 2}
    evaluator = TrainAndValidate(deep, image_task, inherit=0.5)
    evaluator(job(tmp_path, 1, few, space=deep))
    evaluator(job(tmp_path, 2, many, space=deep))
    three = {**few, "network.2.times": 3}
    for parents, best in (((1, 2), 2), ((2, 1), 2), ((1,), 1)):
        evaluator(job(tmp_path, 9, three, parents, space=deep))
        assert about(tmp_path, 9)["parent"] == best


def test_a_parent_of_another_space_gives_nothing(image_task: Task, tmp_path: Path) -> None:
    other = Space(Training((Conv(OneOf(4, 6), kernel=OneOf(1, 3)), *NET[3:]), epochs=1))
    TrainAndValidate(other, image_task, inherit=0.5)(job(tmp_path, 1, {}, space=other))
    child = TrainAndValidate(SPACE, image_task, inherit=0.5)(job(tmp_path, 2, SMALL, (1,)))
    assert child["inherited"] == 0
    assert about(tmp_path, 2)["losses"] == ["trial 1 is of another space"]


def test_without_inheritance_nothing_is_saved_for_children(
    image_task: Task, tmp_path: Path
) -> None:
    evaluator = TrainAndValidate(SPACE, image_task)
    assert evaluator.inherit == 0
    assert "inherited" not in evaluator.metrics
    assert evaluator.capabilities.keeps == 0
    assert dict(evaluator.capabilities.fingerprint) == {}
    metrics = evaluator(job(tmp_path, 1, SMALL, (7,)))
    assert "inherited" not in metrics
    left = {path.name for path in (tmp_path / "1").iterdir()}
    assert left == {"pipeline.json", "weights.safetensors", "validation.npy", "curve.json"}


def test_inherited_metric_and_record_are_written(image_task: Task, tmp_path: Path) -> None:
    evaluator = combine(
        NetworkCosts(SPACE, image_task), TrainAndValidate(SPACE, image_task, inherit=0.5)
    )
    assert "inherited" in METRICS
    assert set(evaluator(job(tmp_path, 1, SMALL))) <= set(evaluator.metrics)
    known = json.loads((tmp_path / "1" / ABOUT).read_text())
    assert known["shape"] == [1, 9, 8]
    assert known["inherited"]["share"] == 0
    capabilities = capabilities_of(evaluator)
    assert capabilities.keeps == 20
    assert capabilities.fingerprint == {"inherit": "0.5"}


@pytest.mark.parametrize("inherit", [-0.1, 1.1])
def test_inherit_must_be_between_0_and_1(image_task: Task, inherit: float) -> None:
    with pytest.raises(InputError, match="inherit must be from 0 to 1, got"):
        TrainAndValidate(SPACE, image_task, inherit=inherit)


def test_changed_preprocessing_is_recorded(binary_task: Task, tmp_path: Path) -> None:
    recipe = Training((Columns(), Linear(8, activation="relu"), Linear()), epochs=2)
    flags, scales = (
        Space(TablePipeline(recipe, {"numeric": numeric}))
        for numeric in (
            Numeric(add_indicator=OneOf(True, False)), Numeric(scale=OneOf("standard", "robust")),
        )
    )  # fmt: skip
    for space, name, values, share in (
        (flags, "flags", (True, False), 0), (scales, "scales", ("standard", "robust"), 1),
    ):  # fmt: skip
        runs, evaluator = tmp_path / name, TrainAndValidate(space, binary_task, inherit=0.5)
        (path,) = (one.path for one in space.decisions)
        evaluator(job(runs, 1, {path: values[0]}, space=space))
        child = evaluator(job(runs, 2, {path: values[1]}, (1,), space=space))
        assert child["inherited"] == share
        found = about(runs, 2)["losses"]
        assert found == (["its inputs are preprocessed differently"] if share else found)
        assert not about(runs, 2)["preserved"]


def search(run: Path, task: Task) -> Study[Any]:
    space = Space(Training(NET, lr=Float(0.01, 0.03), batch_size=8, epochs=6))
    return Study(
        space, TrainAndValidate(space, task, inherit=0.4), strategy=RegularizedEvolution(3, 2),
        objectives=["accuracy"], run=run, executor=InProcess(),
    )  # fmt: skip


def outcome(study: Study[Any]) -> list[Any]:
    return [
        (one.id, one.proposal, one.status, {k: v for k, v in one.metrics.items() if "sec" not in k})
        for one in study.trials
    ]


def test_resumed_search_with_inheritance_equals_uninterrupted(
    image_task: Task, tmp_path: Path
) -> None:
    whole = search(tmp_path / "whole", image_task).run(trials=9)
    children = [one for one in whole.trials if one.proposal.parents]
    assert len(children) == 6
    assert all(one.metrics["inherited"] > 0 for one in children)
    assert {one.metrics["epochs"] for one in whole.trials[:3]} == {6}
    assert min(one.metrics["epochs"] for one in children) == 2
    for trials in (4, 7, 9):
        pieces = search(tmp_path / "pieces", image_task).run(trials=trials)
    assert outcome(pieces) == outcome(whole)
    last = [load_file(tmp_path / run / "trials" / "9" / "weights.safetensors")
            for run in ("whole", "pieces")]  # fmt: skip
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    shutil.rmtree(tmp_path / "pieces")


def test_the_seed_decides(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task, inherit=0.2)
    evaluator(job(tmp_path, 1, SMALL))
    wider = {**SMALL, "network.0.channels": 6, "network.1.times": 1}
    one, again = (evaluator(job(tmp_path, 2, wider, (1,))) for _ in range(2))
    other = evaluator(replace(job(tmp_path, 2, wider, (1,)), seed=5))
    assert one["log_loss"] == again["log_loss"] != other["log_loss"]
    assert np.isfinite(other["log_loss"])
